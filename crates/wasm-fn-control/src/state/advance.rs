//! Plans what a rollout does, by itself when its gate and the time allow it, or by a person's command.

use std::time::Duration;

use wasm_fn_core::{FunctionName, StageName, TrafficSplit};
use wasm_fn_rollout::{Command, Counts, Decision, GateState, HoldCause, Phase, Time, apply, command};

use super::{Action, Advance, ChangeError, FunctionChange, Rollout, SeenRollout, StageState, State};
use crate::report::Report;

/// What is known when a decision is made, besides the state.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The time.
    pub now: Time,
    /// When this process opened the state.
    pub opened: Time,
    /// The state of the gate.
    pub gate: Option<GateState>,
    /// The past of the version that all traffic leaves, in case it does.
    pub past: Option<Counts>,
    /// The numbers, as shown to people.
    pub report: Option<Box<Report>>,
}

impl Facts {
    /// Facts that contain only the time.
    pub fn at(now: Time) -> Self {
        Self { now, opened: now, gate: None, past: None, report: None }
    }
}

impl Facts {
    fn phase(&self, rollout: &Rollout) -> Phase {
        effective(&rollout.phase, self.opened, self.now)
    }
}

/// `phase` as it counts in a process that opened the state at `opened`.
///
/// A phase has lasted at most since then, because nobody observed what happened before, and the clock of the
/// earlier process may have differed. A restart therefore repeats a step, and never shortens it.
pub fn effective(phase: &Phase, opened: Time, now: Time) -> Phase {
    let since = |since: Time| if since < opened || since > now { opened } else { since };
    match *phase {
        Phase::Running { place, since: at } => Phase::Running { place, since: since(at) },
        Phase::Awaiting { place, since: at } => Phase::Awaiting { place, since: since(at) },
        _ => phase.clone(),
    }
}

impl State {
    /// Plans a person's command to the rollout under way.
    ///
    /// # Errors
    /// An unknown function or stage, no rollout, or a rollout in a phase that the command does not fit.
    pub fn plan_command(
        &self,
        function: &FunctionName,
        stage: &StageName,
        wanted: Command,
        facts: Facts,
    ) -> Result<FunctionChange, ChangeError> {
        let current = self.stage(function, stage)?;
        let none = || ChangeError::NoRollout { function: function.clone(), stage: stage.clone() };
        let rollout = current.rollout.as_deref().ok_or_else(none)?;
        let decision = command(rollout.spec.plan(), &rollout.phase, wanted).map_err(|error| {
            ChangeError::Command { function: function.clone(), stage: stage.clone(), error }
        })?;
        self.plan_decision(function, stage, decision, facts)?.ok_or_else(none)
    }

    /// Plans a person's command to the rollout as it was `seen`, so that two people who saw the same take
    /// only one step.
    ///
    /// # Errors
    /// The rollout is no longer as seen; the errors of [`plan_command`](Self::plan_command).
    pub fn plan_command_as_seen(
        &self,
        function: &FunctionName,
        stage: &StageName,
        wanted: Command,
        seen: &SeenRollout,
        facts: Facts,
    ) -> Result<FunctionChange, ChangeError> {
        if let Some(rollout) = &self.stage(function, stage)?.rollout {
            seen.check(rollout, wanted).map_err(|(found, expected)| {
                let (function, stage) = (function.clone(), stage.clone());
                ChangeError::Moved { function, stage, found, expected }
            })?;
        }
        self.plan_command(function, stage, wanted, facts)
    }

    /// Plans to carry `decision` out; `None` if there is nothing to do.
    ///
    /// # Errors
    /// An unknown function or stage, or a route of the previous version that now belongs to another function.
    pub fn plan_decision(
        &self,
        function: &FunctionName,
        stage: &StageName,
        decision: Decision,
        facts: Facts,
    ) -> Result<Option<FunctionChange>, ChangeError> {
        let current = self.stage(function, stage)?;
        let Some(rollout) = &current.rollout else { return Ok(None) };
        let (version, stage) = (rollout.canary, stage.clone());
        let action = match decision {
            Decision::Hold => return Ok(None),
            Decision::Promote => {
                let (after, report) = (promoted(current, rollout, &facts), facts.report);
                Action::Promote { stage, version, after, report }
            }
            Decision::Abort(_) => {
                let after = current.without_rollout(&self.function(function)?.versions);
                Action::Abort { stage, version, after, report: facts.report }
            }
            Decision::Rollback(_) => {
                let (base, after) = (rollout.base, current.back_at(rollout.base));
                let left = Some(version);
                let action = Action::Rollback {
                    stage,
                    version: base,
                    left,
                    aborted: None,
                    after,
                    report: facts.report,
                };
                return self.fit_rollback(function, action);
            }
            moved => {
                let (advance, after) = moved_on(current, rollout, moved, &facts);
                Action::Advance { stage, version, advance, after, report: facts.report }
            }
        };
        Ok(Some(FunctionChange { function: function.clone(), action }))
    }
}

/// The stage with everybody on the canary, which is now stable and is watched if the plan says so.
fn promoted(current: &StageState, rollout: &Rollout, facts: &Facts) -> StageState {
    let watched = rollout.spec.plan().watch() > Duration::ZERO;
    let watching = Rollout {
        phase: apply(&facts.phase(rollout), Decision::Promote, facts.now),
        gate_no: rollout.gate_no.saturating_add(1),
        gate: None,
        past: facts.past,
        ..rollout.clone()
    };
    let moved = current.moved_to(rollout.canary);
    let keep = rollout.spec.kept(rollout.base, facts.now).or(moved.keep);
    StageState { rollout: watched.then(|| Box::new(watching)), keep, ..moved }
}

/// A decision that neither ends the rollout elsewhere nor makes its canary stable, and the stage after it.
fn moved_on(
    current: &StageState,
    rollout: &Rollout,
    decision: Decision,
    facts: &Facts,
) -> (Advance, StageState) {
    let mut after = current.clone();
    let advance = match &decision {
        Decision::Settle => {
            after.rollout = None;
            return (Advance::Settle, after);
        }
        Decision::Step(_, share) => {
            after.split = TrafficSplit::between(rollout.base, rollout.canary, *share);
            Advance::Step
        }
        Decision::Await => Advance::Await,
        Decision::Pause(_) => Advance::Pause,
        Decision::Freeze(_) => Advance::Freeze,
        Decision::Resume
        | Decision::Hold
        | Decision::Promote
        | Decision::Abort(_)
        | Decision::Rollback(_) => Advance::Resume,
    };
    // A failure is final for its gate, so whoever continues after one begins with a new gate.
    let failed = matches!(
        &rollout.phase,
        Phase::Paused { cause: HoldCause::Gate(_) | HoldCause::Check(_), .. } | Phase::Frozen { .. }
    );
    let fresh = decision == Decision::Resume || (failed && advance == Advance::Step);
    after.rollout = Some(Box::new(Rollout {
        phase: apply(&facts.phase(rollout), decision, facts.now),
        gate_no: if fresh { rollout.gate_no.saturating_add(1) } else { rollout.gate_no },
        gate: facts.gate.clone().filter(|_| !fresh),
        ..rollout.clone()
    }));
    (advance, after)
}
