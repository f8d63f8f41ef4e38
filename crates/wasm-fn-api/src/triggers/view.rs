//! Triggers, as clients see them.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{RetrySpec, SourceSpec, TriggerDeploymentsView, TriggerReleaseView, WatchView};
use crate::words::{
    EventPathText, FunctionText, HeaderText, PausedByWord, QueueStateWord, RateText, RedeliverWord,
    StageText, TriggerText, VersionText,
};

/// The triggers of a function: the answer to `GET /v1/functions/{function}/triggers`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TriggerList {
    /// The function.
    #[schema(value_type = FunctionText)]
    pub function: String,
    /// Its triggers, sorted by stage and name.
    pub triggers: Vec<TriggerView>,
}

/// Which triggers of all functions to list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct TriggersQuery {
    /// Only triggers behind this one, as `function/stage/name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// At most so many, 1 to 1,000; 1,000 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u32>,
}

/// The triggers of all functions: the answer to `GET /v1/triggers`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AllTriggers {
    /// The triggers, sorted by function, stage and name.
    pub triggers: Vec<TriggerView>,
    /// Whether there are more behind them.
    pub more: bool,
}

/// A trigger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TriggerView {
    /// The function.
    #[schema(value_type = FunctionText)]
    pub function: String,
    /// The stage.
    #[schema(value_type = StageText)]
    pub stage: String,
    /// Its name.
    #[schema(value_type = TriggerText)]
    pub name: String,
    /// Where its events come from.
    pub source: SourceSpec,
    /// The path of the requests by which the function gets its events.
    #[schema(value_type = EventPathText)]
    pub path: String,
    /// The path on the functions' address to which a service sends its events; absent for schedules.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url_path: Option<String>,
    /// When an event is delivered again.
    pub retry: RetrySpec,
    /// Deliveries in progress at a time, at most.
    pub concurrency_max: u32,
    /// Deliveries that begin in a time, at most; absent for any number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<RateText>)]
    pub rate: Option<String>,
    /// The header by which its events are in order; absent if they are not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<HeaderText>)]
    pub ordered_by: Option<String>,
    /// When an event that a canary failed to handle goes to stable at once; absent for a webhook in mode
    /// `sync`, and for a trigger that deploys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<RedeliverWord>)]
    pub redeliver: Option<String>,
    /// When it was made, Unix milliseconds.
    pub created_ms: u64,
    /// The name of the token that made it.
    pub created_by: String,
    /// Why it is paused; absent if it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<PauseView>,
    /// The next five times of a schedule, without jitter, Unix milliseconds. A pause does not hide them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub next_ms: Vec<u64>,
    /// How what it deploys is released; absent if it does not deploy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<TriggerReleaseView>,
    /// What is known of the tag that it watches; absent if it watches none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watch: Option<WatchView>,
    /// What it has in the inbox.
    pub inbox: InboxView,
    /// What became of its events since the node started.
    pub counts: TriggerCountsView,
    /// How its broker is; absent if it is no queue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<QueueView>,
    /// The function's revision.
    pub revision: u64,
}

/// Why a trigger is paused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PauseView {
    /// Since when, Unix milliseconds.
    pub since_ms: u64,
    /// `command`, or `failures` if the schedule's `pause_on_failure` did it.
    #[schema(value_type = PausedByWord)]
    pub by: String,
    /// How many runs had failed one after the other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failures: Option<u32>,
    /// What was noted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// What a trigger has in the inbox.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct InboxView {
    /// Events that wait.
    pub waiting: u64,
    /// Events that are being delivered.
    pub in_flight: u64,
    /// Bytes of both.
    pub bytes: u64,
    /// Dead letters.
    pub dead: u64,
    /// Their bytes.
    pub dead_bytes: u64,
    /// When the oldest event came that waits or is being delivered, Unix milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest_ms: Option<u64>,
    /// Whether it has as many dead letters as it may have, so that nothing is delivered until some are
    /// redriven or discarded.
    pub blocked: bool,
}

/// What became of a trigger's events since the node started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TriggerCountsView {
    /// Ticks that did not run because an earlier run was in progress.
    pub skipped: u64,
    /// Ticks that the node could not run within the catch-up window.
    pub missed: u64,
    /// Runs that the next one broke off.
    pub cancelled: u64,
    /// Deliveries that the node could not make, and that spent no attempt.
    pub of_node: u64,
    /// Events that became dead letters one after the other, up to now.
    pub failures_in_a_row: u32,
    /// By the version that answered, the newest first.
    pub versions: Vec<TriggerVersionView>,
    /// Ticks that ran on canaries as well, without effects, the newest canary first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub canary_runs: Vec<CanaryRunsView>,
    /// What they led to, if it deploys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployments: Option<TriggerDeploymentsView>,
}

/// Ticks that ran on a canary without effects, besides their runs on stable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CanaryRunsView {
    /// The canary.
    #[schema(value_type = VersionText)]
    pub version: String,
    /// Runs in which it acknowledged the tick and asked for no effect.
    pub passed: u32,
    /// Runs in which it failed, asked for no effect before, and stable acknowledged the tick. The first one
    /// pauses the rollout.
    pub failed: u32,
    /// Runs that say nothing: it was refused an effect, or stable failed as well.
    pub unclear: u32,
}

/// Deliveries that a version answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TriggerVersionView {
    /// The version.
    #[schema(value_type = VersionText)]
    pub version: String,
    /// Deliveries that began within a second of when they were due.
    pub on_time: u64,
    /// Deliveries that began later.
    pub late: u64,
    /// Events that were acknowledged.
    pub acknowledged: u64,
    /// Deliveries that failed and are tried again.
    pub retried: u64,
    /// Events that became dead letters.
    pub failed: u64,
}

/// How the broker of a queue is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct QueueView {
    /// Whether messages can come.
    #[schema(value_type = QueueStateWord)]
    pub state: String,
    /// Since when, Unix milliseconds.
    pub since_ms: u64,
    /// Why none can come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Messages that the broker has not delivered yet; absent if it was not heard of since the node started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<u64>,
    /// Messages that it has delivered and that are not settled: in progress, or to be delivered again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unsettled: Option<u64>,
    /// Deliveries since the node started.
    pub delivered: u64,
    /// Messages that were acknowledged since then.
    pub acknowledged: u64,
    /// Deliveries since then that failed, and after which the message comes again.
    pub retried: u64,
    /// Messages that became dead letters since then.
    pub dead: u64,
    /// Messages since then that came again although they were in progress or settled here.
    pub repeated: u64,
}

/// A trigger was removed. Its events are removed after it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TriggerRemoved {
    /// The function.
    #[schema(value_type = FunctionText)]
    pub function: String,
    /// The stage.
    #[schema(value_type = StageText)]
    pub stage: String,
    /// The trigger.
    #[schema(value_type = TriggerText)]
    pub name: String,
    /// The function's revision after the change.
    pub revision: u64,
}
