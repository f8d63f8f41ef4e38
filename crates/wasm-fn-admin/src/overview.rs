//! All functions and their numbers, read once for all streams that tell of them.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use bytes::Bytes;
use tokio::time::Instant;
use wasm_fn_api as api;
use wasm_fn_control::{Control, host::Host, state::State};
use wasm_fn_core::{FunctionName, StageName};
use wasm_fn_router::{RouteTable, Stage};
use wasm_fn_store::Store;

use crate::{
    ClusterSource,
    elsewhere::Elsewhere,
    merge::largest,
    nodes::{Others, Told},
};

/// How often the functions are read, at most.
pub(crate) const EVERY: Duration = Duration::from_secs(1);

/// The functions and their numbers as last read.
pub(crate) struct Overview<H: Host> {
    read: Mutex<Option<Arc<Reading<H::Version>>>>,
    /// What all streams know of the other nodes.
    elsewhere: Mutex<Weak<Elsewhere<OnOthers>>>,
}

impl<H: Host> Default for Overview<H> {
    fn default() -> Self {
        Self { read: Mutex::new(None), elsewhere: Mutex::default() }
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

/// The numbers of all stages on the other nodes.
#[derive(Debug, Default)]
pub(crate) struct OnOthers {
    /// Which nodes were asked.
    pub(crate) nodes: Vec<api::AskedNode>,
    /// By function and stage.
    stages: BTreeMap<String, BTreeMap<String, StageNumbers>>,
}

/// The numbers of a stage on several nodes together. Latencies are the largest, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct StageNumbers {
    pub(crate) requests: u64,
    pub(crate) failures: u64,
    pub(crate) latency_p50_ms: Option<f64>,
    pub(crate) latency_p99_ms: Option<f64>,
}

impl OnOthers {
    /// Reads the streams that other nodes have answered with.
    fn read(told: Told<Bytes>) -> Self {
        let mut all = Self::default();
        for (node, answer) in told {
            let missing = match answer {
                Ok(stream) => {
                    all.add(&stream);
                    None
                }
                Err(reason) => Some(reason),
            };
            all.nodes.push(api::AskedNode { node, missing });
        }
        all
    }

    fn add(&mut self, stream: &[u8]) {
        let lines = stream.split(|byte| *byte == b'\n').filter_map(|line| line.strip_prefix(b"data: "));
        // Each stage is told once.
        for event in lines.filter_map(|line| serde_json::from_slice::<api::FunctionChanges>(line).ok()) {
            for stage in event.traffic {
                let own = self.stages.entry(stage.function).or_default().entry(stage.stage).or_default();
                own.requests += stage.requests;
                own.failures += stage.failures;
                own.latency_p50_ms = largest(own.latency_p50_ms, stage.latency_p50_ms);
                own.latency_p99_ms = largest(own.latency_p99_ms, stage.latency_p99_ms);
            }
        }
    }

    /// The numbers of `stage` of `function`.
    pub(crate) fn of(&self, function: &FunctionName, stage: &StageName) -> StageNumbers {
        let stages = self.stages.get(function.as_str());
        stages.and_then(|stages| stages.get(stage.as_str())).copied().unwrap_or_default()
    }
}

impl<H: Host> Overview<H> {
    /// The functions as they were less than a second ago. A change of the state shows at once.
    pub(crate) fn read<S: Store>(&self, control: &Control<H, S>) -> Arc<Reading<H::Version>> {
        // Nothing panics while holding the lock.
        let mut last = self.read.lock().unwrap_or_else(PoisonError::into_inner);
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

    /// What the other nodes in `cluster` say, asked for once for all streams.
    pub(crate) fn elsewhere(&self, cluster: &Arc<dyn ClusterSource>) -> Option<Arc<Elsewhere<OnOthers>>> {
        let mut known = self.elsewhere.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known.upgrade() {
            return Some(known);
        }
        let others = Others::of_node(cluster, "/v1/watch?once=true".to_owned());
        let elsewhere = Arc::new(Elsewhere::follow(others, OnOthers::read)?);
        *known = Arc::downgrade(&elsewhere);
        Some(elsewhere)
    }

    /// Drops what was read if no stream needs it: it holds on to a table.
    pub(crate) fn drop_unused(&self) {
        let mut last = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if last.as_ref().is_some_and(|last| Arc::strong_count(last) == 1) {
            *last = None;
        }
    }
}
