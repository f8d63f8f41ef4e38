//! The requests that are held to a [`Floor`]: the newest ones, so that a version that breaks after a long
//! good time is found as well.

use super::{Counts, Floor};
use crate::Event;

/// Older requests are forgotten after this many times the requests that a floor needs.
const KEPT: u64 = 5;

/// Requests and failures of the newest period and of the one before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Recent {
    now: (u64, u64),
    before: (u64, u64),
}

impl Recent {
    pub(super) const NONE: Self = Self { now: (0, 0), before: (0, 0) };

    /// Adds `counts`, to be held to `floor`.
    pub(super) fn take(&mut self, counts: &Counts, floor: &Floor) {
        self.now = add(self.now, (counts.requests, counts.bad(Event::FailedAtAll).requests));
        if self.now.0 >= floor.requests.saturating_mul(KEPT) {
            self.before = std::mem::take(&mut self.now);
        }
    }

    /// Requests and failures.
    pub(super) fn sum(&self) -> (u64, u64) {
        add(self.now, self.before)
    }

    /// Whether more failed than `floor` allows.
    pub(super) fn is_below(&self, floor: &Floor) -> bool {
        let (requests, failed) = self.sum();
        requests >= floor.requests && failed as f64 >= floor.error_rate * requests as f64
    }
}

fn add(one: (u64, u64), other: (u64, u64)) -> (u64, u64) {
    (one.0.saturating_add(other.0), one.1.saturating_add(other.1))
}

#[cfg(test)]
mod tests;
