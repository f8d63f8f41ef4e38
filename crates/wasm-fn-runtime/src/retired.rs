//! Instances that have served: taken down, and followed by others, once their thread has sent what they answered.
//!
//! Nobody waits for it, so the answers of all requests that were ready go first. Clients on this machine, as proxies are,
//! have new requests ready by then, and more of them at once; and what takes instances down and makes them runs
//! for several in a row.
//!
//! Invariant: what waits here holds so few of the node's places that requests which may run find one, and no memory
//! that the node is short of.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Instant,
};

use wasm_fn_batch::Gathering;
use wasm_fn_memory::together;

use crate::{instance::Instance, runtime::Node, version::Version};

/// One place in this many may be held by an instance that has served. Requests have three quarters of them, so what is
/// left is more than that.
const HELD_SHARE: u32 = 8;

thread_local! {
    static RETIRED: Gathering<Retired> = const { Gathering::new() };
}

/// How many of a node's instances wait to be taken down.
pub(crate) struct Retirement {
    max: usize,
    // Invariant: the number of `Held`, at most `max`.
    held: AtomicUsize,
}

/// An instance that waits to be taken down.
pub(crate) struct Retired {
    version: Arc<Version>,
    instance: Instance,
    _held: Held,
}

/// One of those that wait.
struct Held(Arc<Node>);

impl Retirement {
    /// Of a node with `instances_max` places.
    pub(crate) fn new(instances_max: u32) -> Self {
        Self { max: (instances_max / HELD_SHARE) as usize, held: AtomicUsize::new(0) }
    }
}

impl Retired {
    /// Has `instance` of `version` taken down: later, or now when as many wait as may, or memory is getting short.
    pub(crate) fn put(version: &Arc<Version>, instance: Instance) {
        if let Some(held) = Held::of(&version.node) {
            let retired = Self { version: Arc::clone(version), instance, _held: held };
            RETIRED.with(|gathering| gathering.add(retired, take_down));
        }
    }
}

impl Held {
    fn of(node: &Arc<Node>) -> Option<Self> {
        if node.memory.used_bytes() > node.memory.max_bytes() / 2 {
            return None;
        }
        let Retirement { max, held } = &node.retirement;
        let one_more = |count| (count < *max).then(|| count + 1);
        held.try_update(Relaxed, Relaxed, one_more).is_ok().then(|| Self(Arc::clone(node)))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.retirement.held.fetch_sub(1, Relaxed);
    }
}

/// Takes down all that a thread retired.
#[expect(clippy::disallowed_methods, reason = "starts take wall-clock time")]
fn take_down(retired: Vec<Retired>) {
    let places: Vec<_> = together(|| {
        retired.into_iter().map(|retired| (retired.version, retired.instance.take_down())).collect()
    });
    places.into_iter().fold(Instant::now(), |now, (version, permit)| version.follow(permit, now));
}
