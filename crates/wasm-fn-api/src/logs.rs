//! What functions wrote, as lines of JSON.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::is_false;

/// Where a log line came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LogStreamView {
    /// The guest's standard output.
    Stdout,
    /// The guest's standard error.
    Stderr,
    /// The host, about the guest: a trap and its backtrace.
    Host,
}

/// One line that a function wrote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogLineView {
    /// Its number; grows by one a line of this function.
    pub seq: u64,
    /// When, Unix milliseconds.
    pub at_ms: u64,
    /// The request it belongs to.
    pub request_id: String,
    /// The version that wrote it.
    pub version: String,
    /// Where it came from.
    pub stream: LogStreamView,
    /// Whether the invocation is known to have failed.
    pub failed: bool,
    /// The line, without its end.
    pub text: String,
}

/// One line of the answer of `GET /v1/functions/{function}/logs`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum LogEvent {
    /// A line that was written.
    Line(LogLineView),
    /// Lines that fell out of the node's memory before this reader came to them.
    Lost {
        /// How many.
        lines: u64,
    },
}

/// Parameters of `GET /v1/functions/{function}/logs`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct LogsQuery {
    /// Only lines with a higher `seq`; 0 when absent.
    #[serde(default)]
    pub after: u64,
    /// Keep the answer open and send lines as they come.
    #[serde(default, skip_serializing_if = "is_false")]
    pub follow: bool,
    /// Only lines of this version, such as `v42`, `stable` or `canary` (of the live stage).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// `error`: only lines of invocations that failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
}
