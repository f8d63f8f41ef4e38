//! Which requests are held to the median.
//!
//! Half of all responses are above a median, and the gate takes each of them under a lock. So only the first
//! requests of each second are sampled, of the canary and the baseline together. Whether a request is sampled
//! is known when it begins. It depends on the time and on earlier requests, but not on how the request ends
//! or on which of the two serves it. So the sample is divided in the odds of their shares, as the test
//! requires.
//!
//! Reading the time costs more than everything else here. Once a second's sample is full, only one of several
//! requests reads it. The first that finds a new second begins its sample but is not part of it, because who
//! reads the time depends on the side.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

/// Number of sampled requests per second, of the canary and the baseline together: 64 of each if their shares
/// are equal.
pub(super) const SAMPLED_MAX: u64 = 128;

/// One of this many requests checks whether a new second has begun.
const ASKED_OF: u64 = 16;

/// Bits of the count of a second's requests; above them is the second.
const COUNT_BITS: u32 = 16;

/// All of them set.
const COUNT: u64 = (1 << COUNT_BITS) - 1;

/// Nothing is sampled. No real second is this large, and it looks full.
const OFF: u64 = u64::MAX;

/// The sampled requests of the current second.
pub(super) struct Sample {
    // Seconds count from here.
    start: OnceLock<Instant>,
    // The newest second in which a request was taken, and how many were; or `OFF`.
    state: AtomicU64,
}

impl Default for Sample {
    fn default() -> Self {
        Self { start: OnceLock::new(), state: AtomicU64::new(OFF) }
    }
}

impl Sample {
    /// Sets whether requests are sampled from now on.
    pub(super) fn set_on(&self, on: bool) {
        if on {
            // The current second keeps its count.
            let _ = self.state.compare_exchange(OFF, 0, Relaxed, Relaxed);
        } else {
            self.state.store(OFF, Relaxed);
        }
    }

    /// Whether a request of the canary or the baseline that begins at `at` is sampled. `before` is the number
    /// of requests of its side that began before it in its epoch.
    pub(super) fn takes(&self, at: Instant, before: u64) -> bool {
        let is_full = self.state.load(Relaxed) & COUNT >= SAMPLED_MAX;
        if is_full && !before.is_multiple_of(ASKED_OF) { false } else { self.take(at) }
    }

    #[cold]
    fn take(&self, at: Instant) -> bool {
        let state = self.state.load(Relaxed);
        if state == OFF {
            return false;
        }
        let second = at.saturating_duration_since(*self.start.get_or_init(|| at)).as_secs() << COUNT_BITS;
        if state & COUNT >= SAMPLED_MAX {
            if second > state {
                let _ = self.state.compare_exchange(state, second, Relaxed, Relaxed);
            }
            return false;
        }
        // A request that asks about an earlier second is too late.
        let next = |state: u64| (state < second + SAMPLED_MAX).then(|| state.max(second) + 1);
        self.state.fetch_update(Relaxed, Relaxed, next).is_ok()
    }
}
