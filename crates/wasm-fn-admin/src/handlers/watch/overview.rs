//! The stream of all functions.
//!
//! Whatever the number of streams, the tallies are read at most once a second. A stream keeps 32 bytes for
//! each stage.

use std::{cmp::Ordering, collections::BTreeSet, sync::Arc};

use bytes::Bytes;
use tokio::time::Instant;
use wasm_fn_api as api;
use wasm_fn_control::host::Host;
use wasm_fn_core::FunctionName;
use wasm_fn_router::{RouteTable, Stage};
use wasm_fn_store::Store;

use super::{Watcher, seen};
use crate::{
    admin::Admin,
    authorize::Caller,
    overview::{EVERY, Reading},
    view,
};

/// Most functions in one event.
const FUNCTIONS_MAX: usize = 500;

/// Most stages in one event whose numbers have changed.
const STAGES_MAX: usize = 2000;

/// Reads the functions again and again.
pub(super) struct FunctionsReader<H: Host, S> {
    admin: Arc<Admin<H, S>>,
    watcher: Watcher,
    /// What was compared last.
    read: Option<Arc<Reading<H::Version>>>,
    /// Functions of which the client has to be told.
    untold: BTreeSet<FunctionName>,
    /// What the client was told of each stage in the table that was read last.
    told: Vec<(u64, u64)>,
    /// The stage to begin with, so that each comes up in turn.
    begin: usize,
}

impl<H: Host, S> Drop for FunctionsReader<H, S> {
    fn drop(&mut self) {
        self.read = None;
        self.admin.overview.drop_unused();
    }
}

impl<H: Host, S: Store> FunctionsReader<H, S> {
    pub(super) fn new(admin: Arc<Admin<H, S>>, watcher: Watcher) -> Self {
        Self { admin, watcher, read: None, untold: BTreeSet::new(), told: Vec::new(), begin: 0 }
    }

    pub(super) async fn next(mut self) -> Option<(Bytes, Self)> {
        loop {
            if let Some(changes) = self.look() {
                // Whoever takes event after event does not wait below.
                if *self.watcher.stopping.borrow()
                    || !self.admin.control.still_knows(self.watcher.caller.actor())
                {
                    return None;
                }
                let bytes = self.watcher.send(changes);
                return Some((bytes, self));
            }
            if self.watcher.once {
                return None;
            }
            let control = Arc::clone(&self.admin.control);
            let last = self.read.as_ref().map_or_else(Instant::now, |read| read.at);
            let news = tokio::time::sleep_until(last + EVERY);
            if !self.watcher.wait(&control, news).await? {
                let bytes = self.watcher.beat();
                return Some((bytes, self));
            }
        }
    }

    /// What is new, if something is.
    fn look(&mut self) -> Option<api::FunctionChanges> {
        let first = self.read.is_none();
        // Until everything was told, it is told as of one moment.
        let reading = match &self.read {
            Some(read) if !self.untold.is_empty() => Arc::clone(read),
            _ => self.admin.overview.read(&self.admin.control),
        };
        self.compare(&reading);
        let caller = &self.watcher.caller;
        let mut changes = api::FunctionChanges { revision: reading.state.revision().0, ..Default::default() };
        while changes.functions.len() + changes.removed.len() < FUNCTIONS_MAX {
            let Some(name) = self.untold.pop_first() else { break };
            match reading.state.function(&name) {
                Ok(function) => changes.functions.push(summary(&name, function, &reading.table, caller)),
                Err(_) => changes.removed.push(name.to_string()),
            }
        }
        changes.more = !self.untold.is_empty();
        if !changes.more {
            self.traffic(&reading, &mut changes);
        }
        self.read = Some(reading);
        let is_new = first
            || !(changes.functions.is_empty() && changes.removed.is_empty() && changes.traffic.is_empty());
        is_new.then_some(changes)
    }

    /// Notes what `reading` has that the last one had not.
    fn compare(&mut self, reading: &Arc<Reading<H::Version>>) {
        let before = match &self.read {
            Some(before) if Arc::ptr_eq(before, reading) => return,
            before => before.clone(),
        };
        let caller = &self.watcher.caller;
        match &before {
            // What another process has given back may be older than what was there.
            Some(before) if before.state.revision() <= reading.state.revision() => {
                let changed = reading.state.changed_after(before.state.revision());
                let is_either = |name: &&FunctionName| {
                    [&before.state, &reading.state].iter().any(|state| state.function(name).is_ok())
                };
                self.untold.extend(changed.filter(|name| caller.sees(name)).filter(is_either).cloned());
            }
            before => {
                let gone = before.iter().flat_map(|before| before.state.functions());
                let names = gone.chain(reading.state.functions()).map(|(name, _)| name);
                self.untold.extend(names.filter(|name| caller.sees(name)).cloned());
            }
        }
        let same = before.as_ref().is_some_and(|before| Arc::ptr_eq(&before.table, &reading.table));
        if !same {
            let old = before.as_ref().map_or(&[][..], |before| &before.stages);
            self.told = carry(old, &self.told, reading);
        }
    }

    /// Adds the stages whose numbers differ from what was told.
    fn traffic(&mut self, reading: &Reading<H::Version>, changes: &mut api::FunctionChanges) {
        let (stages, caller) = (&reading.stages, &self.watcher.caller);
        let series = self.admin.series.traffic();
        let all = self.begin.min(stages.len())..stages.len();
        for at in all.chain(0..self.begin.min(stages.len())) {
            let (stage, totals) = (&stages[at], reading.totals[at]);
            if self.told[at] == totals || !caller.sees(stage.function()) || !caller.sees_stage(stage.name()) {
                continue;
            }
            if changes.traffic.len() == STAGES_MAX {
                self.begin = at;
                return;
            }
            self.told[at] = totals;
            changes.traffic.push(api::StageTraffic {
                function: stage.function().to_string(),
                stage: stage.name().to_string(),
                requests: totals.0,
                failures: totals.1,
                latency_p50_ms: series.latency_p50_ms(stage.function(), stage.name()),
                latency_p99_ms: series.latency_p99_ms(stage.function(), stage.name()),
            });
        }
        self.begin = 0;
    }
}

/// What was told of each stage of the table of `reading`, if `told` was told of `old`.
fn carry<V>(old: &[Arc<Stage<V>>], told: &[(u64, u64)], reading: &Reading<V>) -> Vec<(u64, u64)> {
    let mut old = old.iter().zip(told).peekable();
    let carried = reading.stages.iter().map(|stage| {
        let order = |old: &Stage<V>| (old.function(), old.name()).cmp(&(stage.function(), stage.name()));
        while old.next_if(|(old, _)| order(old) == Ordering::Less).is_some() {}
        old.next_if(|(old, _)| order(old) == Ordering::Equal).map_or((0, 0), |(_, told)| *told)
    });
    carried.collect()
}

fn summary<V>(
    name: &FunctionName,
    function: &Arc<wasm_fn_control::state::Function>,
    table: &RouteTable<V>,
    caller: &Caller,
) -> api::FunctionSummary {
    let function = seen(function, caller);
    let stages: Vec<_> = function.stages.keys().filter_map(|stage| table.stage(name, stage)).collect();
    let stages: Vec<&Stage<V>> = stages.into_iter().map(|stage| &**stage).collect();
    view::summary(name, &function, &stages)
}
