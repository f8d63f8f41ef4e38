//! Traces of requests that failed or were slow.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::AskedNode;
use crate::words::{NodeText, StageText, VersionText};

/// Parameters of `GET /v1/functions/{function}/traces`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct TracesQuery {
    /// Only requests to this stage; to all stages that the token may see if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<StageText>)]
    pub stage: Option<String>,
    /// Only traces of this node of the cluster; of all if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<NodeText>)]
    pub node: Option<String>,
}

/// Traces of a function.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TraceList {
    /// Whether the node traces requests at all.
    pub traced: bool,
    /// Of requests that failed, the newest first, and then of the slowest ones, the slowest first.
    pub traces: Vec<TraceView>,
    /// The nodes of the cluster whose traces were asked for, sorted by name; none if the node is alone, or
    /// one node was asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<AskedNode>,
}

/// The trace of one request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TraceView {
    /// The node of the cluster that served it; absent if the node is alone, or one node was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<NodeText>)]
    pub node: Option<String>,
    /// The trace, 32 hexadecimal digits.
    pub trace_id: String,
    /// The request.
    pub request_id: String,
    /// When it began, Unix milliseconds.
    pub at_ms: u64,
    /// How long it took, milliseconds.
    pub duration_ms: f64,
    /// The stage that it came to.
    #[schema(value_type = StageText)]
    pub stage: String,
    /// Its method.
    pub method: String,
    /// Its path, without the query.
    pub path: String,
    /// The status of the response; absent if there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The version that gave the response.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<VersionText>)]
    pub version: Option<String>,
    /// How that ended, such as `success` or `trap`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    /// Whether it failed, or a canary failed it before another version answered.
    pub failed: bool,
    /// The parts of the work on it, in the order in which they began.
    pub spans: Vec<TraceSpanView>,
}

/// A part of the work on a request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TraceSpanView {
    /// What it is: `queue`, `instance start`, `guest`, `second run`, or an outgoing request.
    pub name: String,
    /// When it began, milliseconds after the request.
    pub from_ms: f64,
    /// How long it took, milliseconds.
    pub duration_ms: f64,
    /// The version that ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<VersionText>)]
    pub version: Option<String>,
    /// How it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}
