//! What a watcher knows about one stage, and what changes with each poll.

use wasm_fn_api::{EndedRolloutView, RolloutChange, RolloutView};

use crate::output::rollout::{self, Actual};

/// A stage's rollouts as of the last poll.
#[derive(Debug, Default)]
pub(super) struct Seen {
    rollout: Option<RolloutView>,
    /// The last rollout that ended.
    ended: Option<Id>,
    /// Requests of canary and stable when the current step was first seen.
    before: (u64, u64),
}

/// Identifies a rollout. The version is not enough: it may be released again after an abort.
type Id = (String, u64);

fn id(rollout: &RolloutView) -> Id {
    (rollout.canary.clone(), rollout.started_ms)
}

fn id_of_ended(ended: &EndedRolloutView) -> Id {
    (ended.canary.clone(), ended.started_ms)
}

impl Seen {
    /// The state after a stage's first poll.
    pub(super) fn first(rollout: Option<&RolloutView>, last: Option<&EndedRolloutView>) -> Self {
        let before = rollout.and_then(rollout::requests).unwrap_or_default();
        Self { rollout: rollout.cloned(), ended: last.map(id_of_ended), before }
    }

    /// The rollout of the last poll.
    pub(super) fn rollout(&self) -> Option<&RolloutView> {
        self.rollout.as_ref()
    }

    /// Returns what has changed, now that the stage has this `rollout` and `last` is the last one that ended.
    pub(super) fn look(
        &mut self,
        rollout: Option<&RolloutView>,
        last: Option<&EndedRolloutView>,
    ) -> Vec<RolloutChange> {
        let mut changes = Vec::new();
        match (&self.rollout, rollout) {
            (Some(before), Some(after)) if id(before) == id(after) => moved(before, after, &mut changes),
            (before, after) => {
                changes.extend(ended(before.as_ref(), self.ended.as_ref(), last));
                changes.extend(after.cloned().map(|rollout| RolloutChange::Begun { rollout }));
            }
        }
        let same =
            |before: &RolloutView, after: &RolloutView| id(before) == id(after) && before.step == after.step;
        let same = matches!((&self.rollout, rollout), (Some(before), Some(after)) if same(before, after));
        let requests = rollout.and_then(rollout::requests).unwrap_or_default();
        // A new gate counts from zero.
        if !same || requests.0 < self.before.0 || requests.1 < self.before.1 {
            self.before = requests;
        }
        self.rollout = rollout.cloned();
        self.ended = last.map(id_of_ended);
        changes
    }

    /// The canary's share of the requests since its step was first seen.
    pub(super) fn actual(&self) -> Actual {
        let requests = self.rollout.as_ref().and_then(rollout::requests);
        Actual::Step(requests.and_then(|(canary, stable)| {
            rollout::share(canary.saturating_sub(self.before.0), stable.saturating_sub(self.before.1))
        }))
    }
}

/// The rollout that ended between two polls: the one from `before`, or one that was never seen.
fn ended(
    before: Option<&RolloutView>,
    known: Option<&Id>,
    last: Option<&EndedRolloutView>,
) -> Option<RolloutChange> {
    let last = last.filter(|last| match before {
        Some(before) => id(before) == id_of_ended(last),
        None => known != Some(&id_of_ended(last)),
    });
    match (before, last) {
        (_, Some(last)) => Some(RolloutChange::Ended {
            canary: last.canary.clone(),
            outcome: last.outcome,
            reason: last.reason.clone(),
            evidence: last.evidence.clone(),
        }),
        (Some(before), None) => Some(RolloutChange::Gone { canary: before.canary.clone() }),
        (None, None) => None,
    }
}

/// Adds what changed within one rollout.
fn moved(before: &RolloutView, after: &RolloutView, changes: &mut Vec<RolloutChange>) {
    let canary = || after.canary.clone();
    if (before.step, &before.weight) != (after.step, &after.weight) {
        changes.push(RolloutChange::Step {
            canary: canary(),
            step: after.step,
            steps: u64::try_from(after.steps.len()).unwrap_or(u64::MAX),
            weight: after.weight.clone(),
            cohort: rollout::cohort_step(after).map(|step| step.to_string()),
        });
    }
    if before.phase != after.phase {
        let (phase, reason) = (after.phase.clone(), after.reason.clone());
        changes.push(RolloutChange::Phase { canary: canary(), phase, reason });
    }
    if let Some(gate) = &after.gate
        && before.gate.as_ref().is_none_or(|before| before.verdict != gate.verdict)
    {
        changes.push(RolloutChange::Verdict { canary: canary(), gate: gate.clone() });
    }
}

#[cfg(test)]
pub(super) mod tests;
