//! Requests that move traffic, and their answer.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{Rollout, is_false, live};

/// The share of one version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Share {
    /// `v42`; in requests also `stable`, `canary`, `previous` or `latest`.
    pub version: String,
    /// `10%`, `0.05%`.
    pub weight: String,
}

/// Sets the weights of a stage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TrafficRequest {
    /// The stage, `live` when absent.
    #[serde(default = "live")]
    pub stage: String,
    /// Shares that add up to 100 %.
    pub split: Vec<Share>,
    /// Why, for the journal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Refuse when the node has another revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_revision: Option<u64>,
}

/// Takes the rollout to its next step, or to its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PromoteRequest {
    /// The stage, `live` when absent.
    #[serde(default = "live")]
    pub stage: String,
    /// Skip the steps that are left.
    #[serde(default, skip_serializing_if = "is_false")]
    pub full: bool,
    /// Refuse when the rollout is not where it was seen, so that two who saw the same take one step; with `full`, when it
    /// is another rollout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<RolloutSeen>,
    /// Why, for the journal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Refuse when the node has another revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_revision: Option<u64>,
}

/// Where a rollout was seen: fields of [`Rollout`] as they were.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RolloutSeen {
    /// The version that it moves to.
    pub canary: String,
    /// When it began, Unix milliseconds.
    pub started_ms: u64,
    /// Number of the step, from 1; absent before the first and once everybody is on the new version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<u32>,
    /// Its phase. One that is `paused` or `frozen` by now is promoted only by those who saw that.
    pub phase: String,
}

impl From<&Rollout> for RolloutSeen {
    fn from(rollout: &Rollout) -> Self {
        let Rollout { canary, started_ms, step, phase, .. } = rollout;
        Self { canary: canary.clone(), started_ms: *started_ms, step: *step, phase: phase.clone() }
    }
}

/// Holds a rollout where it is, or lets it go on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HoldRequest {
    /// The stage, `live` when absent.
    #[serde(default = "live")]
    pub stage: String,
    /// Why, for the journal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Refuse when the node has another revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_revision: Option<u64>,
}

/// Ends a rollout; everything goes to stable, or back to the split that was set by hand before it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AbortRequest {
    /// The stage, `live` when absent.
    #[serde(default = "live")]
    pub stage: String,
    /// Cut off requests under way on the canary; where nothing has left the machine, stable answers them.
    #[serde(default, skip_serializing_if = "is_false")]
    pub now: bool,
    /// Why, for the journal and for the version's verdict.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Refuse when the node has another revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_revision: Option<u64>,
}

/// Sends everything to an earlier version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RollbackRequest {
    /// The stage, `live` when absent.
    #[serde(default = "live")]
    pub stage: String,
    /// The version, `previous` when absent; during a rollout absent means its stable version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// Why, for the journal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Refuse when the node has another revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_revision: Option<u64>,
}

/// How a stage stands after a change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct StageChanged {
    /// The function.
    pub function: String,
    /// The stage.
    pub stage: String,
    /// Its stable version.
    pub stable: String,
    /// Its shares, newest version first.
    pub split: Vec<Share>,
    /// Its rollout, if one is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<Rollout>,
    /// The version that `rollback` would go to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<String>,
    /// The revision with it.
    pub revision: u64,
}

/// Parameters of `DELETE /v1/functions/{function}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct DeleteQuery {
    /// Why, for the journal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Refuse when the node has another revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_revision: Option<u64>,
}

/// A function is gone; its version numbers are never used again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Deleted {
    /// The function.
    pub function: String,
    /// The revision without it.
    pub revision: u64,
}
