//! Numbers over time, from the memory of the node: what they were before it started is not there.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::AskedNode;
use crate::words::{FunctionText, NodeText, StageText, VersionText};

/// Parameters of `GET /v1/series`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct SeriesQuery {
    /// The functions, up to 100 names with commas between them.
    pub functions: String,
    /// Only the numbers of this node of the cluster; of all together if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<NodeText>)]
    pub node: Option<String>,
}

/// The last hour of several functions, by the minute.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SeriesList {
    /// When the first of the 60 minutes began, Unix milliseconds.
    pub begins_ms: u64,
    /// The functions that the client sees, by name.
    pub functions: Vec<FunctionMinutes>,
    /// The nodes of the cluster whose numbers were asked for, sorted by name; none if the node is alone, or
    /// one node was asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<AskedNode>,
}

/// The last hour of a function, by the minute: all versions in all stages that the client sees.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FunctionMinutes {
    /// The function.
    #[schema(value_type = FunctionText)]
    pub function: String,
    /// Requests of each minute.
    pub requests: Vec<u64>,
    /// Failures among them that are charged to a version.
    pub failures: Vec<u64>,
    /// The largest 99th percentile of the latency within ten seconds, milliseconds; 0 without requests.
    pub latency_p99_ms: Vec<f64>,
}

/// Numbers of a function over time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FunctionSeries {
    /// The function.
    #[schema(value_type = FunctionText)]
    pub function: String,
    /// How long a step of `versions` is, milliseconds.
    pub step_ms: u64,
    /// When the last step ended, Unix milliseconds.
    pub now_ms: u64,
    /// The last hour of its versions that had requests.
    pub versions: Vec<VersionSeries>,
    /// The rollout of each stage that is under way, or that was the last.
    pub rollouts: Vec<RolloutSeries>,
    /// The nodes of the cluster whose numbers were asked for, sorted by name; none if the node is alone, or
    /// one node was asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<AskedNode>,
}

/// The last hour of a version in a stage. The lists have an entry for each step that had requests.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct VersionSeries {
    /// The stage.
    #[schema(value_type = StageText)]
    pub stage: String,
    /// The version.
    #[schema(value_type = VersionText)]
    pub version: String,
    /// When the step began, Unix milliseconds.
    pub at_ms: Vec<u64>,
    /// Requests that ended in the step.
    pub requests: Vec<u64>,
    /// Failures among them that are charged to the version.
    pub failures: Vec<u64>,
    /// Median latency in the step, milliseconds; 0 if no latency counted.
    pub latency_p50_ms: Vec<f64>,
    /// 99th percentile of the latency in the step, milliseconds; 0 if no latency counted.
    pub latency_p99_ms: Vec<f64>,
}

/// A rollout over its whole life. All lists have an entry for each moment; the longer it takes, the further
/// apart these are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RolloutSeries {
    /// The stage.
    #[schema(value_type = StageText)]
    pub stage: String,
    /// The version that it moves from.
    #[schema(value_type = VersionText)]
    pub stable: String,
    /// The version that it moves to.
    #[schema(value_type = VersionText)]
    pub canary: String,
    /// When it began, Unix milliseconds.
    pub started_ms: u64,
    /// Whether it has ended.
    pub ended: bool,
    /// The moments, Unix milliseconds.
    pub at_ms: Vec<u64>,
    /// The share of the canary, 0 to 1.
    pub share: Vec<f64>,
    /// The canary's numbers.
    pub canary_side: SideSeries,
    /// Stable's numbers.
    pub stable_side: SideSeries,
    /// The evidence of each test of the gate.
    pub signals: Vec<SignalSeries>,
}

/// The numbers of one side of a rollout since it began, at each moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SideSeries {
    /// Requests that the version ran to the end.
    pub requests: Vec<u64>,
    /// Requests among them that failed.
    pub failures: Vec<u64>,
    /// Median latency, milliseconds; 0 before the first request.
    pub latency_p50_ms: Vec<f64>,
    /// 99th percentile of the latency, milliseconds; 0 before the first request.
    pub latency_p99_ms: Vec<f64>,
}

/// The evidence of one test of the gate, at each moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SignalSeries {
    /// `errors`, `errors.trap`, `latency_p50`, `latency_p99`, …
    pub signal: String,
    /// The natural logarithm of the e-value at which the gate fails.
    pub log_threshold: f64,
    /// The natural logarithm of the e-value; 0 while there is no evidence.
    pub log_e: Vec<f64>,
}
