//! Strategies, gates and rollouts as JSON.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use wasm_fn_core::defaults;

use super::{ProvenanceView, SplitShare, VersionRole, is_false};
use crate::words::{
    BaselineWord, FingerprintText, NodeText, PhaseWord, StageText, StepText, VerdictWord, VersionText,
    WeightText,
};

/// How a deployment gets its traffic: `{"name": "canary", "steps": ["10%", "50%"]}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "name", rename_all = "kebab-case", deny_unknown_fields)]
pub enum StrategySpec {
    /// All traffic goes to the new version at once. The gate watches it afterwards.
    #[default]
    AllAtOnce,
    /// The version gets no traffic. You reach it only by override.
    NoTraffic,
    /// The new version gets cohorts first and then growing shares of the traffic. Each step is under the
    /// gate.
    Canary {
        /// The steps before the last one of 100 %. First cohorts of the stable version's configuration, whole
        /// (`beta`) or in part (`10% of beta`), then shares of all traffic (`10%`). Shares grow and are above
        /// 0 %. `1%`, `10%`, `50%` if absent.
        #[serde(default = "canary_steps")]
        #[schema(value_type = Vec<StepText>)]
        steps: Vec<String>,
    },
    /// The share of the new version grows by the same amount at each step.
    Linear {
        /// The share that each step adds; `10%` if absent.
        #[serde(default = "linear_share")]
        #[schema(value_type = WeightText)]
        by: String,
        /// How long each step lasts, milliseconds; a minute if absent.
        #[serde(default = "linear_every_ms")]
        every_ms: u64,
    },
    /// The new version gets no share until its checks pass, then all traffic at once.
    BlueGreen,
}

impl StrategySpec {
    /// A canary by the default steps.
    pub fn canary() -> Self {
        Self::Canary { steps: canary_steps() }
    }
}

/// The steps of a canary if its deployment names none.
pub fn canary_steps() -> Vec<String> {
    defaults::CANARY_STEPS.map(|share| share.to_string()).to_vec()
}

/// The share that a linear rollout grows by if its deployment names none.
pub fn linear_share() -> String {
    defaults::LINEAR_SHARE.to_string()
}

/// How long each step of a linear rollout lasts if its deployment does not say, milliseconds.
pub fn linear_every_ms() -> u64 {
    u64::try_from(defaults::LINEAR_EVERY.as_millis()).unwrap_or(u64::MAX)
}

/// How a rollout proceeds, whatever its strategy. Every field has a default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RolloutOptions {
    /// Whether each step, and the switch, waits for a person to `promote` after the gate has passed.
    #[serde(skip_serializing_if = "is_false")]
    pub manual: bool,
    /// What to do if the gate fails; `rollback` if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_fail: Option<OnFailSpec>,
    /// How long each step lasts at least, milliseconds; a minute if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step_min_ms: Option<u64>,
    /// How long to watch the new version once everybody is on it; 5 minutes if absent, 0 to not watch it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub watch_ms: Option<u64>,
    /// How long the previous version stays loaded after a blue-green switch; an hour if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_ms: Option<u64>,
    /// Whether stable answers requests that failed on the canary; yes if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shield: Option<bool>,
    /// Requests that a blue-green version must answer as expected before the switch.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<CheckSpec>,
}

/// What to do if the gate fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OnFailSpec {
    /// Everybody goes back to the previous version.
    #[default]
    Rollback,
    /// The split stays. A person resumes or ends the rollout.
    Pause,
    /// The split stays. A person ends the rollout; nobody can resume it.
    Freeze,
}

/// What to do if a step has lasted long enough but had too few requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OnNoDataSpec {
    /// The step goes on.
    #[default]
    Wait,
    /// The step passes.
    Pass,
}

/// The rule that a rollout must satisfy. Every field has a default.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct GateOptions {
    /// Probability that the gate fails a canary that is within the tolerance: more than 0, less than 0.5;
    /// 0.001 if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alpha: Option<f64>,
    /// Failures, compared with stable's; up to 1.1 times as many are tolerated if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub errors: Option<Tolerance>,
    /// 99th percentile of the latency and, in steps, its median, compared with stable's; up to 1.2 times as
    /// much is tolerated if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_p99: Option<Tolerance>,
    /// 99th percentile of the memory peak, compared with stable's; up to 1.2 times as much is tolerated if
    /// absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_p99: Option<Tolerance>,
    /// Share of failures that fails the canary whatever stable does: more than 0, less than 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_error_rate: Option<f64>,
    /// Latency that 99 % of requests must stay below whatever stable does, milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_latency_p99_ms: Option<u64>,
    /// How many requests each side needs before anything can pass; 100 if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_requests: Option<u64>,
    /// The limit that applies if there is nothing to compare with; half of 20 requests if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub floor: Option<FloorSpec>,
    /// What to do if there are fewer requests than `min_requests`; `wait` if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_no_data: Option<OnNoDataSpec>,
}

/// The limit for a version if there is nothing to compare it with.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FloorSpec {
    /// Share of failures that is too high: more than 0, at most 1.
    pub error_rate: f64,
    /// How many requests the version needs before the limit applies; at least 3.
    pub requests: u64,
}

/// How much worse than stable the canary may be in one signal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Tolerance {
    /// How many times stable's value is tolerated, 1 to 100; the signal's default if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tolerate: Option<f64>,
    /// Whether the gate ignores the signal.
    #[serde(skip_serializing_if = "is_false")]
    pub off: bool,
}

/// A request, and the expected answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CheckSpec {
    /// The method; `GET` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// Path and query, as a client would send them: `/hello?x=1`.
    pub path: String,
    /// Request headers.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// The request's body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// The expected answer.
    #[serde(default)]
    pub expect: Expectation,
}

/// The expected answer to a check.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Expectation {
    /// The status; 200 if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Headers and their values.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// A regular expression that must match somewhere in the body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// Values in the JSON body, by JSON pointer (RFC 6901): `{"/status": "ok"}`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = BTreeMap<String, Object>)]
    pub json: BTreeMap<String, serde_json::Value>,
}

/// A rollout under way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RolloutView {
    /// The version that it moves from: the stable version, or the previous one while the phase is `watching`.
    #[schema(value_type = VersionText)]
    pub stable: String,
    /// The version that it moves to: the canary, or the stable version while the phase is `watching`.
    #[schema(value_type = VersionText)]
    pub canary: String,
    /// The share of the version that it moves to.
    #[schema(value_type = WeightText)]
    pub weight: String,
    /// The strategy of the rollout.
    pub strategy: StrategySpec,
    /// When it began, Unix milliseconds.
    pub started_ms: u64,
    /// The split before it began.
    pub from_split: Vec<SplitShare>,
    /// `checking`, `progressing`, `awaiting promotion`, `paused`, `frozen` or `watching`.
    #[schema(value_type = PhaseWord)]
    pub phase: String,
    /// Number of the step, from 1; absent before the first step, and once everybody is on the new version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<u32>,
    /// All steps, written as in [`StrategySpec::Canary`], including the last one of `100%`.
    #[serde(default)]
    #[schema(value_type = Vec<StepText>)]
    pub steps: Vec<String>,
    /// How long the step, or the watch, has lasted, milliseconds.
    #[serde(default)]
    pub lasted_ms: u64,
    /// How long the step, or the watch, lasts at least.
    #[serde(default)]
    pub lasts_ms: u64,
    /// Why the rollout is on hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The gate's verdict, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate: Option<GateView>,
    /// Where the component of the version that it moves to comes from; absent if somebody deployed a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provenance: Option<ProvenanceView>,
}

/// The gate's current verdict.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct GateView {
    /// `pass`, `fail` or `wait`.
    #[schema(value_type = VerdictWord)]
    pub verdict: String,
    /// Why, in a sentence.
    pub reason: String,
    /// Requests of the canary in this step; in a step by cohort, the cohort's requests.
    pub requests: u64,
    /// How many requests a step needs.
    pub requests_needed: u64,
    /// The numbers.
    pub evidence: EvidenceView,
}

/// The numbers behind a verdict.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EvidenceView {
    /// What the canary is compared with: `concurrent`; `past` if everybody is on the canary; or `alone` if
    /// stable answers nothing, so that stable's past counts.
    #[schema(value_type = BaselineWord)]
    pub baseline: String,
    /// The version under test.
    pub canary: SideView,
    /// The version that it is compared with.
    pub stable: SideView,
    /// The baseline: requests of stable that a handle as fresh as the canary's serves, for as many users.
    /// Latency and memory are compared with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline_side: Option<SideView>,
    /// The canary's numbers for users whom a cohort rule places on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cohort: Option<SideView>,
    /// The tests, strongest evidence first.
    pub signals: Vec<SignalEvidenceView>,
    /// Traps of the canary that stable has never had.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub traps: Vec<TrapEvidenceView>,
    /// Ids of the canary's first failed requests, at most 5.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed_requests: Vec<String>,
    /// What each node of a cluster contributed; the other numbers are those of all nodes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<NodeEvidenceView>,
}

/// What one node of a cluster contributed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NodeEvidenceView {
    /// The name of the node.
    #[schema(value_type = NodeText)]
    pub node: String,
    /// Requests that the canary ran to the end there.
    pub canary_requests: u64,
    /// Requests among them that failed.
    pub canary_failures: u64,
    /// Requests that stable ran to the end there, without the baseline's.
    pub stable_requests: u64,
    /// Requests among them that failed.
    pub stable_failures: u64,
}

/// The numbers of one side of the rollout.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SideView {
    /// The version.
    #[schema(value_type = VersionText)]
    pub version: String,
    /// The role of the version in the stage at that time. Once everybody is on the new version, it is stable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<VersionRole>,
    /// Requests that the version ran to the end.
    pub requests: u64,
    /// Requests among them that failed.
    pub failures: u64,
    /// Median latency during the rollout, milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_p50_ms: Option<f64>,
    /// 99th percentile of the latency during the rollout, milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_p99_ms: Option<f64>,
}

/// One test of the gate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SignalEvidenceView {
    /// `errors`, `errors.trap`, `latency_p50`, `latency_p99`, …
    pub signal: String,
    /// Bad events of the canary.
    pub canary: u64,
    /// Bad events of stable.
    pub stable: u64,
    /// Share of bad events on the canary, 0 to 1. For `latency_p50`, which looks at a sample, of that.
    pub canary_rate: f64,
    /// Share of bad events on stable, 0 to 1.
    pub stable_rate: f64,
    /// The e-value: how many times better "it is worse" explains the observations than "it is not".
    pub e_value: f64,
    /// The e-value at which the gate fails.
    pub threshold: f64,
    /// How close the evidence is to the threshold, 0 to 1, on a logarithmic scale.
    pub progress: f64,
    /// The result in a sentence.
    pub text: String,
}

/// A trap of the canary that stable has never had.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TrapEvidenceView {
    /// 16 hexadecimal digits.
    #[schema(value_type = FingerprintText)]
    pub fingerprint: String,
    /// How many requests, or users, the trap hit.
    pub hits: u64,
    /// The trap and its backtrace.
    pub backtrace: String,
}

/// A rollout that has ended, or a rollback after one. Such a rollback begins and ends at the same time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EndedRolloutView {
    /// The version that it moved from.
    #[schema(value_type = VersionText)]
    pub stable: String,
    /// The version that it moved to.
    #[schema(value_type = VersionText)]
    pub canary: String,
    /// How it ended.
    pub outcome: RolloutOutcomeView,
    /// When it began, Unix milliseconds.
    pub started_ms: u64,
    /// When it ended, Unix milliseconds.
    pub ended_ms: u64,
    /// Why it ended.
    pub reason: String,
    /// The numbers when it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<EvidenceView>,
}

/// How a rollout ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RolloutOutcomeView {
    /// The canary became stable.
    Promoted,
    /// Everybody is on stable. The canary never had all traffic.
    Aborted,
    /// Everybody is on the previous version again.
    RolledBack,
}

/// A release that waits for approvals: one component, one configuration, one plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ProposalView {
    /// What the release is referred to by: the revision that made it.
    pub id: u64,
    /// The stage.
    #[schema(value_type = StageText)]
    pub stage: String,
    /// The version.
    #[schema(value_type = VersionText)]
    pub version: String,
    /// How it is to get its traffic.
    pub strategy: StrategySpec,
    /// What the version can do beyond the stable one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub growth: Vec<String>,
    /// The name of the token that proposed it.
    pub author: String,
    /// Why it was proposed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// How many approvals it needs.
    pub approvers: u32,
    /// When it was proposed, Unix milliseconds.
    pub created_ms: u64,
    /// Until when it can be approved, Unix milliseconds.
    pub expires_ms: u64,
    /// The approvals so far.
    pub approvals: Vec<ApprovalView>,
}

/// A person's consent to a release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ApprovalView {
    /// The name of the token.
    pub by: String,
    /// When, Unix milliseconds.
    pub at_ms: u64,
    /// What they said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}
