//! Changes of a rollout, as a client that watches it prints them.

use serde::{Deserialize, Serialize};

use super::{EvidenceView, GateView, RolloutOutcomeView, RolloutView, SplitShare};

/// One line of `wasm-fn status FUNCTION -w -o json` and of `wasm-fn deploy --wait -o json`.
///
/// The client derives the events from two successive reads of the function. It reports what began or ended
/// between them; it does not see what both began and ended between them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RolloutEvent {
    /// When the client saw it, Unix milliseconds.
    pub at_ms: u64,
    /// The function.
    pub function: String,
    /// The stage.
    pub stage: String,
    /// What happened. Its fields are next to these, and `event` holds its name.
    #[serde(flatten)]
    pub change: RolloutChange,
}

/// A change of a stage's rollout.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
#[expect(clippy::large_enum_variant, reason = "it is made, printed and dropped, one at a time")]
pub enum RolloutChange {
    /// The client began to watch, and no rollout is under way.
    Idle {
        /// The stage's shares, newest version first.
        split: Vec<SplitShare>,
    },
    /// A rollout is under way: it began, or the client began to watch it.
    Begun {
        /// Its current state.
        rollout: RolloutView,
    },
    /// The rollout is at another step.
    Step {
        /// The version that it moves to.
        canary: String,
        /// Number of the step, from 1; absent once everybody is on the new version.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        step: Option<u32>,
        /// Number of steps.
        steps: u64,
        /// The canary's current share.
        weight: String,
        /// The cohort of the step, if it is by cohort: `beta`, or `10% of beta`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cohort: Option<String>,
    },
    /// The rollout is in another phase.
    Phase {
        /// The version that it moves to.
        canary: String,
        /// One of the phases in [`RolloutView::phase`].
        phase: String,
        /// Why the rollout is on hold.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// The gate has another verdict.
    Verdict {
        /// The version that it moves to.
        canary: String,
        /// The verdict, and why.
        gate: GateView,
    },
    /// The rollout has ended.
    Ended {
        /// The version that it moved to.
        canary: String,
        /// How it ended.
        outcome: RolloutOutcomeView,
        /// Why.
        reason: String,
        /// The numbers at the time of the change.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        evidence: Option<EvidenceView>,
    },
    /// The rollout is over, but the client did not see how it ended; the history tells.
    Gone {
        /// The version that it moved to.
        canary: String,
    },
    /// The client stopped waiting, and the rollout goes on.
    Inconclusive {
        /// The version that it moves to.
        canary: String,
        /// `timeout` or `interrupted`.
        because: String,
    },
}
