//! The triggers of functions: what starts their invocations besides requests.

use std::{collections::BTreeMap, sync::Arc};

use wasm_fn_core::{StageName, TriggerName};
use wasm_fn_events::{Pause, PauseNote, PausedBy, Timestamp, Trigger, TriggerId};

use super::{Action, ChangeError, Function, FunctionChange, Meta, ReleaseStrategy, State, TriggerChange};

/// Most triggers of a function.
const OF_FUNCTION_MAX: usize = 100;

/// Most triggers of a node.
const OF_NODE_MAX: usize = 20_000;

/// The triggers of a function, by stage and name.
pub type FunctionTriggers = BTreeMap<(StageName, TriggerName), TriggerState>;

/// A trigger of a function.
#[derive(Clone, Debug, PartialEq)]
pub struct TriggerState {
    /// The trigger.
    pub trigger: Arc<Trigger>,
    /// When it was made, Unix milliseconds.
    pub created_ms: u64,
    /// The name of the token that made it.
    pub created_by: String,
    /// Since when it is active, Unix milliseconds: since it was made, or resumed.
    pub active_ms: u64,
    /// What the path of its webhook ends with, if it has one: 32 hexadecimal digits that nobody can guess.
    pub hook: Option<String>,
    /// How what it deploys is released, if it deploys.
    pub release: Option<Arc<TriggerRelease>>,
}

/// How what a trigger deploys is released to its stage, as whoever made the trigger said and was allowed to.
#[derive(Clone, Debug, PartialEq)]
pub struct TriggerRelease {
    /// How a version gets its traffic.
    pub strategy: ReleaseStrategy,
    /// Whether a rollout that is under way is aborted for it.
    pub replace: bool,
    /// Whether a version may do more than the one that is stable.
    pub allow_new: bool,
    /// Whether whoever made the trigger may also move traffic in the stage.
    pub may_move_traffic: bool,
}

impl FunctionChange {
    /// The change, where the trigger that it makes releases what it deploys like this.
    #[must_use]
    pub fn with_release(mut self, of: Option<Arc<TriggerRelease>>) -> Self {
        if let Action::SetTrigger { release, .. } = &mut self.action {
            *release = of;
        }
        self
    }
}

impl State {
    /// Every trigger, by function, stage and name.
    pub fn triggers(&self) -> impl Iterator<Item = (TriggerId, &TriggerState)> {
        self.functions.with_triggers().flat_map(|(function, state)| {
            state.triggers.iter().map(|((stage, name), trigger)| {
                let (function, stage, name) = (function.clone(), stage.clone(), name.clone());
                (TriggerId { function, stage, name }, trigger)
            })
        })
    }

    /// The trigger called `id`.
    ///
    /// # Errors
    /// There is no such function or trigger.
    pub fn trigger(&self, id: &TriggerId) -> Result<&TriggerState, ChangeError> {
        let function = self.function(&id.function)?;
        let found = function.triggers.get(&(id.stage.clone(), id.name.clone()));
        found.ok_or_else(|| ChangeError::NoSuchTrigger(id.clone()))
    }

    /// Plans a new trigger, with its webhook at `hook` if it has one.
    ///
    /// # Errors
    /// The stage does not exist, its name is taken, or there are too many.
    pub fn plan_add_trigger(
        &self,
        id: TriggerId,
        trigger: Trigger,
        hook: Option<String>,
    ) -> Result<FunctionChange, ChangeError> {
        self.stage(&id.function, &id.stage)?;
        let function = self.function(&id.function)?;
        if function.triggers.contains_key(&(id.stage.clone(), id.name.clone())) {
            return Err(ChangeError::TriggerExists(id));
        }
        let found = function.triggers.len();
        if found >= OF_FUNCTION_MAX {
            return Err(ChangeError::TooManyTriggers { of: "function", found, max: OF_FUNCTION_MAX });
        }
        let found = self.functions.triggers();
        if found >= OF_NODE_MAX {
            return Err(ChangeError::TooManyTriggers { of: "node", found, max: OF_NODE_MAX });
        }
        Ok(set(id, trigger, hook, TriggerChange::Add))
    }

    /// Plans the pause of a trigger at `now`; `None` if it is paused.
    ///
    /// # Errors
    /// There is no such trigger.
    pub fn plan_pause_trigger(
        &self,
        id: TriggerId,
        by: PausedBy,
        note: Option<PauseNote>,
        now_ms: u64,
    ) -> Result<Option<FunctionChange>, ChangeError> {
        let trigger = &*self.trigger(&id)?.trigger;
        if trigger.paused.is_some() {
            return Ok(None);
        }
        let paused = Some(Pause { since: Timestamp::from_unix_ms(now_ms), by, note });
        Ok(Some(set(id, Trigger { paused, ..trigger.clone() }, None, TriggerChange::Pause)))
    }

    /// Plans that a trigger goes on; `None` if it is not paused.
    ///
    /// # Errors
    /// There is no such trigger.
    pub fn plan_resume_trigger(&self, id: TriggerId) -> Result<Option<FunctionChange>, ChangeError> {
        let trigger = &*self.trigger(&id)?.trigger;
        if trigger.paused.is_none() {
            return Ok(None);
        }
        Ok(Some(set(id, Trigger { paused: None, ..trigger.clone() }, None, TriggerChange::Resume)))
    }

    /// Plans the removal of a trigger.
    ///
    /// # Errors
    /// There is no such trigger.
    pub fn plan_remove_trigger(&self, id: TriggerId) -> Result<FunctionChange, ChangeError> {
        self.trigger(&id)?;
        let TriggerId { function, stage, name } = id;
        Ok(FunctionChange { function, action: Action::RemoveTrigger { stage, name } })
    }
}

fn set(id: TriggerId, trigger: Trigger, hook: Option<String>, change: TriggerChange) -> FunctionChange {
    let TriggerId { function, stage, name } = id;
    let action = Action::SetTrigger { stage, name, trigger: Arc::new(trigger), hook, release: None, change };
    FunctionChange { function, action }
}

impl Function {
    pub(super) fn set_trigger(
        &mut self,
        key: (StageName, TriggerName),
        (trigger, hook, release): (&Arc<Trigger>, &Option<String>, &Option<Arc<TriggerRelease>>),
        change: TriggerChange,
        meta: &Meta<'_>,
    ) {
        let trigger = Arc::clone(trigger);
        match (self.triggers.get_mut(&key), change) {
            (Some(state), TriggerChange::Pause) => state.trigger = trigger,
            (Some(state), TriggerChange::Resume) => {
                (state.trigger, state.active_ms) = (trigger, meta.at_ms);
            }
            (_, TriggerChange::Add) | (None, _) => {
                let (created_ms, created_by) = (meta.at_ms, meta.actor.to_owned());
                let (active_ms, hook, release) = (meta.at_ms, hook.clone(), release.clone());
                let state = TriggerState { trigger, created_ms, created_by, active_ms, hook, release };
                self.triggers.insert(key, state);
            }
        }
    }

    pub(super) fn remove_triggers(&mut self, of: &StageName) {
        self.triggers.retain(|(stage, _), _| stage != of);
    }
}

#[cfg(test)]
mod tests;
