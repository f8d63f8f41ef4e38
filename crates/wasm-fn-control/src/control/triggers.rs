//! Triggers: making, pausing, resuming and removing them.

use std::sync::Arc;

use tokio::sync::watch;
use wasm_fn_core::{FunctionName, StageName};
use wasm_fn_events::{PausedBy, Trigger, TriggerId, TriggerKind};
use wasm_fn_store::Store;

use super::{Control, ControlError, Note};
use crate::{
    host::Host,
    state::{Action, EventsOperation, FunctionChange, State, TriggerRelease},
};

/// What somebody did with events.
#[derive(Clone, Debug)]
pub struct OperatedEvents {
    /// The function.
    pub function: FunctionName,
    /// Its stage.
    pub stage: StageName,
    /// The trigger, or `@async` for the requests that clients sent asynchronously.
    pub trigger: String,
    /// What was done.
    pub operation: EventsOperation,
    /// With how many events.
    pub count: u64,
    /// With which, in words.
    pub which: String,
}

impl<H: Host, S: Store> Control<H, S> {
    /// The state, and every later one. Who follows may miss some, but never the last.
    pub fn follow(&self) -> watch::Receiver<Arc<State>> {
        self.followers.subscribe()
    }

    /// Makes a trigger. One that deploys has a `release`.
    ///
    /// # Errors
    /// The errors of [`State::plan_add_trigger`]; another revision than expected; a failure of the store.
    pub async fn add_trigger(
        self: &Arc<Self>,
        id: TriggerId,
        trigger: Trigger,
        release: Option<TriggerRelease>,
        note: Note,
    ) -> Result<Arc<State>, ControlError> {
        let function = id.function.clone();
        let is_webhook = matches!(trigger.kind, TriggerKind::Webhook(_));
        let hook = is_webhook.then(|| format!("{:032x}", rand::random::<u128>()));
        let release = release.map(Arc::new);
        let plan = move |state: &State| {
            let change = state.plan_add_trigger(id.clone(), trigger.clone(), hook.clone())?;
            Ok(Some(change.with_release(release.clone())))
        };
        self.mutate(function, note, plan).await
    }

    /// Pauses a trigger. Does nothing if it is paused.
    ///
    /// # Errors
    /// There is no such trigger; another revision than expected; a failure of the store.
    pub async fn pause_trigger(
        self: &Arc<Self>,
        id: TriggerId,
        by: PausedBy,
        note: Note,
    ) -> Result<Arc<State>, ControlError> {
        // The journal has the whole message.
        let (clock, text) = (self.clock, note.message.as_deref().and_then(|text| text.parse().ok()));
        self.mutate(id.function.clone(), note, move |state| {
            state.plan_pause_trigger(id.clone(), by, text.clone(), clock.now_ms())
        })
        .await
    }

    /// Lets a trigger go on. Does nothing if it is not paused.
    ///
    /// # Errors
    /// As for [`pause_trigger`](Self::pause_trigger).
    pub async fn resume_trigger(
        self: &Arc<Self>,
        id: TriggerId,
        note: Note,
    ) -> Result<Arc<State>, ControlError> {
        self.mutate(id.function.clone(), note, move |state| state.plan_resume_trigger(id.clone())).await
    }

    /// Records in the journal that somebody did something with events. Changes nothing else.
    ///
    /// # Errors
    /// A failure of the store.
    pub async fn record_events(
        self: &Arc<Self>,
        operated: OperatedEvents,
        note: Note,
    ) -> Result<Arc<State>, ControlError> {
        let OperatedEvents { function, stage, trigger, operation, count, which } = operated;
        self.mutate(function.clone(), note, move |_| {
            let (stage, trigger, which) = (stage.clone(), trigger.clone(), which.clone());
            let action = Action::OperateEvents { stage, trigger, operation, count, which };
            Ok(Some(FunctionChange { function: function.clone(), action }))
        })
        .await
    }

    /// Removes a trigger. Its events are removed after it.
    ///
    /// # Errors
    /// As for [`pause_trigger`](Self::pause_trigger).
    pub async fn remove_trigger(
        self: &Arc<Self>,
        id: TriggerId,
        note: Note,
    ) -> Result<Arc<State>, ControlError> {
        self.mutate(id.function.clone(), note, move |state| state.plan_remove_trigger(id.clone()).map(Some))
            .await
    }
}
