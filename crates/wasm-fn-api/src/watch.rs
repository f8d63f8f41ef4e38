//! Streams of changes, as server-sent events: each has a line `data: ` with one object of JSON.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{AskedNode, FunctionStatus, FunctionSummary, is_false};
use crate::words::{FunctionText, StageText};

/// The media type of server-sent events (WHATWG HTML, section 9.2).
pub const EVENT_STREAM: &str = "text/event-stream";

/// Parameters of `GET /v1/watch` and `GET /v1/functions/{function}/watch`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct WatchQuery {
    /// Whether the stream ends when everything that is so now was told.
    #[serde(default, skip_serializing_if = "is_false")]
    pub once: bool,
}

/// What is new about the functions that the client sees. The first events tell of all functions.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FunctionChanges {
    /// The revision of the node at which this was read.
    pub revision: u64,
    /// Whether more functions follow at once, because there are too many for one event.
    #[serde(default, skip_serializing_if = "is_false")]
    pub more: bool,
    /// Functions that are new, or that somebody has changed, by name; at most 500.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub functions: Vec<FunctionSummary>,
    /// Functions that are gone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<FunctionText>)]
    pub removed: Vec<String>,
    /// Stages whose numbers have changed; at most 2,000. Others follow in the next event.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub traffic: Vec<StageTraffic>,
    /// The nodes of the cluster whose numbers these are, sorted by name, if that has changed; absent if the
    /// node is alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodes: Option<Vec<AskedNode>>,
}

/// The numbers of a stage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct StageTraffic {
    /// The function.
    #[schema(value_type = FunctionText)]
    pub function: String,
    /// The stage.
    #[schema(value_type = StageText)]
    pub stage: String,
    /// Requests since the node started.
    pub requests: u64,
    /// Failures among them that are charged to a version.
    pub failures: u64,
    /// Median latency in the same time as `latency_p99_ms`, milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_p50_ms: Option<f64>,
    /// 99th percentile of the latency in the last ten seconds that had requests, milliseconds; absent before
    /// they are over. Of several versions, the largest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_p99_ms: Option<f64>,
}

/// What became of a function.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum FunctionEvent {
    /// The function is like this now. Not told again only because time passed: while a rollout runs,
    /// `lasted_ms` grows with the clock.
    Status {
        /// Its status.
        status: Box<FunctionStatus>,
    },
    /// The function was deleted. It is the last event.
    Deleted {
        /// The function.
        #[schema(value_type = FunctionText)]
        function: String,
    },
}
