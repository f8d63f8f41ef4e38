//! How long to wait before a broker is tried again. Pure.

use std::time::Duration;

/// The bound of the first wait.
const FIRST: Duration = Duration::from_secs(1);

/// The bound of every later wait at most.
const LAST: Duration = Duration::from_secs(30);

/// Waits that double, with half of each drawn, so that nodes that lost the same broker do not return together
/// and none returns at once.
#[derive(Debug, Default)]
pub struct Backoff {
    tried: u32,
}

impl Backoff {
    /// The next wait, by a `draw` from 0 to 1.
    pub fn next(&mut self, draw: f64) -> Duration {
        let bound = FIRST.saturating_mul(1 << self.tried.min(16)).min(LAST);
        self.tried = self.tried.saturating_add(1);
        bound.mul_f64(0.5 + draw.clamp(0.0, 1.0) / 2.0)
    }

    /// The broker was there.
    pub fn reset(&mut self) {
        self.tried = 0;
    }
}

#[cfg(test)]
mod tests;
