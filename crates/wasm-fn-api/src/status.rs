//! The status of functions, stages and versions, as clients see it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    AskedNode, ConfigSpec, EndedRolloutView, EvidenceView, ProposalView, ProvenanceView, RolloutView,
    SplitShare, StageConfigSpec,
};
use crate::words::{
    ActionWord, BucketText, DigestText, EventsOfText, FunctionText, KindWord, NodeText, PreviewAccessWord,
    RouteText, SchemeWord, StageText, StepText, StickyText, VersionText, WeightText,
};

/// Parameters of `GET /v1/functions`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct FunctionsQuery {
    /// Only functions whose names come after this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<FunctionText>)]
    pub after: Option<String>,
    /// At most this many functions, 1 to 1,000; 1,000 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u32>,
    /// Only the numbers of this node of the cluster; of all together if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<NodeText>)]
    pub node: Option<String>,
}

/// Functions of the node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FunctionList {
    /// The revision of the node at which this was read.
    pub revision: u64,
    /// The functions, sorted by name.
    pub functions: Vec<FunctionSummary>,
    /// Whether there are more functions: ask again with `after` set to the last name here.
    #[serde(default)]
    pub more: bool,
    /// The nodes of the cluster whose numbers were asked for, sorted by name; none if the node is alone, or
    /// one node was asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<AskedNode>,
}

/// One function in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FunctionSummary {
    /// The function.
    #[schema(value_type = FunctionText)]
    pub function: String,
    /// The revision of its last change.
    #[serde(default)]
    pub revision: u64,
    /// Its newest version.
    #[schema(value_type = VersionText)]
    pub latest: String,
    /// Its stages with traffic, `live` first.
    pub stages: Vec<StageSummary>,
}

/// One stage in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StageSummary {
    /// The stage.
    #[schema(value_type = StageText)]
    pub stage: String,
    /// Its stable version.
    #[schema(value_type = VersionText)]
    pub stable: String,
    /// Its canary, if a rollout is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<VersionText>)]
    pub canary: Option<String>,
    /// The version that `rollback` would go to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<VersionText>)]
    pub previous: Option<String>,
    /// Its shares, newest version first.
    pub split: Vec<SplitShare>,
    /// Its routes.
    #[schema(value_type = Vec<RouteText>)]
    pub routes: Vec<String>,
    /// Requests since the node started.
    pub requests: u64,
    /// Failures among them that are charged to a version.
    pub failures: u64,
}

/// The full status of one function.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FunctionStatus {
    /// The function.
    #[schema(value_type = FunctionText)]
    pub function: String,
    /// The revision of its last change. A request with this as `expected_revision` is refused if somebody
    /// else has changed the function meanwhile.
    pub revision: u64,
    /// Its newest version.
    #[schema(value_type = VersionText)]
    pub latest: String,
    /// Its stages with traffic, `live` first.
    pub stages: Vec<StageStatus>,
    /// The releases that wait for approval, by stage.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub proposals: Vec<ProposalView>,
    /// The nodes of the cluster whose numbers were asked for, sorted by name; none if the node is alone, or
    /// one node was asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<AskedNode>,
}

/// The full status of one stage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct StageStatus {
    /// The stage.
    #[schema(value_type = StageText)]
    pub stage: String,
    /// Its stable version.
    #[schema(value_type = VersionText)]
    pub stable: String,
    /// The version that `rollback` would go to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<VersionText>)]
    pub previous: Option<String>,
    /// Its shares, newest version first.
    pub split: Vec<SplitShare>,
    /// Its rollout, if one is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<RolloutView>,
    /// The last rollout that ended, or a later rollback.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_rollout: Option<EndedRolloutView>,
    /// Its routes.
    #[schema(value_type = Vec<RouteText>)]
    pub routes: Vec<String>,
    /// Who may use the addresses of its versions: `open`, `token` or `off`.
    #[serde(default)]
    #[schema(value_type = PreviewAccessWord)]
    pub preview: String,
    /// What keeps users on one version: `none`, `ip`, `header:NAME`, `cookie:NAME`.
    #[schema(value_type = StickyText)]
    pub sticky: String,
    /// Its versions that have a share or a role, or that have answered a request; newest first.
    pub versions: Vec<VersionStatus>,
}

/// The role of a version in a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum VersionRole {
    /// The version that the stage falls back on.
    Stable,
    /// The version that a rollout moves to.
    Canary,
    /// The version that `rollback` would go to.
    Previous,
}

/// One version of a stage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct VersionStatus {
    /// The version.
    #[schema(value_type = VersionText)]
    pub version: String,
    /// The role of the version in the stage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<VersionRole>,
    /// Its share; `0%` if it has none.
    #[schema(value_type = WeightText)]
    pub weight: String,
    /// Environment variables that the stage lays over those of its configuration.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Its requests in this stage, without the requests that asked for it by override or address.
    pub tally: TallyView,
    /// Requests since the node started that asked for this version, by header or by its own address. No other
    /// number includes them.
    #[serde(default)]
    pub overrides: u64,
    /// Its live instances: those that run a request, and those that wait ready.
    #[serde(default)]
    pub instances: u64,
    /// The same by node, sorted by name, in a cluster: the other numbers are their sums. Latencies and memory
    /// are those of the node where they are largest, and so bounds of what all requests have together.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<VersionOnNode>,
}

/// The numbers of a version in a stage on one node of a cluster.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct VersionOnNode {
    /// The node.
    #[schema(value_type = NodeText)]
    pub node: String,
    /// Its requests there, without those that asked for it by override or address.
    pub tally: TallyView,
    /// Requests there that asked for this version.
    #[serde(default, skip_serializing_if = "super::is_zero")]
    pub overrides: u64,
    /// Its live instances there.
    pub instances: u64,
}

/// The numbers of a version in a stage since the node started.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TallyView {
    /// Requests that ended.
    pub requests: u64,
    /// Requests among them whose end is charged to the version.
    pub failures: u64,
    /// Requests by how they ended: `success`, `server-error`, `trap`, `timeout`, `out-of-memory`,
    /// `invalid-response`, `shed`, `cancelled`, `internal`. Outcomes without requests are left out.
    pub outcomes: BTreeMap<String, u64>,
    /// Median latency, milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_p50_ms: Option<f64>,
    /// 99th percentile of the latency, milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_p99_ms: Option<f64>,
    /// 99th percentile of the time in the queue, milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue_wait_p99_ms: Option<f64>,
    /// Largest linear memory of one invocation.
    pub memory_peak_bytes: u64,
    /// Failures under the shield while the version was a canary, by what happened. `again` ran a second time;
    /// the others did not, or in vain: `body-too-large`, `had-effect`, `response-begun`, `no-time`,
    /// `client-gone`. Words without failures are left out.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub shield: BTreeMap<String, u64>,
}

/// Parameters of `GET /v1/functions/{function}/versions`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct VersionsQuery {
    /// Only versions that are older than this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<VersionText>)]
    pub before: Option<String>,
    /// At most this many versions, 1 to 1,000; 1,000 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u32>,
}

/// The versions of a function.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct VersionList {
    /// The function.
    #[schema(value_type = FunctionText)]
    pub function: String,
    /// The versions, newest first; at most the last 50, and those in use.
    pub versions: Vec<VersionInfo>,
    /// Whether there are older versions: ask again with `before` set to the last version here.
    #[serde(default)]
    pub more: bool,
}

/// One version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct VersionInfo {
    /// The version.
    #[schema(value_type = VersionText)]
    pub version: String,
    /// SHA-256 of its component.
    #[schema(value_type = DigestText)]
    pub component: String,
    /// The kind of the component: `wasi:http 0.2`, `wasi:http 0.3` or `cgi`.
    #[schema(value_type = KindWord)]
    pub kind: String,
    /// Its configuration, with every default written out.
    pub config: ConfigSpec,
    /// What stages lay over that configuration, by stage, where the version was deployed to one that does.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = BTreeMap<String, StageConfigSpec>)]
    pub stage_configs: BTreeMap<String, StageConfigSpec>,
    /// When it was created, Unix milliseconds.
    pub created_ms: u64,
    /// The name of the token that created it.
    pub created_by: String,
    /// The message of its deployment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Where its component comes from; absent if somebody deployed a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provenance: Option<ProvenanceView>,
    /// How its last rollout ended, if that deserves a warning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<VersionVerdictView>,
    /// The stages where it has a share or a role, `live` first.
    pub stages: Vec<VersionPlace>,
}

/// The place of a version in one stage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct VersionPlace {
    /// The stage.
    #[schema(value_type = StageText)]
    pub stage: String,
    /// The role of the version in the stage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<VersionRole>,
    /// Its share.
    #[schema(value_type = WeightText)]
    pub weight: String,
}

/// How a version lost its traffic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "verdict", rename_all = "kebab-case")]
pub enum VersionVerdictView {
    /// Its rollout was aborted.
    Aborted {
        /// The stage.
        #[schema(value_type = StageText)]
        stage: String,
        /// When, Unix milliseconds.
        at_ms: u64,
        /// Why.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// The version was stable, and a rollback took its traffic away.
    RolledBack {
        /// The stage.
        #[schema(value_type = StageText)]
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
    /// Only entries with a lower revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<u64>,
    /// Entries of at most this many revisions, 1 to 1,000; 100 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u32>,
}

/// The journal of one function.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct HistoryPage {
    /// The function.
    #[schema(value_type = FunctionText)]
    pub function: String,
    /// The entries, newest first.
    pub entries: Vec<HistoryEntry>,
    /// Whether there are older entries: ask again with `before` set to the last revision here.
    pub more: bool,
}

/// One committed change. A deployment that replaces a rollout, and a rollback during one, make two entries
/// with the same revision and hash: their own, and before it the `abort`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct HistoryEntry {
    /// The revision that the change made.
    pub revision: u64,
    /// When, Unix milliseconds.
    pub at_ms: u64,
    /// The name of the token that made the change.
    pub actor: String,
    /// The address that the change came from.
    pub origin: String,
    /// The node of the cluster that made it; absent if the node is alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<NodeText>)]
    pub node: Option<String>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// What led to the change, if it is a rollout's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The numbers behind the reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<EvidenceView>,
    /// What the version can do beyond the version that was stable, as whoever deployed it accepted it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub growth: Vec<String>,
    /// Where the version's component comes from; absent if somebody deployed a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provenance: Option<ProvenanceView>,
    /// `deploy`, `traffic`, `step`, `await`, `pause`, `resume`, `freeze`, `promote`, `settle`, `abort`,
    /// `rollback`, `delete-stage`, `delete`, `set-secret`, `delete-secret`, `reseal-secrets`, `add-trigger`,
    /// `pause-trigger`, `resume-trigger`, `remove-trigger`, `run-trigger`, `backfill-trigger`,
    /// `redrive-events`, `discard-events`, `set-value`, `delete-value`. The last six change no function, and
    /// leave its revision.
    #[schema(value_type = ActionWord)]
    pub action: String,
    /// The stage that the change is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<StageText>)]
    pub stage: Option<String>,
    /// The version that the change is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<VersionText>)]
    pub version: Option<String>,
    /// The stage's shares after the change; empty if the change did not set them.
    #[serde(default)]
    pub split: Vec<SplitShare>,
    /// The step of the rollout after the change, as [`StrategySpec::Canary`](super::StrategySpec::Canary)
    /// writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<StepText>)]
    pub step: Option<String>,
    /// The secrets that the version got, or those that were set, each with the revision of its value; a
    /// secret that was deleted has 0.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, u32>,
    /// The trigger that the change is about, or `@async` for the requests that clients sent asynchronously.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<EventsOfText>)]
    pub trigger: Option<String>,
    /// What was done with events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events: Option<OperatedEventsView>,
    /// Which value of a bucket somebody set or deleted. The value itself is not recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<ChangedValueView>,
    /// Hash of this entry. It covers the hash of the entry before it.
    #[schema(value_type = DigestText)]
    pub hash: String,
}

/// What was done with events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OperatedEventsView {
    /// With how many: that were put into the inbox, delivered again, or removed.
    pub count: u64,
    /// With which, for people: an id, ids, a range of times, or `all dead letters`.
    pub which: String,
}

/// Which value was set or deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChangedValueView {
    /// The bucket.
    #[schema(value_type = BucketText)]
    pub bucket: String,
    /// The key.
    pub key: String,
}

/// The node: the answer to `GET /v1/node`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NodeView {
    /// Version of the program.
    pub version: String,
    /// The address at which functions are called, `127.0.0.1:8080`.
    pub data_listen: String,
    /// The scheme by which they are called there: `http` or `https`.
    #[serde(default = "plain_http")]
    #[schema(value_type = SchemeWord, required = true)]
    pub data_scheme: String,
    /// The revision that is published.
    pub revision: u64,
    /// Number of functions.
    pub functions: u64,
    /// When the node started, Unix milliseconds.
    pub started_ms: u64,
    /// Largest component that the node accepts.
    pub component_bytes_max: u64,
}

/// What nodes serve that do not say it.
fn plain_http() -> String {
    "http".to_owned()
}
