//! The analyses of the rollouts under way. The publisher writes the registry, everything else reads it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use wasm_fn_core::{FunctionName, StageName};

use super::Analysis;
use crate::state::{Rollout, StageKey};

/// The analyses, by the function and the stage of their rollout.
#[derive(Default)]
pub(crate) struct Analyses {
    // Invariant: each function has at least one.
    by_function: Mutex<BTreeMap<FunctionName, BTreeMap<StageName, Arc<Analysis>>>>,
}

impl Analyses {
    /// The analysis of the stage at `key`.
    pub(crate) fn get(&self, (function, stage): &StageKey) -> Option<Arc<Analysis>> {
        self.lock().get(function)?.get(stage).cloned()
    }

    /// The analysis of the stage at `key`, if it is of `rollout` in its current state.
    pub(crate) fn of(&self, key: &StageKey, rollout: &Rollout) -> Option<Arc<Analysis>> {
        self.get(key).filter(|analysis| analysis.is_of(rollout))
    }

    /// Every analysis.
    pub(crate) fn all(&self) -> Vec<(StageKey, Arc<Analysis>)> {
        let by_function = self.lock();
        let all = by_function.iter().flat_map(|(function, by_stage)| {
            by_stage.iter().map(|(stage, analysis)| ((function.clone(), stage.clone()), Arc::clone(analysis)))
        });
        all.collect()
    }

    /// Replaces the analyses of `function` by those of `now`. Returns the ones that are no longer registered.
    pub(crate) fn replace(
        &self,
        function: &FunctionName,
        now: BTreeMap<StageName, Arc<Analysis>>,
    ) -> Vec<Arc<Analysis>> {
        let mut by_function = self.lock();
        let mut over = by_function.remove(function).unwrap_or_default();
        over.retain(|stage, before| now.get(stage).is_none_or(|now| !Arc::ptr_eq(now, before)));
        if !now.is_empty() {
            by_function.insert(function.clone(), now);
        }
        over.into_values().collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<FunctionName, BTreeMap<StageName, Arc<Analysis>>>> {
        // Nothing panics while holding the lock.
        self.by_function.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
