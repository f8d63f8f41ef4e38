//! Requests that move traffic, and their answer.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{RolloutView, is_false, live};

/// Defines a request about one stage: with the stage, why, and the revision that its author has seen.
macro_rules! stage_request {
    ($(#[$meta:meta])* $name:ident { $($(#[$field_meta:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
        #[serde(deny_unknown_fields)]
        pub struct $name {
            /// The stage; `live` if absent.
            #[serde(default = "live")]
            pub stage: String,
            $($(#[$field_meta])* pub $field: $type,)*
            /// Why, for the journal.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub message: Option<String>,
            /// The request is refused if the node has another revision.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub expected_revision: Option<u64>,
        }
    };
}

/// The share of one version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SplitShare {
    /// `v42`; in requests also `stable`, `canary`, `previous` or `latest`.
    pub version: String,
    /// `10%`, `0.05%`.
    pub weight: String,
}

stage_request! {
    /// Sets the weights of a stage.
    TrafficRequest {
        /// Shares that add up to 100 %.
        split: Vec<SplitShare>,
    }
}

stage_request! {
    /// Takes the rollout to its next step, or to its end.
    PromoteRequest {
        /// Skip the steps that are left.
        #[serde(default, skip_serializing_if = "is_false")]
        full: bool,
        /// Refuse when the rollout is not where it was seen, so that two who saw the same take one step; with
        /// `full`, when it is another rollout.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        seen: Option<RolloutSeen>,
    }
}

/// Where a rollout was seen: fields of [`RolloutView`] as they were.
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

impl From<&RolloutView> for RolloutSeen {
    fn from(rollout: &RolloutView) -> Self {
        let RolloutView { canary, started_ms, step, phase, .. } = rollout;
        Self { canary: canary.clone(), started_ms: *started_ms, step: *step, phase: phase.clone() }
    }
}

stage_request! {
    /// Holds a rollout where it is, or lets it go on.
    HoldRequest {}
}

stage_request! {
    /// Ends a rollout; everything goes to stable, or back to the split that was set by hand before it.
    AbortRequest {
        /// Cut off requests under way on the canary; where nothing has left the machine, stable answers them.
        #[serde(default, skip_serializing_if = "is_false")]
        now: bool,
    }
}

stage_request! {
    /// Sends everything to an earlier version.
    RollbackRequest {
        /// The version; `previous` if absent. During a rollout, its stable version if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to: Option<String>,
    }
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
    pub split: Vec<SplitShare>,
    /// Its rollout, if one is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<RolloutView>,
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
