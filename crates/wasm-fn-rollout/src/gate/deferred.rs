//! A cohort's results, held until it is known how stable did at the same time.
//!
//! A cohort is held to its past, or to stable's current failure rate if that is higher. When something begins
//! to fail for everybody, the cohort's first failures come as soon as stable's, and stable's earlier results
//! do not show it yet. So the cohort's results are judged once stable has had requests afterwards, against
//! what stable did before or after, whichever is worse. The cohort does not influence what stable does, so
//! the test stays valid.

use std::collections::VecDeque;

use super::Counts;
use crate::Event;

/// Number of stable's requests to wait for.
const STABLE_AFTER: u64 = 10;

/// Number of the cohort's requests after which waiting ends, because stable may have no requests.
const COHORT_AFTER: u64 = 12;

/// Maximum number of waiting batches. Batches with only late responses have no requests.
const BATCHES_MAX: usize = 32;

/// Waiting batches, the oldest first.
#[derive(Clone, Debug, Default)]
pub(super) struct Deferred {
    // Invariant: at most BATCHES_MAX.
    batches: VecDeque<Batch>,
}

/// What a cohort did in one batch.
#[derive(Clone, Debug)]
pub(super) struct Batch {
    pub(super) cohort: Counts,
    /// Users with events.
    pub(super) users: Vec<(u64, Event)>,
    /// Stable's rate of failures before.
    before: f64,
    /// Stable's requests since, and of them those that failed.
    stable: (u64, u64),
    /// The cohort's requests since, these among them.
    since: u64,
}

impl Deferred {
    /// Adds what a cohort did in a batch, before which stable failed at rate `before`.
    pub(super) fn push(&mut self, cohort: Counts, users: Vec<(u64, Event)>, before: f64) {
        self.batches.push_back(Batch { cohort, users, before, stable: (0, 0), since: 0 });
    }

    /// Adds what stable did in the newest batch, and how many requests the cohort had in it.
    pub(super) fn note(&mut self, stable: &Counts, cohort_requests: u64) {
        for batch in &mut self.batches {
            batch.stable.0 = batch.stable.0.saturating_add(stable.requests);
            batch.stable.1 = batch.stable.1.saturating_add(stable.bad(Event::FailedAtAll).requests);
            batch.since = batch.since.saturating_add(cohort_requests);
        }
    }

    /// The oldest batch, if it has waited long enough.
    pub(super) fn pop(&mut self) -> Option<Batch> {
        let full = self.batches.len() > BATCHES_MAX;
        let ready = |batch: &&Batch| full || batch.stable.0 >= STABLE_AFTER || batch.since >= COHORT_AFTER;
        self.batches.front().filter(ready)?;
        self.batches.pop_front()
    }
}

impl Batch {
    /// Stable's failure rate at that time, as far as it is known.
    pub(super) fn stable_rate(&self) -> f64 {
        let (requests, failed) = self.stable;
        if requests == 0 { self.before } else { self.before.max(failed as f64 / requests as f64) }
    }
}

#[cfg(test)]
mod tests;
