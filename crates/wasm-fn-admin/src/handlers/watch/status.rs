//! The stream of one function's status.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::{sync::watch, time::Instant};
use wasm_fn_api as api;
use wasm_fn_control::{Control, host::Host, state::State};
use wasm_fn_core::FunctionName;
use wasm_fn_store::Store;

use super::{Watcher, seen};
use crate::{admin::Admin, elsewhere::Elsewhere, merge, nodes::Told, view};

/// How long to wait after an event, at least.
const PAUSE: Duration = Duration::from_millis(250);

/// How often to look at the numbers, which change without a change of the state.
const EVERY: Duration = Duration::from_millis(500);

/// Reads the status of a function again and again.
pub(super) struct StatusReader<H: Host, S> {
    control: Arc<Control<H, S>>,
    watcher: Watcher,
    function: FunctionName,
    states: watch::Receiver<Arc<State>>,
    /// What the other nodes say, in a cluster.
    elsewhere: Option<Elsewhere<Told<api::FunctionStatus>>>,
    /// The status as it was told, but for the time that passed.
    told: Option<api::FunctionStatus>,
    looked: Instant,
    over: bool,
}

impl<H: Host, S: Store> StatusReader<H, S> {
    pub(super) fn new(
        admin: &Admin<H, S>,
        watcher: Watcher,
        function: FunctionName,
        elsewhere: Option<Elsewhere<Told<api::FunctionStatus>>>,
    ) -> Self {
        let control = Arc::clone(&admin.control);
        let states = control.follow();
        let (told, looked) = (None, Instant::now());
        Self { control, watcher, function, states, elsewhere, told, looked, over: false }
    }

    pub(super) async fn next(mut self) -> Option<(Bytes, Self)> {
        if let Some(elsewhere) = self.elsewhere.as_ref().filter(|_| self.told.is_none()) {
            elsewhere.first().await;
        }
        loop {
            if self.over {
                return None;
            }
            // Mark the state as seen before reading, so that a change meanwhile ends the wait below.
            self.states.mark_unchanged();
            self.looked = Instant::now();
            if let Some(event) = self.look() {
                let bytes = self.watcher.send(event);
                return Some((bytes, self));
            }
            if self.watcher.once {
                return None;
            }
            let (looked, states) = (self.looked, &mut self.states);
            let news = async move {
                tokio::time::sleep_until(looked + PAUSE).await;
                tokio::select! {
                    _ = states.changed() => {}
                    () = tokio::time::sleep_until(looked + EVERY) => {}
                }
            };
            if !self.watcher.wait(&self.control, news).await? {
                let bytes = self.watcher.beat();
                return Some((bytes, self));
            }
        }
    }

    /// What is new, if something is.
    fn look(&mut self) -> Option<api::FunctionEvent> {
        let (state, table) = (self.control.state(), self.control.tables().load_full());
        let Ok(function) = state.function(&self.function) else {
            self.over = true;
            return Some(api::FunctionEvent::Deleted { function: self.function.to_string() });
        };
        let function = seen(function, &self.watcher.caller);
        let mut status = view::status(&*self.control, &self.function, &function, &table);
        if let Some(elsewhere) = &self.elsewhere
            && let Some(told) = elsewhere.last()
        {
            status = merge::all(status, elsewhere.node(), Told::clone(&told));
        }
        let mut timeless = status.clone();
        timeless.stages.iter_mut().filter_map(|stage| stage.rollout.as_mut()).for_each(|rollout| {
            rollout.lasted_ms = 0;
        });
        if self.told.as_ref() == Some(&timeless) {
            return None;
        }
        self.told = Some(timeless);
        Some(api::FunctionEvent::Status { status: Box::new(status) })
    }
}
