//! Takes down instances that have served, and replaces them, once their thread has sent its responses or
//! enough of them wait.
//!
//! No request waits for this, so the responses of all ready requests go first. By then a client on this
//! machine, such as a proxy, has several new requests ready; and the code that takes instances down and makes
//! them runs for several in a row. For a few only: more would not stay in the caches.
//!
//! Invariant: the waiting instances hold so few of the node's places that requests still find some, and no
//! memory that the node is short of.

use std::sync::Arc;

use wasm_fn_memory::restore_batched;
use wasm_fn_thread::TaskBatch;

use super::Version;
use crate::guest_host::instance::Instance;

/// Instances that a thread takes down together at most; a full batch is taken down at once. Under load this
/// many serve in turn, and their memory, some 30 KiB each for a small guest, must stay in the processor's
/// nearer caches.
const BATCH_MAX: usize = 4;

thread_local! {
    static PENDING: TaskBatch<PendingTeardown> = const { TaskBatch::new(BATCH_MAX) };
}

/// An instance that waits to be taken down.
pub(super) struct PendingTeardown {
    instance: Instance,
    slot: TeardownSlot,
}

/// A place among the instances that wait to be taken down.
struct TeardownSlot(Arc<Version>);

impl PendingTeardown {
    /// Takes `instance` of `version` down: later, or at once if too many wait or memory gets short.
    pub(super) fn put(version: &Arc<Version>, instance: Instance) {
        if let Some(slot) = TeardownSlot::acquire(version) {
            PENDING.with(|pending| pending.add(Self { instance, slot }, take_down));
        }
    }
}

impl TeardownSlot {
    fn acquire(version: &Arc<Version>) -> Option<Self> {
        let node = &version.node;
        if node.memory.used_bytes() > node.memory.max_bytes() / 2 {
            return None;
        }
        node.teardown.try_acquire().then(|| Self(Arc::clone(version)))
    }
}

impl Drop for TeardownSlot {
    fn drop(&mut self) {
        self.0.node.teardown.release();
    }
}

/// Takes down all instances of a batch.
fn take_down(pending: Vec<PendingTeardown>) {
    let mut places: Vec<_> = restore_batched(|| {
        pending.into_iter().map(|pending| (pending.slot, pending.instance.take_down())).collect()
    });
    // Replaces those of one version in a row; mostly there is no other.
    while let Some((TeardownSlot(version), _)) = places.first() {
        let version = Arc::clone(version);
        let own = places.extract_if(.., |(slot, _)| Arc::ptr_eq(&slot.0, &version));
        version.replace(own.map(|(_, permit)| permit));
    }
}
