//! Detects that a burst is over, so that it pays to give memory back.

use std::time::Duration;

/// How long the load must have stayed low. A burst that comes back earlier finds its memory untouched.
const CALM: Duration = Duration::from_secs(10);

/// By how many instances the load must have fallen at least. The memory of fewer is not worth the work.
const FALL_MIN: usize = 64;

/// Tracks the number of live instances.
#[derive(Debug, Default)]
pub(crate) struct BurstDetector {
    /// Most instances since the end of the last burst.
    high: usize,
    /// Since when there are at most half as many.
    low_since: Option<Duration>,
}

impl BurstDetector {
    /// Whether a burst is over, with `alive` instances at `now`. Returns `true` once for each burst.
    pub(crate) fn is_over(&mut self, now: Duration, alive: usize) -> bool {
        self.high = self.high.max(alive);
        if self.high - alive < FALL_MIN.max(self.high / 2) {
            self.low_since = None;
            return false;
        }
        let since = *self.low_since.get_or_insert(now);
        let over = now.saturating_sub(since) >= CALM;
        if over {
            *self = Self { high: alive, low_since: None };
        }
        over
    }
}

#[cfg(test)]
mod tests;
