//! Rollouts: what was asked for, where they stand, how they ended.

use std::{sync::Arc, time::Duration};

use wasm_fn_core::{FunctionName, StageName, TrafficSplit, VersionNo};
use wasm_fn_rollout::{
    Command, Counts, GateError, GateSpec, GateState, Phase, Place, Plan, PlanError, PlanSpec, Strategy, Time,
};

use super::{Action, Check, Keep, Meta, StageState};
use crate::report::Report;

/// Most checks of a rollout.
const CHECKS_MAX: usize = 100;

/// Longest time that the previous version is kept loaded.
pub(super) const KEEP_MAX: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// What a rollout is to do, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct RolloutSpec {
    // Invariant: a gate can be made of `gate`; checks only where the plan has a place for them.
    plan: Plan,
    gate: GateSpec,
    shield: bool,
    keep: Duration,
    checks: Vec<Check>,
}

/// Why a rollout is none.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SpecError {
    /// Its plan.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// Its gate.
    #[error(transparent)]
    Gate(#[from] GateError),
    /// Too many checks.
    #[error("there are {0} checks, expected at most {CHECKS_MAX}")]
    Checks(usize),
    /// Checks where nothing waits for them.
    #[error("there are checks, expected none unless the strategy is blue-green")]
    ChecksUnused,
    /// The previous version is kept for too long.
    #[error("keep is {0:?}, expected at most 30 days")]
    Keep(Duration),
}

/// A rollout under way.
#[derive(Clone, Debug, PartialEq)]
pub struct Rollout {
    /// The version it moves to.
    pub canary: VersionNo,
    /// The version it moves from.
    pub base: VersionNo,
    /// What it is to do.
    pub spec: Arc<RolloutSpec>,
    /// Where it stands.
    pub phase: Phase,
    /// When it began, Unix milliseconds.
    pub started_ms: u64,
    /// The split before it began.
    pub from_split: TrafficSplit,
    /// Number of its gate; each gate begins without the evidence of the one before.
    pub gate_no: u32,
    /// What its gate had seen at the last change.
    pub gate: Option<GateState>,
    /// What the base did before everybody left it.
    pub past: Option<Counts>,
}

/// Where somebody saw a rollout who gives it a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenRollout {
    /// The version it moves to.
    pub canary: VersionNo,
    /// When it began, Unix milliseconds.
    pub started_ms: u64,
    /// Number of its step, from 1; `None` before the first and once everybody is on the new version.
    pub step: Option<u32>,
    /// Whether it was paused or frozen.
    pub held: bool,
}

/// A rollout that has ended, or a rollback outside of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndedRollout {
    /// The version it moved to.
    pub canary: VersionNo,
    /// The version it moved from.
    pub base: VersionNo,
    /// How it ended.
    pub outcome: RolloutOutcome,
    /// When it began, Unix milliseconds.
    pub started_ms: u64,
    /// When it ended, Unix milliseconds.
    pub ended_ms: u64,
    /// Why.
    pub reason: String,
    /// The numbers at that moment.
    pub report: Option<Box<Report>>,
}

/// How a rollout ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RolloutOutcome {
    /// The canary is stable.
    Promoted,
    /// The canary never had everybody.
    Aborted,
    /// It had, and everybody left it again.
    RolledBack,
}

impl RolloutSpec {
    /// Checks what a rollout is to do.
    ///
    /// A blue-green rollout without checks waits for a person before the switch: somebody has to look.
    ///
    /// # Errors
    /// A plan or a gate that is none, checks that nobody waits for, or a bound.
    pub fn new(
        mut plan: PlanSpec,
        gate: GateSpec,
        shield: bool,
        keep: Duration,
        checks: Vec<Check>,
    ) -> Result<Self, SpecError> {
        gate.check()?;
        if checks.len() > CHECKS_MAX {
            return Err(SpecError::Checks(checks.len()));
        }
        if keep > KEEP_MAX {
            return Err(SpecError::Keep(keep));
        }
        if plan.strategy == Strategy::BlueGreen {
            plan.manual |= checks.is_empty();
        } else if !checks.is_empty() {
            return Err(SpecError::ChecksUnused);
        }
        Ok(Self { plan: Plan::new(plan)?, gate, shield, keep, checks })
    }

    /// Its strategy, laid out.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The rule that it must satisfy.
    pub fn gate(&self) -> &GateSpec {
        &self.gate
    }

    /// Whether stable answers requests that failed on the canary.
    pub fn shield(&self) -> bool {
        self.shield
    }

    /// How long the previous version stays ready after a blue-green switch.
    pub fn keep(&self) -> Duration {
        self.keep
    }

    /// What a switch from `base` at `at` keeps ready.
    pub(crate) fn kept(&self, base: VersionNo, at: Time) -> Option<Keep> {
        let keeps = self.plan.spec().strategy == Strategy::BlueGreen && !self.keep.is_zero();
        keeps.then(|| Keep { version: base, until_ms: at.after(self.keep).0 })
    }

    /// What a blue-green version must answer before the switch.
    pub fn checks(&self) -> &[Check] {
        &self.checks
    }
}

/// What tells a rollout from all others of its stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RolloutId {
    /// The version that it moves to.
    pub canary: VersionNo,
    /// The version that it moves from.
    pub base: VersionNo,
    /// When it began, Unix milliseconds.
    pub started_ms: u64,
}

impl Rollout {
    /// Number of its step, from 1; `None` before the first and once everybody is on the new version.
    pub fn step(&self) -> Option<u32> {
        match self.phase.place()? {
            Place::Step(step) => u32::try_from(step + 1).ok(),
            Place::Check | Place::Watch => None,
        }
    }

    /// Whether it stands still until a person says what becomes of it.
    fn is_held(&self) -> bool {
        matches!(self.phase, Phase::Paused { .. } | Phase::Frozen { .. })
    }

    /// Whether everybody is on the new version already.
    pub fn is_watch(&self) -> bool {
        self.phase.place() == Some(Place::Watch)
    }

    /// What the switch that began its watch keeps ready; `None` outside of a watch that runs.
    pub(crate) fn kept_since_its_switch(&self) -> Option<Keep> {
        match self.phase {
            Phase::Running { place: Place::Watch, since } => self.spec.kept(self.base, since),
            _ => None,
        }
    }

    /// What tells it from all other rollouts of its stage.
    pub fn id(&self) -> RolloutId {
        let Self { canary, base, started_ms, .. } = *self;
        RolloutId { canary, base, started_ms }
    }
}

impl SeenRollout {
    /// Checks that `rollout` is still where it was seen, as far as that matters to `command`: a person who
    /// promotes it fully, or ends it, means it wherever it is. One that is held by now is not moved unseen.
    ///
    /// # Errors
    /// What was found, and what was expected.
    pub(super) fn check(&self, rollout: &Rollout, command: Command) -> Result<(), (String, String)> {
        let Rollout { canary, started_ms, .. } = rollout;
        let stands = |step: Option<u32>, held: bool| {
            let place = step.map_or("before its first step".to_owned(), |step| format!("at step {step}"));
            format!("{place}{}", if held { ", held" } else { "" })
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

/// The end of the rollout that `before` had under way, when `after` has it no more; else what a rollback did.
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

/// What a rollback without a rollout under way did to the stage that was `before`: it is one that ends as it
/// begins.
fn moved(before: &StageState, action: &Action, meta: &Meta<'_>) -> Option<EndedRollout> {
    let Action::Rollback { version, left, .. } = action else { return None };
    let (canary, base, outcome) = match left {
        Some(left) => (*left, *version, RolloutOutcome::RolledBack),
        // To a newer version again.
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
        (Action::Deploy { version, aborted: Some(canary), .. }, ..) => Action::replaced_by(*version, *canary),
        (Action::Deploy { version, .. }, ..) => format!("followed by the deployment of {version}"),
        (Action::Traffic { .. }, ..) => "the weights were set by hand".to_owned(),
        (_, Some(said), _) => said.to_owned(),
        (_, None, Some(report)) => report.reason.clone(),
        (_, None, None) => "by command".to_owned(),
    }
}

impl Action {
    /// Whether this begins from the version that `rollout` had brought to everybody.
    fn builds_on(&self, rollout: &Rollout) -> bool {
        matches!(self, Self::Deploy { .. } | Self::Traffic { .. }) && rollout.is_watch()
    }
}

/// Names a rollout: where it is.
pub type StageKey = (FunctionName, StageName);
