//! The logs of functions, as lines of JSON.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::is_false;

/// The source of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LogStreamView {
    /// The guest's standard output.
    Stdout,
    /// The guest's standard error.
    Stderr,
    /// The host, which reports on the guest: a trap and its backtrace.
    Host,
}

/// One line of a function's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogLineView {
    /// The line's number; it grows by one for each line of this function.
    pub seq: u64,
    /// When the line was written, Unix milliseconds.
    pub at_ms: u64,
    /// The request that the line belongs to.
    pub request_id: String,
    /// The version that wrote the line.
    pub version: String,
    /// The source of the line.
    pub stream: LogStreamView,
    /// Whether the invocation is known to have failed.
    pub failed: bool,
    /// The line, without its line ending.
    pub text: String,
}

/// One line of the answer of `GET /v1/functions/{function}/logs`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum LogEvent {
    /// A line of the log.
    Line(LogLineView),
    /// Lines that the node dropped from its memory before this reader reached them.
    Lost {
        /// Number of lines.
        lines: u64,
    },
}

/// Parameters of `GET /v1/functions/{function}/logs`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct LogsQuery {
    /// Only lines with a higher `seq`; 0 if absent.
    #[serde(default)]
    pub after: u64,
    /// Keep the answer open, and send lines as they are written.
    #[serde(default, skip_serializing_if = "is_false")]
    pub follow: bool,
    /// Only lines of this version, such as `v42`, `stable` or `canary` (of the live stage).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// `error` for only the lines of invocations that failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
}
