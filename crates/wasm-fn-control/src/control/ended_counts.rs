//! Counts how rollouts ended since this process opened the state.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::Control;

use crate::{
    host::Host,
    state::{Action, EndedRollout, FunctionChange, RolloutOutcome, StageKey, State},
};

/// How often rollouts of each stage ended in each way. Functions and stages that are deleted are left out.
#[derive(Debug, Default)]
pub(super) struct EndedCounts(Mutex<BTreeMap<StageKey, [u64; RolloutOutcome::ALL.len()]>>);

impl EndedCounts {
    /// Counts the rollout that `change` ended, which led from the state `before` to the state `after`.
    pub(super) fn count(&self, change: &FunctionChange, before: &State, after: &State) {
        let function = &change.function;
        let Some(stage) = change.action.stage() else {
            if matches!(change.action, Action::Delete) {
                self.counts().retain(|(name, _), _| name != function);
            }
            return;
        };
        let key = (function.clone(), stage.clone());
        if matches!(change.action, Action::DeleteStage { .. }) {
            self.counts().remove(&key);
            return;
        }
        let after = ended(after, &key);
        if after != ended(before, &key)
            && let Some(ended) = after
        {
            self.counts().entry(key).or_default()[ended.outcome as usize] += 1;
        }
    }

    fn counts(&self) -> MutexGuard<'_, BTreeMap<StageKey, [u64; RolloutOutcome::ALL.len()]>> {
        // Nothing panics while holding the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The last rollout of the stage at `key` that ended.
fn ended<'a>(state: &'a State, (function, stage): &StageKey) -> Option<&'a EndedRollout> {
    state.stored_function(function)?.ended.get(stage)
}

impl<H: Host, S> Control<H, S> {
    /// How many rollouts of each stage ended in each way since this process opened the state. A later
    /// rollback counts too.
    pub fn ended_rollouts(&self) -> Vec<(StageKey, RolloutOutcome, u64)> {
        let counts = self.ended.counts();
        let rows = counts.iter().flat_map(|(key, counts)| {
            RolloutOutcome::ALL.map(|outcome| (key.clone(), outcome, counts[outcome as usize]))
        });
        rows.collect()
    }
}
