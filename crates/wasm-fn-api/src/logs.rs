//! The logs of functions, as lines of JSON.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::is_false;
use crate::words::{NodeText, StageText};

/// The source of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LogStreamView {
    /// The guest's standard output.
    Stdout,
    /// The guest's standard error.
    Stderr,
    /// The host, which says how a request failed: a trap and its backtrace, or the status of an answer.
    Host,
}

/// One line of a function's log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LogLineView {
    /// The node of the cluster that wrote it; absent if the node is alone, or one node was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<NodeText>)]
    pub node: Option<String>,
    /// The line's number; it grows by one for each line of this function on its node, in whichever stage.
    pub seq: u64,
    /// When the line was written, Unix milliseconds.
    pub at_ms: u64,
    /// The request that the line belongs to.
    pub request_id: String,
    /// The stage that the request came to; absent if the line was written before any request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<StageText>)]
    pub stage: Option<String>,
    /// The version that wrote the line.
    pub version: String,
    /// The source of the line.
    pub stream: LogStreamView,
    /// Whether the request is known to have failed: the invocation failed, or the guest answered with a
    /// status of 500 or above.
    pub failed: bool,
    /// The status that the request failed with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The request, in the first of the lines that say how it failed, and, in the stage `dev`, in the line of
    /// each that was answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<LogRequestView>,
    /// The line, without its line ending.
    pub text: String,
}

/// The request that a log line is about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LogRequestView {
    /// Its method.
    pub method: String,
    /// The beginning of its path, without the query.
    pub path: String,
    /// How long the guest had it, milliseconds.
    pub duration_ms: f64,
}

/// One line of the answer of `GET /v1/functions/{function}/logs`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum LogEvent {
    /// A line of the log.
    Line(LogLineView),
    /// Lines, of whichever stage, that the node dropped from its memory before this reader reached them.
    Lost {
        /// Number of lines.
        lines: u64,
        /// The node of the cluster that dropped them.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schema(value_type = Option<NodeText>)]
        node: Option<String>,
    },
    /// A node of the cluster does not answer: its lines are not there, or no longer while the log is
    /// followed.
    Missing {
        /// The node.
        #[schema(value_type = NodeText)]
        node: String,
        /// Why.
        reason: String,
    },
    /// A node of the cluster answers again.
    Back {
        /// The node.
        #[schema(value_type = NodeText)]
        node: String,
    },
}

/// Parameters of `GET /v1/functions/{function}/logs`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct LogsQuery {
    /// Only lines with a higher `seq`; 0 if absent. In a cluster, only with `node`: each node counts its own.
    #[serde(default)]
    pub after: u64,
    /// Keep the answer open, and send lines as they are written.
    #[serde(default, skip_serializing_if = "is_false")]
    pub follow: bool,
    /// Only lines of this stage; of all stages that the token may see if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<StageText>)]
    pub stage: Option<String>,
    /// Only lines of this version, such as `v42`, or `stable` or `canary` of the stage (of `live` if no stage
    /// is given).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Only lines of requests that failed: `error` for all of them, `503` for those with this status, `5xx`
    /// for those with a status from 500 to 599.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// Only lines of the request with this id, or whose id begins with it: the `wasm-fn-request-id` of a
    /// response.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// Only lines from this time on, Unix milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since_ms: Option<u64>,
    /// Only lines from before this time, Unix milliseconds; not with `follow`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_ms: Option<u64>,
    /// Only lines of this node of the cluster; of all, merged by their times, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<NodeText>)]
    pub node: Option<String>,
}
