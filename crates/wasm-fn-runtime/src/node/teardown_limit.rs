//! Limits how many instances wait to be taken down.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Instances that wait to be taken down may hold one place in this many. Requests may use three quarters of
/// the places, so more than that is left.
const WAITING_SHARE: u32 = 8;

/// Counts the instances of a node that wait to be taken down.
pub(crate) struct TeardownLimit {
    max: usize,
    // Invariant: at most `max`.
    waiting: AtomicUsize,
}

impl TeardownLimit {
    /// The limit of a node with `instances_max` places.
    pub(crate) fn new(instances_max: u32) -> Self {
        Self { max: (instances_max / WAITING_SHARE) as usize, waiting: AtomicUsize::new(0) }
    }

    /// Counts one more, if the limit allows it. Call [`release`](Self::release) when it is taken down.
    #[must_use = "a counted instance must be released"]
    pub(crate) fn try_acquire(&self) -> bool {
        let one_more = |count| (count < self.max).then(|| count + 1);
        self.waiting.try_update(Relaxed, Relaxed, one_more).is_ok()
    }

    /// Counts one less.
    pub(crate) fn release(&self) {
        self.waiting.fetch_sub(1, Relaxed);
    }
}
