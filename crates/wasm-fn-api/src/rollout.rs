//! Strategies, gates and rollouts as JSON.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use wasm_fn_core::defaults;

use super::{SplitShare, VersionRole, is_false};

/// How a deployment gets its traffic: `{"name": "canary", "steps": ["10%", "50%"]}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "name", rename_all = "kebab-case", deny_unknown_fields)]
pub enum StrategySpec {
    /// Everything to the new version at once, which is watched afterwards.
    #[default]
    AllAtOnce,
    /// The version exists and is reachable by override, nothing else.
    NoTraffic,
    /// Cohorts, then growing shares to the new version, each under the gate.
    Canary {
        /// The steps before everything: cohorts of the stable version's configuration, `beta` or a part, `10%
        /// of beta`, then shares of everybody, `10%`; growing, more than 0 %. `1%`, `10%`, `50%` when absent.
        #[serde(default = "canary_steps")]
        steps: Vec<String>,
    },
    /// The same share more, again and again.
    Linear {
        /// The share, `10%` when absent.
        #[serde(default = "linear_share")]
        by: String,
        /// How long each step lasts, milliseconds; a minute when absent.
        #[serde(default = "linear_every_ms")]
        every_ms: u64,
    },
    /// No share until its checks passed, then everything.
    BlueGreen,
}

impl StrategySpec {
    /// A canary by the default steps.
    pub fn canary() -> Self {
        Self::Canary { steps: canary_steps() }
    }
}

/// The shares of a canary whose deployment names none.
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

/// How a rollout moves, whatever its strategy; everything absent has a default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RolloutOptions {
    /// Each step, and the switch, waits for a person's `promote` after its gate passed.
    #[serde(skip_serializing_if = "is_false")]
    pub manual: bool,
    /// What happens when the gate fails; `rollback` when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_fail: Option<OnFailSpec>,
    /// How long each step lasts at least, milliseconds; a minute when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step_min_ms: Option<u64>,
    /// How long the new version is watched once everybody is on it; 5 minutes when absent, 0 for not at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub watch_ms: Option<u64>,
    /// How long the previous version stays loaded after a blue-green switch; an hour when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_ms: Option<u64>,
    /// Whether stable answers requests that failed on the canary; yes when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shield: Option<bool>,
    /// Requests that a blue-green version must answer as expected before the switch.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<CheckSpec>,
}

/// What happens when the gate fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OnFailSpec {
    /// Everybody goes back.
    #[default]
    Rollback,
    /// The split stays; a person resumes or ends the rollout.
    Pause,
    /// The split stays; a person ends the rollout, nobody resumes it.
    Freeze,
}

/// What happens when a step has lasted long enough and had too few requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OnNoDataSpec {
    /// It goes on lasting.
    #[default]
    Wait,
    /// It passes.
    Pass,
}

/// The rule that a rollout must satisfy; everything absent has a default.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct GateOptions {
    /// Probability that a canary which is no worse than tolerated is failed: more than 0, less than 0.5;
    /// 0.001 when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alpha: Option<f64>,
    /// Failures, against stable's; tolerated up to 1.1 times when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub errors: Option<Tolerance>,
    /// 99th percentile of the latency and, in steps, its median, against stable's; tolerated up to 1.2 times
    /// when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_p99: Option<Tolerance>,
    /// 99th percentile of the memory peak, against stable's; tolerated up to 1.2 times when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_p99: Option<Tolerance>,
    /// Share of failures that is too high in any case: more than 0, less than 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_error_rate: Option<f64>,
    /// Latency that 99 % of requests are to stay below in any case, milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_latency_p99_ms: Option<u64>,
    /// Requests of each side below which nothing passes; 100 when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_requests: Option<u64>,
    /// What is too bad where nothing is known to compare with; half of 20 requests when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub floor: Option<FloorSpec>,
    /// What happens when there are fewer; `wait` when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_no_data: Option<OnNoDataSpec>,
}

/// What is too bad of a version where nothing is known to compare it with.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FloorSpec {
    /// Share of failures that is too high: more than 0, at most 1.
    pub error_rate: f64,
    /// Requests below which it is not asked; at least 3.
    pub requests: u64,
}

/// How much worse than stable is tolerated of one signal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Tolerance {
    /// So many times stable's, 1 to 100; the signal's default when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tolerate: Option<f64>,
    /// The signal is not looked at.
    #[serde(skip_serializing_if = "is_false")]
    pub off: bool,
}

/// A request, and the answer that is expected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CheckSpec {
    /// The method, `GET` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// Path and query as a client would send them: `/hello?x=1`.
    pub path: String,
    /// Request headers.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// The request's body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// What is expected of the answer.
    #[serde(default)]
    pub expect: Expectation,
}

/// What is expected of an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Expectation {
    /// Its status; 200 when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Headers and their values.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// Regular expression that its body matches somewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// Values in its JSON body, by JSON pointer (RFC 6901): `{"/status": "ok"}`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = BTreeMap<String, Object>)]
    pub json: BTreeMap<String, serde_json::Value>,
}

/// A rollout under way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RolloutView {
    /// The version that it moves from: stable, and the previous one while the new version is `watching`.
    pub stable: String,
    /// The version that it moves to: the canary, and the stable one while it is `watching`.
    pub canary: String,
    /// The share of the version that it moves to.
    pub weight: String,
    /// How it moves.
    pub strategy: StrategySpec,
    /// When it began, Unix milliseconds.
    pub started_ms: u64,
    /// The split before it began.
    pub from_split: Vec<SplitShare>,
    /// `checking`, `progressing`, `awaiting promotion`, `paused`, `frozen` or `watching`.
    pub phase: String,
    /// Number of the step, from 1; absent before the first and once everybody is on the new version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<u32>,
    /// All steps as [`StrategySpec::Canary`] writes them, with the last one of `100%`.
    #[serde(default)]
    pub steps: Vec<String>,
    /// How long the step, or the watch, has lasted, milliseconds.
    #[serde(default)]
    pub lasted_ms: u64,
    /// How long it lasts at least.
    #[serde(default)]
    pub lasts_ms: u64,
    /// Why it stands still.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What the gate says, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate: Option<GateView>,
}

/// What the gate says now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct GateView {
    /// `pass`, `fail` or `wait`.
    pub verdict: String,
    /// Why, in a sentence.
    pub reason: String,
    /// Requests of the canary in this step; in the step of a cohort, the cohort's.
    pub requests: u64,
    /// Requests that a step needs.
    pub requests_needed: u64,
    /// The numbers.
    pub evidence: EvidenceView,
}

/// The numbers behind a verdict.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EvidenceView {
    /// What the canary is compared with: `concurrent`, `past` when everybody is on it, or `alone` when
    /// nothing is heard of stable, so that its past counts.
    pub baseline: String,
    /// The version under test.
    pub canary: SideView,
    /// The version it is compared with.
    pub stable: SideView,
    /// Those of its requests that are served by a handle as fresh as the canary's, for as many users: what
    /// latency and memory are compared with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline_side: Option<SideView>,
    /// What the canary did for users who are on it by rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cohort: Option<SideView>,
    /// The tests, strongest evidence first.
    pub signals: Vec<SignalEvidenceView>,
    /// Traps of the canary that stable never showed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub traps: Vec<TrapEvidenceView>,
    /// Ids of the canary's first requests that failed, at most 5.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed_requests: Vec<String>,
}

/// What one side did in the rollout.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SideView {
    /// The version.
    pub version: String,
    /// What it is to the stage at that moment: once everybody is on the new version, that is stable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<VersionRole>,
    /// Requests that it ran to their end.
    pub requests: u64,
    /// Those among them that failed.
    pub failures: u64,
    /// Median latency in the rollout, milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_p50_ms: Option<f64>,
    /// 99th percentile of the latency in the rollout, milliseconds.
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
    /// The e-value: how many times better "it is worse" explains what was seen than "it is not".
    pub e_value: f64,
    /// The e-value at which the gate fails.
    pub threshold: f64,
    /// How far the evidence has come, 0 to 1, on a logarithmic scale.
    pub progress: f64,
    /// The same in a sentence.
    pub text: String,
}

/// A trap of the canary that stable never showed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TrapEvidenceView {
    /// 16 hexadecimal digits.
    pub fingerprint: String,
    /// How many requests, or users, it hit.
    pub hits: u64,
    /// The trap and its backtrace.
    pub backtrace: String,
}

/// A rollout that has ended, or a rollback after one: that begins and ends in the same moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EndedRolloutView {
    /// The version that it moved from.
    pub stable: String,
    /// The version that it moved to.
    pub canary: String,
    /// How it ended.
    pub outcome: RolloutOutcomeView,
    /// When it began, Unix milliseconds.
    pub started_ms: u64,
    /// When it ended, Unix milliseconds.
    pub ended_ms: u64,
    /// Why.
    pub reason: String,
    /// The numbers at that moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<EvidenceView>,
}

/// How a rollout ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RolloutOutcomeView {
    /// The canary is stable.
    Promoted,
    /// All are on stable; the canary never had everybody.
    Aborted,
    /// All are on the previous version again.
    RolledBack,
}
