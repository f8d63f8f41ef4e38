//! The triggers and stages of the control plane's state, as they follow its changes. Only functions that have
//! changed are looked at.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use wasm_fn_control::state::State;
use wasm_fn_core::{FunctionName, OrderedBy, StageName};
use wasm_fn_delivery::{ActiveTrigger, Triggers};
use wasm_fn_events::{Timestamp, TriggerId};

/// What one function has of all triggers and stages.
#[derive(Default)]
struct OfFunction {
    triggers: BTreeMap<TriggerId, ActiveTrigger>,
    stages: BTreeSet<(FunctionName, StageName)>,
    asynchronous: BTreeMap<(FunctionName, StageName), Option<OrderedBy>>,
}

/// The triggers and stages of `state`.
pub(super) fn triggers(state: &State) -> Triggers {
    let mut triggers = Triggers::default();
    state.functions().for_each(|(name, _)| OfFunction::of(state, name).add_to(&mut triggers));
    triggers
}

/// Takes what `triggers` has of the state `before` on to the state `after`. Returns whether anybody has to
/// hear of it: to a stage that is merely new, nothing was sent yet.
pub(super) fn follow(triggers: &mut Arc<Triggers>, before: &State, after: &State) -> bool {
    if after.revision() < before.revision() {
        // Another process had the state, and an older one came back.
        *triggers = Arc::new(self::triggers(after));
        return true;
    }
    let mut is_news = false;
    for name in after.changed_after(before.revision()) {
        let (had, has) = (OfFunction::of(before, name), OfFunction::of(after, name));
        if had.is_same(&has) {
            continue;
        }
        let triggers = Arc::make_mut(triggers);
        had.remove_from(triggers);
        is_news |= has.is_news_after(&had);
        has.add_to(triggers);
    }
    is_news
}

impl OfFunction {
    /// What the function `name` has in `state`.
    fn of(state: &State, name: &FunctionName) -> Self {
        let mut of = Self::default();
        let Ok(function) = state.function(name) else { return of };
        for ((stage, trigger), found) in &function.triggers {
            let id = TriggerId { function: name.clone(), stage: stage.clone(), name: trigger.clone() };
            let (trigger, since) = (Arc::clone(&found.trigger), Timestamp::from_unix_ms(found.active_ms));
            of.triggers.insert(id, ActiveTrigger { trigger, since, hook: found.hook.clone() });
        }
        for (stage, stands) in &function.stages {
            let key = (name.clone(), stage.clone());
            let config = function.versions.get(&stands.stable).map(|version| &version.build.config);
            if let Some(config) = config.filter(|config| config.asynchronous) {
                of.asynchronous.insert(key.clone(), config.async_ordered_by.clone());
            }
            of.stages.insert(key);
        }
        of
    }

    fn is_same(&self, other: &Self) -> bool {
        self.stages == other.stages && !self.is_news_after(other)
    }

    /// Whether anybody has to hear that this is there in place of `before`.
    fn is_news_after(&self, before: &Self) -> bool {
        let same = |(id, active): (&TriggerId, &ActiveTrigger)| {
            before.triggers.get(id).is_some_and(|before| {
                active.since == before.since && Arc::ptr_eq(&active.trigger, &before.trigger)
            })
        };
        self.asynchronous != before.asynchronous
            || !self.stages.is_superset(&before.stages)
            || self.triggers.len() != before.triggers.len()
            || !self.triggers.iter().all(same)
    }

    fn add_to(self, triggers: &mut Triggers) {
        self.triggers.into_iter().for_each(|(id, active)| triggers.triggers.insert_mut(id, active));
        self.stages.into_iter().for_each(|stage| triggers.stages.insert_mut(stage));
        self.asynchronous.into_iter().for_each(|(stage, by)| triggers.asynchronous.insert_mut(stage, by));
    }

    fn remove_from(&self, triggers: &mut Triggers) {
        for id in self.triggers.keys() {
            triggers.triggers.remove_mut(id);
        }
        for stage in &self.stages {
            triggers.stages.remove_mut(stage);
        }
        for stage in self.asynchronous.keys() {
            triggers.asynchronous.remove_mut(stage);
        }
    }
}

#[cfg(test)]
mod tests;
