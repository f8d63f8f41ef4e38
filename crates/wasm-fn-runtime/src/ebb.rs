//! Tells when a burst is over: when it is worth to give back what it took.

use std::time::Duration;

/// How long the load must have stayed low: a burst that comes back finds its memory as it left it.
const CALM: Duration = Duration::from_secs(10);

/// Fewest instances by which the load must have fallen: what fewer leave behind is not worth the work.
const FALL_MIN: usize = 64;

/// Follows the number of instances alive.
#[derive(Debug, Default)]
pub(crate) struct Ebb {
    /// Most instances since the end of the last burst.
    high: usize,
    /// Since when there are no more than half of them.
    low_since: Option<Duration>,
}

impl Ebb {
    /// Whether a burst ended, when so many instances are alive at `now`; true once for each.
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
