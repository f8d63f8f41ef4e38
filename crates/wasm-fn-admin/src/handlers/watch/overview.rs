//! The stream of all functions.
//!
//! Whatever the number of streams, the tallies are read at most once a second. A stream keeps 32 bytes for
//! each stage.

use std::{cmp::Ordering, collections::BTreeSet, sync::Arc};

use bytes::Bytes;
use tokio::time::Instant;
use wasm_fn_api as api;
use wasm_fn_control::host::Host;
use wasm_fn_core::{FunctionName, StageName};
use wasm_fn_router::{RouteTable, Stage};
use wasm_fn_store::Store;

use super::{Watcher, seen};
use crate::{
    admin::Admin,
    authorize::Caller,
    elsewhere::Elsewhere,
    merge::largest,
    overview::{EVERY, OnOthers, Reading, StageNumbers},
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
    /// What the other nodes say, in a cluster.
    elsewhere: Option<Arc<Elsewhere<OnOthers>>>,
    /// What was said of them last, and to the client.
    others: Option<Arc<OnOthers>>,
    nodes: Vec<api::AskedNode>,
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
    pub(super) fn new(
        admin: Arc<Admin<H, S>>,
        watcher: Watcher,
        elsewhere: Option<Arc<Elsewhere<OnOthers>>>,
    ) -> Self {
        let (untold, told, nodes) = (BTreeSet::new(), Vec::new(), Vec::new());
        Self { admin, watcher, elsewhere, others: None, nodes, read: None, untold, told, begin: 0 }
    }

    pub(super) async fn next(mut self) -> Option<(Bytes, Self)> {
        if let Some(elsewhere) = self.elsewhere.as_ref().filter(|_| self.read.is_none()) {
            elsewhere.first().await;
        }
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
            _ => {
                self.others = self.elsewhere.as_ref().and_then(|elsewhere| elsewhere.last());
                self.admin.overview.read(&self.admin.control)
            }
        };
        self.compare(&reading);
        let caller = &self.watcher.caller;
        let mut changes = api::FunctionChanges { revision: reading.state.revision().0, ..Default::default() };
        while changes.functions.len() + changes.removed.len() < FUNCTIONS_MAX {
            let Some(name) = self.untold.pop_first() else { break };
            match reading.state.function(&name) {
                Ok(function) => {
                    let mut summary = summary(&name, function, &reading.table, caller);
                    for stage in &mut summary.stages {
                        let stage_name = stage.stage.parse();
                        let on_others = stage_name.map(|stage| self.on_others(&name, &stage));
                        let on_others = on_others.unwrap_or_default();
                        stage.requests += on_others.requests;
                        stage.failures += on_others.failures;
                    }
                    changes.functions.push(summary);
                }
                Err(_) => changes.removed.push(name.to_string()),
            }
        }
        changes.more = !self.untold.is_empty();
        self.say_nodes(&mut changes);
        if !changes.more {
            self.traffic(&reading, &mut changes);
        }
        self.read = Some(reading);
        let is_new = first
            || !(changes.functions.is_empty() && changes.removed.is_empty() && changes.traffic.is_empty())
            || changes.nodes.is_some();
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

    /// The numbers of a stage on the other nodes.
    fn on_others(&self, function: &FunctionName, stage: &StageName) -> StageNumbers {
        self.others.as_ref().map(|others| others.of(function, stage)).unwrap_or_default()
    }

    /// Says whose numbers there are, if that is new.
    fn say_nodes(&mut self, changes: &mut api::FunctionChanges) {
        let (Some(elsewhere), Some(others)) = (&self.elsewhere, &self.others) else { return };
        let own = api::AskedNode { node: elsewhere.node().to_owned(), missing: None };
        let mut nodes: Vec<_> = others.nodes.iter().cloned().chain([own]).collect();
        nodes.sort_by(|a, b| a.node.cmp(&b.node));
        if nodes != self.nodes {
            changes.nodes = Some(nodes.clone());
            self.nodes = nodes;
        }
    }

    /// Adds the stages whose numbers differ from what was told.
    fn traffic(&mut self, reading: &Reading<H::Version>, changes: &mut api::FunctionChanges) {
        let (stages, caller) = (&reading.stages, &self.watcher.caller);
        let series = self.admin.series.traffic();
        let all = self.begin.min(stages.len())..stages.len();
        for at in all.chain(0..self.begin.min(stages.len())) {
            let (stage, own) = (&stages[at], reading.totals[at]);
            let on_others = self.on_others(stage.function(), stage.name());
            let totals = (own.0 + on_others.requests, own.1 + on_others.failures);
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
                latency_p50_ms: largest(
                    series.latency_p50_ms(stage.function(), stage.name()),
                    on_others.latency_p50_ms,
                ),
                latency_p99_ms: largest(
                    series.latency_p99_ms(stage.function(), stage.name()),
                    on_others.latency_p99_ms,
                ),
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
