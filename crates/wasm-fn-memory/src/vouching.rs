//! The numbers that vouch for the memory of a guest, and what they are compared for.
//!
//! It knows neither where the numbers come from nor what a memory is, so that `tests/model` can try all
//! orders in which threads may see them.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A number that threads share. The model has one that is tried in all orders.
pub(crate) trait SharedNumber {
    fn get(&self) -> u64;
    fn set(&self, number: u64);
    fn increment(&self);
}

impl SharedNumber for AtomicU64 {
    fn get(&self) -> u64 {
        self.load(Relaxed)
    }

    fn set(&self, number: u64) {
        self.store(number, Relaxed);
    }

    fn increment(&self) {
        self.fetch_add(1, Relaxed);
    }
}

/// What vouches for the memory of a guest, if it is the same when the guest got it and when it is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) thread: u64,
    /// The faults of this thread; `None` if they are not known.
    pub(crate) faults: Option<u64>,
    /// The moves of all guests.
    pub(crate) moves: u64,
}

/// Notes that a guest, which ran on `thread`, is about to run on the thread `here`.
///
/// Whoever hands a guest over to another thread synchronises with it. So whoever has the guest sees the moves
/// that it has made, however weak the order of these numbers is.
pub(crate) fn note(thread: &impl SharedNumber, moves: &impl SharedNumber, here: u64) {
    if thread.get() != here {
        thread.set(here);
        moves.increment();
    }
}

impl Counts {
    /// Whether they vouch for a guest that is gone `now`. One that left and came back moved twice.
    pub(crate) fn vouch(self, now: Self) -> bool {
        now.faults.is_some() && self == now
    }
}
