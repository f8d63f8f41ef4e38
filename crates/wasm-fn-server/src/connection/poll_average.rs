//! How long a thread's polls of connections take.

use std::{cell::Cell, time::Duration};

/// While polls take longer than this on average, nanoseconds, no response waits for them.
const POLL_NS_MAX: u64 = 50_000;

thread_local! {
    static AVERAGE: Cell<PollAverage> = const { Cell::new(PollAverage { ns: 0 }) };
}

/// A moving average in which each poll weighs an eighth.
#[derive(Clone, Copy, Debug)]
struct PollAverage {
    ns: u64,
}

impl PollAverage {
    fn and(self, took: Duration) -> Self {
        let ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        Self { ns: self.ns - self.ns / 8 + ns / 8 }
    }
}

/// Counts a poll on this thread.
pub(super) fn polled(took: Duration) {
    AVERAGE.set(AVERAGE.get().and(took));
}

/// Whether polls of this thread are so short that a response may wait for them.
pub(super) fn is_short() -> bool {
    AVERAGE.get().ns <= POLL_NS_MAX
}

#[cfg(test)]
pub(crate) mod tests;
