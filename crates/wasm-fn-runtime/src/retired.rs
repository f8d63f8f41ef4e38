//! Instances that have served: taken down, and followed by others, once their thread has sent what they answered or there
//! are enough of them.
//!
//! Nobody waits for it, so the answers of the requests that were ready go first. Clients on this machine, as proxies are,
//! have new requests ready by then, and more of them at once; and what takes instances down and makes them runs
//! for several in a row. For a few: more would not stay in the caches.
//!
//! Invariant: what waits here holds so few of the node's places that requests which may run find one, and no memory
//! that the node is short of.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use wasm_fn_memory::restore_batched;
use wasm_fn_thread::TaskBatch;

use crate::{instance::Instance, version::Version};

/// One place in this many may be held by an instance that has served. Requests have three quarters of them, so what is
/// left is more than that.
const HELD_SHARE: u32 = 8;

/// Instances that a thread takes down together at most, and then at once. As many serve by turns under load, and what
/// they are made of, some 30 KiB each for a small guest, has to stay in the processor's nearer caches: where all that
/// were ready served before any was taken down, a thread that had fallen behind had to fetch what it needed for each
/// and fell behind further.
const TOGETHER_MAX: usize = 4;

thread_local! {
    static RETIRED: TaskBatch<Retired> = const { TaskBatch::new(TOGETHER_MAX) };
}

/// How many of a node's instances wait to be taken down.
pub(crate) struct Retirement {
    max: usize,
    // Invariant: the number of `Held`, at most `max`.
    held: AtomicUsize,
}

/// An instance that waits to be taken down.
pub(crate) struct Retired {
    instance: Instance,
    held: Held,
}

/// One of those that wait, by its version.
struct Held(Arc<Version>);

impl Retirement {
    /// Of a node with `instances_max` places.
    pub(crate) fn new(instances_max: u32) -> Self {
        Self { max: (instances_max / HELD_SHARE) as usize, held: AtomicUsize::new(0) }
    }
}

impl Retired {
    /// Has `instance` of `version` taken down: later, or now when as many wait as may, or memory is getting short.
    pub(crate) fn put(version: &Arc<Version>, instance: Instance) {
        if let Some(held) = Held::of(version) {
            RETIRED.with(|batch| batch.add(Self { instance, held }, take_down));
        }
    }
}

impl Held {
    fn of(version: &Arc<Version>) -> Option<Self> {
        let node = version.node();
        if node.memory.used_bytes() > node.memory.max_bytes() / 2 {
            return None;
        }
        let Retirement { max, held } = &node.retirement;
        let one_more = |count| (count < *max).then(|| count + 1);
        held.try_update(Relaxed, Relaxed, one_more).is_ok().then(|| Self(Arc::clone(version)))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.node().retirement.held.fetch_sub(1, Relaxed);
    }
}

/// Takes down all that a thread retired.
fn take_down(retired: Vec<Retired>) {
    let mut places: Vec<_> = restore_batched(|| {
        retired.into_iter().map(|retired| (retired.held, retired.instance.take_down())).collect()
    });
    // Those of one version follow in a row: most often there is no other.
    while let Some((Held(version), _)) = places.first() {
        let version = Arc::clone(version);
        let own = places.extract_if(.., |(held, _)| Arc::ptr_eq(&held.0, &version));
        version.follow(own.map(|(_, permit)| permit));
    }
}
