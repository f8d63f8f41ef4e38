//! What outlives a crash: the seed's scenario and dice, the true time, the trace, and what must hold.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{sync::Notify, time::Instant};
use wasm_fn_core::{FunctionName, Outcome, VersionNo};

use crate::{dice::Dice, model::Model, scenario::Scenario, trace::Trace};

/// Everything that the parts of a simulated node share.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) scenario: Arc<Scenario>,
    /// Wakes whoever ends the node.
    pub(crate) crash: Notify,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) dice: Dice,
    /// That of all nodes.
    trace: Arc<Mutex<Trace>>,
    /// The node's name; empty if it is alone.
    name: String,
    pub(crate) model: Model,
    pub(crate) crashed: bool,
    pub(crate) requests: Requests,
    /// What happened how often.
    pub(crate) happened: BTreeMap<&'static str, u64>,
    fault: Option<String>,
    /// The true time when this life of the node began, and what its own clock counts from.
    began: Option<(u64, Instant)>,
    /// The true time when it was last asked for.
    now_ms: u64,
}

/// Requests of this life, and how those that ended did.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    next: u64,
    /// Accepted and not answered, with their canary's rollout while they run on it.
    pub(crate) pending: BTreeMap<u64, Option<(FunctionName, u64)>>,
    /// By function and version, in the order of [`Outcome::index`].
    pub(crate) tallied: BTreeMap<(FunctionName, VersionNo), [u64; Outcome::ALL.len()]>,
    /// Runs of versions that began; each is one entry in a tally.
    pub(crate) invocations: u64,
}

impl World {
    /// The world of `seed` before anything happened.
    pub(crate) fn new(seed: u64, keep_trace: bool) -> Arc<Self> {
        // Neighbouring seeds are to have nothing in common.
        let mut dice = Dice::new(seed);
        let mut dice = Dice::new(dice.bits());
        let scenario = Arc::new(Scenario::draw(&mut dice));
        let trace = Arc::new(Mutex::new(Trace::new(keep_trace)));
        let world = Self::of_node(String::new(), scenario, dice, trace, Model::default());
        world.say(format_args!("seed {seed}: {:?}", world.scenario));
        world
    }

    /// The world of one node of several before anything happened. They have the `scenario` and the `trace`
    /// together.
    pub(crate) fn of_node(
        name: String,
        scenario: Arc<Scenario>,
        dice: Dice,
        trace: Arc<Mutex<Trace>>,
        model: Model,
    ) -> Arc<Self> {
        let inner = Inner {
            dice,
            trace,
            name,
            model,
            crashed: false,
            requests: Requests::default(),
            happened: BTreeMap::new(),
            fault: None,
            began: None,
            now_ms: 0,
        };
        Arc::new(Self { scenario, crash: Notify::new(), inner: Mutex::new(inner) })
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new life of the node begins, after the node was down for `down_ms`.
    pub(crate) fn begin(&self, down_ms: u64) {
        let now_ms = self.lock().now_ms;
        self.begin_at(now_ms + down_ms);
    }

    /// A new life of the node begins at `now_ms`.
    pub(crate) fn begin_at(&self, now_ms: u64) {
        let mut inner = self.lock();
        inner.now_ms = now_ms;
        inner.began = Some((inner.now_ms, Instant::now()));
        inner.crashed = false;
        let next = inner.requests.next;
        inner.requests = Requests { next, ..Requests::default() };
        inner.model.begin(now_ms);
    }

    /// The node's life is over.
    pub(crate) fn end(&self) {
        let mut inner = self.lock();
        inner.now();
        inner.began = None;
        inner.crashed = true;
    }

    /// The node dies as soon as whoever runs it is asked.
    pub(crate) fn kill(&self) {
        self.lock().crashed = true;
        self.crash.notify_one();
    }

    /// The true time, milliseconds since the beginning.
    pub(crate) fn now_ms(&self) -> u64 {
        self.lock().now()
    }

    pub(crate) fn say(&self, what: fmt::Arguments<'_>) {
        self.lock().say(what);
    }

    /// Something that must hold does not.
    pub(crate) fn fault(&self, what: String) {
        self.lock().fault(what);
    }

    /// Counts something that every simulation should see now and then.
    pub(crate) fn happened(&self, what: &'static str) {
        *self.lock().happened.entry(what).or_default() += 1;
    }

    pub(crate) fn found(&self) -> Option<String> {
        self.lock().fault.clone()
    }
}

impl Inner {
    pub(crate) fn now(&mut self) -> u64 {
        if let Some((began_ms, began)) = self.began {
            self.now_ms = began_ms + u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        }
        self.now_ms
    }

    pub(crate) fn say(&mut self, what: fmt::Arguments<'_>) {
        let now_ms = self.now();
        self.trace().say(now_ms, &self.name, what);
    }

    /// What was said.
    pub(crate) fn trace(&self) -> MutexGuard<'_, Trace> {
        self.trace.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn fault(&mut self, what: String) {
        self.say(format_args!("FAULT {what}"));
        self.fault.get_or_insert(what);
    }

    /// Takes a result of the model.
    pub(crate) fn held(&mut self, result: Result<(), String>) {
        if let Err(what) = result {
            self.fault(what);
        }
    }
}

impl Requests {
    /// A request is accepted.
    pub(crate) fn accept(&mut self) -> u64 {
        self.next += 1;
        self.pending.insert(self.next, None);
        self.next
    }

    /// The number of the request accepted last.
    pub(crate) fn last(&self) -> u64 {
        self.next
    }

    /// The request `id` is answered, or its client is told that it will not be.
    pub(crate) fn answer(&mut self, id: u64) -> Result<(), String> {
        self.pending.remove(&id).map(drop).ok_or_else(|| format!("request {id} was answered twice"))
    }

    pub(crate) fn tally(&mut self, function: &FunctionName, version: VersionNo, outcome: Outcome) {
        let counts = self.tallied.entry((function.clone(), version)).or_default();
        counts[outcome.index()] += 1;
    }
}
