//! What functions, stages and versions look like from outside.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{ConfigSpec, EndedRolloutView, EvidenceView, RolloutView, SplitShare};

/// Every function of the node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FunctionList {
    /// The revision this was read at.
    pub revision: u64,
    /// By name.
    pub functions: Vec<FunctionSummary>,
}

/// One function in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FunctionSummary {
    /// The function.
    pub function: String,
    /// Its newest version.
    pub latest: String,
    /// Its stages that have traffic, `live` first.
    pub stages: Vec<StageSummary>,
}

/// One stage in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StageSummary {
    /// The stage.
    pub stage: String,
    /// Its stable version.
    pub stable: String,
    /// Its canary, if a rollout is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<String>,
    /// The version that `rollback` would go to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<String>,
    /// Its shares, newest version first.
    pub split: Vec<SplitShare>,
    /// Where it is reachable.
    pub routes: Vec<String>,
    /// Requests since this node started.
    pub requests: u64,
    /// Failures among them that a version is to blame for.
    pub failures: u64,
}

/// One function in full.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FunctionStatus {
    /// The function.
    pub function: String,
    /// The revision this was read at.
    pub revision: u64,
    /// Its newest version.
    pub latest: String,
    /// Its stages that have traffic, `live` first.
    pub stages: Vec<StageStatus>,
}

/// One stage in full.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct StageStatus {
    /// The stage.
    pub stage: String,
    /// Its stable version.
    pub stable: String,
    /// The version that `rollback` would go to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<String>,
    /// Its shares, newest version first.
    pub split: Vec<SplitShare>,
    /// Its rollout, if one is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<RolloutView>,
    /// The last rollout that has ended, or a later rollback.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_rollout: Option<EndedRolloutView>,
    /// Where it is reachable.
    pub routes: Vec<String>,
    /// Who may use the addresses of its versions: `open`, `token` or `off`.
    #[serde(default)]
    pub preview: String,
    /// How users stay on one version: `none`, `ip`, `header:NAME`, `cookie:NAME`.
    pub sticky: String,
    /// Its versions that have a share or a role, or that answered a request, newest first.
    pub versions: Vec<VersionStatus>,
}

/// What a version is to a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum VersionRole {
    /// The version to fall back on.
    Stable,
    /// The version that a rollout is moving to.
    Canary,
    /// The version that `rollback` would go to.
    Previous,
}

/// One version of a stage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct VersionStatus {
    /// The version.
    pub version: String,
    /// What it is to the stage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<VersionRole>,
    /// Its share, `0%` when it has none.
    pub weight: String,
    /// Its requests in this stage, without those that asked for it.
    pub tally: TallyView,
    /// Requests since this node started that asked for it, by header or by its own address; they are in no
    /// other number.
    #[serde(default)]
    pub overrides: u64,
}

/// What a version did in a stage since this node started.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TallyView {
    /// Requests that ended.
    pub requests: u64,
    /// Requests that ended in a way the version is to blame for.
    pub failures: u64,
    /// Requests by how they ended: `success`, `server-error`, `trap`, `timeout`, `out-of-memory`,
    /// `invalid-response`, `shed`, `cancelled`, `internal`. Those that never happened are left out.
    pub outcomes: BTreeMap<String, u64>,
    /// Median latency, milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_p50_ms: Option<f64>,
    /// 99th percentile of the latency, milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_p99_ms: Option<f64>,
    /// 99th percentile of the wait for a place, milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue_wait_p99_ms: Option<f64>,
    /// Most linear memory that one invocation had.
    pub memory_peak_bytes: u64,
    /// Failures that the shield met while the version was a canary: `again` ran a second time; the others
    /// could not, or in vain: `body-too-large`, `had-effect`, `response-begun`, `no-time`, `client-gone`.
    /// Those that never happened are left out.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub shield: BTreeMap<String, u64>,
}

/// The versions of a function.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct VersionList {
    /// The function.
    pub function: String,
    /// Newest first; at most the last 50 and those in use.
    pub versions: Vec<VersionInfo>,
}

/// One version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct VersionInfo {
    /// The version.
    pub version: String,
    /// SHA-256 of its component.
    pub component: String,
    /// What the component is: `wasi:http 0.2`, `wasi:http 0.3` or `cgi`.
    pub kind: String,
    /// What it is configured with, every default written out.
    pub config: ConfigSpec,
    /// When it was made, Unix milliseconds.
    pub created_ms: u64,
    /// The token that made it.
    pub created_by: String,
    /// What its deployment said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// How its last rollout ended, if that is worth a warning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<VersionVerdictView>,
    /// The stages where it has a share or a role, `live` first.
    pub stages: Vec<VersionPlace>,
}

/// Where a version stands in one stage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct VersionPlace {
    /// The stage.
    pub stage: String,
    /// What it is to the stage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<VersionRole>,
    /// Its share.
    pub weight: String,
}

/// What became of a version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "verdict", rename_all = "kebab-case")]
pub enum VersionVerdictView {
    /// Its rollout was aborted.
    Aborted {
        /// The stage.
        stage: String,
        /// When, Unix milliseconds.
        at_ms: u64,
        /// Why.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// It was stable and traffic was taken back from it.
    RolledBack {
        /// The stage.
        stage: String,
        /// When, Unix milliseconds.
        at_ms: u64,
        /// Why.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
}

/// Parameters of `GET /v1/functions/{function}/history`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct HistoryQuery {
    /// Only entries of lower revisions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<u64>,
    /// Entries of at most so many revisions, 1 to 1,000; 100 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// The journal of one function.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct HistoryPage {
    /// The function.
    pub function: String,
    /// Newest first.
    pub entries: Vec<HistoryEntry>,
    /// Whether older entries are left: ask again with `before` = the last revision here.
    pub more: bool,
}

/// One committed change. A deployment that replaces a rollout, or a rollback past one, is two entries of one
/// revision and one hash: its own, and before it the `abort`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct HistoryEntry {
    /// The revision it made.
    pub revision: u64,
    /// When, Unix milliseconds.
    pub at_ms: u64,
    /// The name of the token it was made with.
    pub actor: String,
    /// The address it came from.
    pub origin: String,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Of a rollout's change: what led to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The numbers behind that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<EvidenceView>,
    /// `deploy`, `traffic`, `step`, `await`, `pause`, `resume`, `freeze`, `promote`, `settle`, `abort`,
    /// `rollback`, `delete`.
    pub action: String,
    /// The stage it was about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<String>,
    /// The version it was about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The stage's shares afterwards; empty when it did not set them.
    #[serde(default)]
    pub split: Vec<SplitShare>,
    /// The step of the rollout afterwards, as [`StrategySpec::Canary`](super::Strategy::Canary) writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// Hash of this entry, which covers the hash of the entry before it.
    pub hash: String,
}

/// `GET /v1/node`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NodeView {
    /// Version of the program.
    pub version: String,
    /// Where functions are called, `127.0.0.1:8080`.
    pub data_listen: String,
    /// The revision that is published.
    pub revision: u64,
    /// Number of functions.
    pub functions: u64,
    /// When the node started, Unix milliseconds.
    pub started_ms: u64,
    /// Largest component that it takes.
    pub component_bytes_max: u64,
}
