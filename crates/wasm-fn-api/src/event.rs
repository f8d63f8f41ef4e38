//! What becomes of a rollout, as clients tell it that watch one.

use serde::{Deserialize, Serialize};

use super::{EvidenceView, GateView, RolloutOutcomeView, RolloutView, SplitShare};

/// One line of `wasm-fn status FUNCTION -w -o json` and of `wasm-fn deploy --wait -o json`.
///
/// The client makes it of two looks at the function: what began and ended between them is told, what came
/// and went in between is not.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RolloutEvent {
    /// When the client saw it, Unix milliseconds.
    pub at_ms: u64,
    /// The function.
    pub function: String,
    /// The stage.
    pub stage: String,
    /// What happened; its fields stand beside these, with `event` as its name.
    #[serde(flatten)]
    pub change: RolloutChange,
}

/// What happened to a stage's rollout.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
#[expect(clippy::large_enum_variant, reason = "it is made, printed and dropped, one at a time")]
pub enum RolloutChange {
    /// The watching began, and no rollout is under way.
    Idle {
        /// The stage's shares, newest version first.
        split: Vec<SplitShare>,
    },
    /// A rollout is under way: it began, or the watching did.
    Begun {
        /// As it stands.
        rollout: RolloutView,
    },
    /// It is at another step.
    Step {
        /// The version that it moves to.
        canary: String,
        /// Number of the step, from 1; absent once everybody is on the new version.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        step: Option<u32>,
        /// Of so many.
        steps: u64,
        /// The canary's share now.
        weight: String,
        /// Where the step is by cohort: `beta`, or `10% of beta`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cohort: Option<String>,
    },
    /// It is in another phase.
    Phase {
        /// The version that it moves to.
        canary: String,
        /// One of [`RolloutView::phase`].
        phase: String,
        /// Why it stands still.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// The gate says something else.
    Verdict {
        /// The version that it moves to.
        canary: String,
        /// What it says, and why.
        gate: GateView,
    },
    /// It has ended.
    Ended {
        /// The version that it moved to.
        canary: String,
        /// How.
        outcome: RolloutOutcomeView,
        /// Why.
        reason: String,
        /// The numbers at that moment.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        evidence: Option<EvidenceView>,
    },
    /// It is over, and how it ended was not seen: the history knows.
    Gone {
        /// The version that it moved to.
        canary: String,
    },
    /// The waiting has ended, and the rollout goes on.
    Inconclusive {
        /// The version that it moves to.
        canary: String,
        /// `timeout` or `interrupted`.
        because: String,
    },
}
