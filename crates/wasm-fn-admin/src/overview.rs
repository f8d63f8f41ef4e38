//! All functions and their numbers, read once for all streams that tell of them.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;
use wasm_fn_control::{Control, host::Host, state::State};
use wasm_fn_router::{RouteTable, Stage};
use wasm_fn_store::Store;

/// How often the functions are read, at most.
pub(crate) const EVERY: Duration = Duration::from_secs(1);

/// The functions and their numbers as last read.
pub(crate) struct Overview<H: Host>(Mutex<Option<Arc<Reading<H::Version>>>>);

impl<H: Host> Default for Overview<H> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

/// The functions and their numbers at one moment.
pub(crate) struct Reading<V> {
    pub(crate) at: Instant,
    pub(crate) state: Arc<State>,
    pub(crate) table: Arc<RouteTable<V>>,
    /// Every stage of the table, in its order.
    pub(crate) stages: Box<[Arc<Stage<V>>]>,
    /// Requests and failures of each of them.
    pub(crate) totals: Box<[(u64, u64)]>,
}

impl<H: Host> Overview<H> {
    /// The functions as they were less than a second ago. A change of the state shows at once.
    pub(crate) fn read<S: Store>(&self, control: &Control<H, S>) -> Arc<Reading<H::Version>> {
        // Nothing panics while holding the lock.
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (state, now) = (control.state(), Instant::now());
        let fresh = last.as_ref().filter(|last| now < last.at + EVERY && Arc::ptr_eq(&last.state, &state));
        if let Some(fresh) = fresh {
            return Arc::clone(fresh);
        }
        let table = control.tables().load_full();
        let total = |stage: &Arc<Stage<H::Version>>| {
            let totals = stage.versions().iter().map(|version| version.tally.totals());
            totals.fold((0, 0), |(requests, failures), (more, failed)| (requests + more, failures + failed))
        };
        let stages: Box<[_]> = table.stages().cloned().collect();
        let totals = stages.iter().map(total).collect();
        let reading = Arc::new(Reading { at: now, state, table, stages, totals });
        *last = Some(Arc::clone(&reading));
        reading
    }

    /// Drops what was read if no stream needs it: it holds on to a table.
    pub(crate) fn drop_unused(&self) {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if last.as_ref().is_some_and(|last| Arc::strong_count(last) == 1) {
            *last = None;
        }
    }
}
