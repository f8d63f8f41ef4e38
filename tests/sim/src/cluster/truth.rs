//! The one state of all nodes, as it became durable for the first time on any of them. What differs from it
//! later is a fork.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use wasm_fn_control::{
    journal::Entry,
    state::{Action, State},
};
use wasm_fn_core::{FunctionName, Revision};
use wasm_fn_store::Commit;

use crate::{
    model::{Model, Scope},
    scenario::Scenario,
    world::World,
};

/// What is known of all nodes together.
pub(super) struct Truth {
    scenario: Arc<Scenario>,
    /// The model of all nodes, which theirs refer to.
    pub(super) whole: Arc<Mutex<Model>>,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    worlds: Vec<Arc<World>>,
    commits: BTreeMap<Revision, Commit>,
    /// When records were planned.
    planned_ms: BTreeMap<String, u64>,
}

impl Truth {
    pub(super) fn new(scenario: Arc<Scenario>) -> Self {
        let whole = Arc::new(Mutex::new(Model::of(Scope::Whole)));
        Self { scenario, whole, inner: Mutex::default() }
    }

    /// The node with `world` is one of them.
    pub(super) fn join(&self, world: Arc<World>) {
        self.lock().worlds.push(world);
    }

    pub(super) fn whole(&self) -> MutexGuard<'_, Model> {
        self.whole.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The last revision.
    pub(super) fn head(&self) -> Revision {
        self.lock().commits.last_key_value().map_or(Revision(0), |(revision, _)| *revision)
    }

    /// The state of the last revision.
    pub(super) fn last(&self) -> State {
        self.whole().last()
    }

    /// The record of `revision`.
    pub(super) fn record(&self, revision: Revision) -> Option<String> {
        self.lock().commits.get(&revision).map(|commit| commit.record.clone())
    }

    /// A node has planned `commit` at `now_ms`, and is about to make it.
    pub(super) fn planned(&self, commit: &Commit, now_ms: u64) {
        self.lock().planned_ms.insert(commit.record.clone(), now_ms);
    }

    /// `commits` are durable on the node of `world`.
    pub(super) fn durable(&self, world: &World, commits: &[Commit]) {
        for commit in commits {
            if let Err(what) = self.take(world, commit) {
                world.fault(what);
            }
        }
    }

    fn take(&self, world: &World, commit: &Commit) -> Result<(), String> {
        let (head, now_ms) = (self.head(), world.now_ms());
        let revision = commit.revision;
        if revision <= head {
            let known = self.lock().commits.get(&revision).cloned();
            return match known {
                Some(known) if known == *commit => Ok(()),
                _ => Err(format!("r{} is not what it was on another node: the state forks", revision.0)),
            };
        }
        if revision != head.next() {
            return Err(format!("r{} follows r{}", revision.0, head.0));
        }
        let entry = Entry::parse(&commit.record).expect("the control plane writes records that it can read");
        let (planned_ms, worlds) = {
            let mut inner = self.lock();
            inner.commits.insert(revision, commit.clone());
            let planned_ms = inner.planned_ms.get(&commit.record).copied();
            (planned_ms.unwrap_or(now_ms), inner.worlds.clone())
        };
        say(world, &entry);
        let whole = {
            let mut whole = self.whole();
            let planned = whole.planned(&entry, planned_ms);
            planned.and(whole.committed(&entry, planned_ms, now_ms, &self.scenario))
        };
        for world in worlds {
            // What does not hold is said of the whole.
            let _ = world.lock().model.committed(&entry, planned_ms, now_ms, &self.scenario);
        }
        whole
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn say(world: &World, entry: &Entry) {
    let after = entry.change.action().and_then(Action::after);
    let split = after.map(|after| after.split.shares().to_vec());
    let phase = after.and_then(|after| Some(&after.rollout.as_ref()?.phase));
    let (action, function) =
        (entry.change.as_str(), entry.change.function().map_or("-", FunctionName::as_str));
    world.happened(action);
    world.say(format_args!(
        "r{} {function} {action} by {} is durable: {split:?} {phase:?}",
        entry.revision.0, entry.actor
    ));
}
