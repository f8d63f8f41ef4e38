//! Rollouts: their place, their end.

use std::sync::Arc;

use wasm_fn_core::{FunctionName, StageName, TrafficSplit, VersionNo};
use wasm_fn_rollout::{Command, Counts, GateState, Phase, Place, Strategy, Time};

use super::{Action, Keep, Meta, RolloutSpec, StageState};
use crate::report::Report;

/// A rollout under way.
#[derive(Clone, Debug, PartialEq)]
pub struct Rollout {
    /// The version that it moves to.
    pub canary: VersionNo,
    /// The version that it moves from.
    pub base: VersionNo,
    /// Its specification.
    pub spec: Arc<RolloutSpec>,
    /// Its phase.
    pub phase: Phase,
    /// When it began, Unix milliseconds.
    pub started_ms: u64,
    /// The split before it began.
    pub from_split: TrafficSplit,
    /// Number of its gate. Each gate begins without the evidence of the one before.
    pub gate_no: u32,
    /// The state of its gate at the last change.
    pub gate: Option<GateState>,
    /// The past of the base, from before all traffic left it.
    pub past: Option<Counts>,
}

/// The rollout as the person who gives it a command saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenRollout {
    /// The version that it moves to.
    pub canary: VersionNo,
    /// When it began, Unix milliseconds.
    pub started_ms: u64,
    /// Number of its step, from 1; `None` before the first step, and once everybody is on the new version.
    pub step: Option<u32>,
    /// Whether it was paused or frozen.
    pub held: bool,
}

/// A rollout that has ended, or a rollback without one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndedRollout {
    /// The version that it moved to.
    pub canary: VersionNo,
    /// The version that it moved from.
    pub base: VersionNo,
    /// How it ended.
    pub outcome: RolloutOutcome,
    /// When it began, Unix milliseconds.
    pub started_ms: u64,
    /// When it ended, Unix milliseconds.
    pub ended_ms: u64,
    /// Why it ended.
    pub reason: String,
    /// The numbers when it ended.
    pub report: Option<Box<Report>>,
}

/// How a rollout ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RolloutOutcome {
    /// The canary became stable.
    Promoted,
    /// The canary never had all traffic.
    Aborted,
    /// The new version had all traffic, and then lost it again.
    RolledBack,
}

impl RolloutOutcome {
    /// All values, in the order of their discriminants.
    pub const ALL: [Self; 3] = [Self::Promoted, Self::Aborted, Self::RolledBack];

    /// The word used in the API and in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Promoted => "promoted",
            Self::Aborted => "aborted",
            Self::RolledBack => "rolled-back",
        }
    }
}

/// Identifies a rollout among all rollouts of its stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RolloutId {
    /// The version that it moves to.
    pub canary: VersionNo,
    /// The version that it moves from.
    pub base: VersionNo,
    /// When it began, Unix milliseconds.
    pub started_ms: u64,
}

impl RolloutSpec {
    /// What stays ready after a switch from `base` at `at`.
    pub(crate) fn kept(&self, base: VersionNo, at: Time) -> Option<Keep> {
        let keeps = self.plan().spec().strategy == Strategy::BlueGreen && !self.keep().is_zero();
        keeps.then(|| Keep { version: base, until_ms: at.after(self.keep()).0 })
    }
}

impl Rollout {
    /// Number of its step, from 1; `None` before the first step, and once everybody is on the new version.
    pub fn step(&self) -> Option<u32> {
        match self.phase.place()? {
            Place::Step(step) => u32::try_from(step + 1).ok(),
            Place::Check | Place::Watch => None,
        }
    }

    /// Whether it is on hold until a person decides.
    fn is_held(&self) -> bool {
        matches!(self.phase, Phase::Paused { .. } | Phase::Frozen { .. })
    }

    /// Whether everybody is already on the new version.
    pub fn is_watch(&self) -> bool {
        self.phase.place() == Some(Place::Watch)
    }

    /// What stays ready after the switch that began its watch; `None` unless a watch is running.
    pub(crate) fn kept_since_its_switch(&self) -> Option<Keep> {
        match self.phase {
            Phase::Running { place: Place::Watch, since } => self.spec.kept(self.base, since),
            _ => None,
        }
    }

    /// Identifies it among all rollouts of its stage.
    pub fn id(&self) -> RolloutId {
        let Self { canary, base, started_ms, .. } = *self;
        RolloutId { canary, base, started_ms }
    }
}

impl SeenRollout {
    /// Checks that `rollout` is still as it was seen, as far as this matters to `command`. To promote fully
    /// or to end a rollout applies wherever it is. A rollout that is now on hold takes a step only if the
    /// person has seen this.
    ///
    /// # Errors
    /// What was found, and what was expected.
    pub(super) fn check(&self, rollout: &Rollout, command: Command) -> Result<(), (String, String)> {
        let Rollout { canary, started_ms, .. } = rollout;
        let stands = |step: Option<u32>, held: bool| {
            let place = step.map_or("before its first step".to_owned(), |step| format!("at step {step}"));
            format!("{place}{}", if held { ", on hold" } else { "" })
        };
        if (*canary, *started_ms) != (self.canary, self.started_ms) {
            let other = if *canary == self.canary { "a later rollout" } else { "the rollout" };
            return Err((format!("{other} to {canary}"), format!("the rollout to {}", self.canary)));
        }
        let steps = command == Command::Promote && !rollout.is_watch();
        if steps && (rollout.step() != self.step || (rollout.is_held() && !self.held)) {
            let found = format!("the rollout to {canary} {}", stands(rollout.step(), rollout.is_held()));
            return Err((found, format!("it {}", stands(self.step, self.held))));
        }
        Ok(())
    }
}

/// The rollout that `before` had under way, if `after` no longer has it; otherwise the effect of a rollback.
pub(super) fn ended(
    before: Option<&StageState>,
    after: &StageState,
    action: &Action,
    meta: &Meta<'_>,
) -> Option<EndedRollout> {
    let before = before?;
    let Some(rollout) = &before.rollout else { return moved(before, action, meta) };
    if after.rollout.as_ref().is_some_and(|after| after.id() == rollout.id()) {
        return None;
    }
    let outcome = if after.stable == rollout.canary || action.builds_on(rollout) {
        RolloutOutcome::Promoted
    } else if rollout.is_watch() {
        RolloutOutcome::RolledBack
    } else {
        RolloutOutcome::Aborted
    };
    Some(EndedRollout {
        canary: rollout.canary,
        base: rollout.base,
        outcome,
        started_ms: rollout.started_ms,
        ended_ms: meta.at_ms,
        reason: reason(action, meta),
        report: action.report().cloned().map(Box::new),
    })
}

/// The effect of a rollback on the stage `before`, without a rollout under way. It counts as a rollout that
/// ends when it begins.
fn moved(before: &StageState, action: &Action, meta: &Meta<'_>) -> Option<EndedRollout> {
    let Action::Rollback { version, left, .. } = action else { return None };
    let (canary, base, outcome) = match left {
        Some(left) => (*left, *version, RolloutOutcome::RolledBack),
        // The rollback went to a newer version.
        None if *version != before.stable => (*version, before.stable, RolloutOutcome::Promoted),
        None => return None,
    };
    let (started_ms, ended_ms) = (meta.at_ms, meta.at_ms);
    Some(EndedRollout {
        canary,
        base,
        outcome,
        started_ms,
        ended_ms,
        reason: reason(action, meta),
        report: None,
    })
}

/// Why `action` ends a rollout, in a sentence.
fn reason(action: &Action, meta: &Meta<'_>) -> String {
    match (action, meta.message, action.report()) {
        (
            Action::Deploy { version, aborted: Some(canary), .. }
            | Action::Approve { version, aborted: Some(canary), .. },
            ..,
        ) => Action::replaced_by(*version, *canary),
        (Action::Deploy { version, .. } | Action::Approve { version, .. }, ..) => {
            format!("followed by the deployment of {version}")
        }
        (Action::Traffic { .. }, ..) => "the weights were set by hand".to_owned(),
        (_, Some(said), _) => said.to_owned(),
        (_, None, Some(report)) => report.reason.clone(),
        (_, None, None) => "by command".to_owned(),
    }
}

impl Action {
    /// Whether the action starts from the version to which `rollout` had moved everybody.
    fn builds_on(&self, rollout: &Rollout) -> bool {
        matches!(self, Self::Deploy { .. } | Self::Approve { .. } | Self::Traffic { .. })
            && rollout.is_watch()
    }
}

/// Identifies a rollout by its place.
pub type StageKey = (FunctionName, StageName);
