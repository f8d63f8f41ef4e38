//! Requests that move traffic, and their answer.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{RolloutView, is_false, live};
use crate::words::{FunctionText, PhaseWord, StageText, VersionRefText, VersionText, WeightText};

/// Defines a request about one stage: the stage, the reason, and a revision at which its author has seen the
/// function.
macro_rules! stage_request {
    ($(#[$meta:meta])* $name:ident { $($(#[$field_meta:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
        #[serde(deny_unknown_fields)]
        pub struct $name {
            /// The stage; `live` if absent.
            #[serde(default = "live")]
            #[schema(value_type = StageText)]
            pub stage: String,
            $($(#[$field_meta])* pub $field: $type,)*
            /// Why, for the journal.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub message: Option<String>,
            /// Refuse the request if the function has changed after this revision.
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
    #[schema(value_type = VersionRefText)]
    pub version: String,
    /// The weight: `10%`, `0.05%`.
    #[schema(value_type = WeightText)]
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
        /// Skip the remaining steps.
        #[serde(default, skip_serializing_if = "is_false")]
        full: bool,
        /// Refuse the request if the rollout is no longer as seen, so that two people who saw the same take
        /// only one step. With `full`, refuse only if it is another rollout.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        seen: Option<RolloutSeen>,
    }
}

/// The rollout as the client saw it: fields of [`RolloutView`] at that time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RolloutSeen {
    /// The version that it moves to.
    #[schema(value_type = VersionText)]
    pub canary: String,
    /// When it began, Unix milliseconds.
    pub started_ms: u64,
    /// Number of the step, from 1; absent before the first step, and once everybody is on the new version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<u32>,
    /// Its phase. A rollout that is now `paused` or `frozen` is promoted only for a client that has seen
    /// this.
    #[schema(value_type = PhaseWord)]
    pub phase: String,
}

impl From<&RolloutView> for RolloutSeen {
    fn from(rollout: &RolloutView) -> Self {
        let RolloutView { canary, started_ms, step, phase, .. } = rollout;
        Self { canary: canary.clone(), started_ms: *started_ms, step: *step, phase: phase.clone() }
    }
}

stage_request! {
    /// Pauses or resumes a rollout.
    HoldRequest {}
}

stage_request! {
    /// Ends a rollout. All traffic goes to stable, or back to the split that was set by hand before it.
    AbortRequest {
        /// Interrupt the canary's requests that are under way. Stable answers those that have sent nothing
        /// out of the machine.
        #[serde(default, skip_serializing_if = "is_false")]
        now: bool,
    }
}

stage_request! {
    /// Sends all traffic to an earlier version.
    RollbackRequest {
        /// The version; `previous` if absent. During a rollout, its stable version if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schema(value_type = Option<VersionRefText>)]
        to: Option<String>,
    }
}

/// A stage after a change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct StageChanged {
    /// The function.
    #[schema(value_type = FunctionText)]
    pub function: String,
    /// The stage.
    #[schema(value_type = StageText)]
    pub stage: String,
    /// Its stable version.
    #[schema(value_type = VersionText)]
    pub stable: String,
    /// Its shares, newest version first.
    pub split: Vec<SplitShare>,
    /// Its rollout, if one is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<RolloutView>,
    /// The version that `rollback` would go to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<VersionText>)]
    pub previous: Option<String>,
    /// Its shares before a rollback; empty in the answer to other commands.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub split_before: Vec<SplitShare>,
    /// The revision that includes the change.
    pub revision: u64,
}

/// Parameters of `DELETE /v1/functions/{function}` and of the stages below it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct DeleteQuery {
    /// Why, for the journal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Refuse the request if the function has changed after this revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_revision: Option<u64>,
}

/// The answer to the deletion of a stage. The versions of the function are still there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StageDeleted {
    /// The function.
    #[schema(value_type = FunctionText)]
    pub function: String,
    /// The stage.
    #[schema(value_type = StageText)]
    pub stage: String,
    /// The revision that includes the deletion.
    pub revision: u64,
}

/// The answer to a deletion. The function is gone, and its version numbers are never used again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Deleted {
    /// The function.
    #[schema(value_type = FunctionText)]
    pub function: String,
    /// The revision that includes the deletion.
    pub revision: u64,
}
