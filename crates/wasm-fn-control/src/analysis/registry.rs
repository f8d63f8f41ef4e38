//! The analyses of the rollouts under way. The publisher writes the registry, everything else reads it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use wasm_fn_core::{FunctionName, StageName};

use super::Analysis;
use crate::state::{Rollout, StageKey};

/// The analyses, by the stage of their rollout.
#[derive(Default)]
pub(crate) struct Analyses {
    by_stage: Mutex<BTreeMap<StageKey, Arc<Analysis>>>,
}

impl Analyses {
    /// The analysis of the stage at `key`.
    pub(crate) fn get(&self, key: &StageKey) -> Option<Arc<Analysis>> {
        self.lock().get(key).cloned()
    }

    /// The analysis of the stage at `key`, if it is of `rollout` in its current state.
    pub(crate) fn of(&self, key: &StageKey, rollout: &Rollout) -> Option<Arc<Analysis>> {
        self.get(key).filter(|analysis| analysis.is_of(rollout))
    }

    /// Every analysis.
    pub(crate) fn all(&self) -> Vec<(StageKey, Arc<Analysis>)> {
        self.lock().iter().map(|(key, analysis)| (key.clone(), Arc::clone(analysis))).collect()
    }

    /// Replaces the analyses of `function` by those of `now`. Returns the ones that are no longer registered.
    pub(crate) fn replace(
        &self,
        function: &FunctionName,
        now: BTreeMap<StageName, Arc<Analysis>>,
    ) -> Vec<Arc<Analysis>> {
        let mut by_stage = self.lock();
        let before: Vec<_> = by_stage.extract_if(.., |(name, _), _| name == function).collect();
        by_stage.extend(now.into_iter().map(|(stage, analysis)| ((function.clone(), stage), analysis)));
        let is_kept = |key: &StageKey, before: &Arc<Analysis>| {
            by_stage.get(key).is_some_and(|now| Arc::ptr_eq(now, before))
        };
        before
            .into_iter()
            .filter(|(key, analysis)| !is_kept(key, analysis))
            .map(|(_, analysis)| analysis)
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<StageKey, Arc<Analysis>>> {
        // Nothing panics while holding the lock.
        self.by_stage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
