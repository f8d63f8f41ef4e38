//! Slow responses with one cause. Those of one moment count once if there is nothing to compare them with at
//! the same time.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// How long after a slow response others may be slow for the same reason. It is longer than a neighbour or a
/// disk usually stalls a machine, and short enough that a few such moments do not delay the rollback of a
/// slow version much.
pub(super) const LENGTH: Duration = Duration::from_secs(1);

/// The moment that a slow response began.
#[derive(Default)]
pub(super) struct Clusters {
    // The times below count from here.
    epoch: OnceLock<Instant>,
    // Nanoseconds; 0 before the first.
    end_ns: AtomicU64,
}

impl Clusters {
    /// Whether a request that begins at `at` is within the moment that a slow response began.
    pub(super) fn hold(&self, at: Instant) -> bool {
        let end_ns = self.end_ns.load(Ordering::Relaxed);
        end_ns > 0 && self.since_epoch_ns(at) < end_ns
    }

    /// Begins a moment with a slow response that ended at `at` and belongs to no other.
    pub(super) fn begin(&self, at: Instant) {
        let length_ns = u64::try_from(LENGTH.as_nanos()).unwrap_or(u64::MAX);
        self.end_ns.fetch_max(self.since_epoch_ns(at).saturating_add(length_ns), Ordering::Relaxed);
    }

    fn since_epoch_ns(&self, at: Instant) -> u64 {
        let epoch = *self.epoch.get_or_init(|| at);
        u64::try_from(at.saturating_duration_since(epoch).as_nanos()).unwrap_or(u64::MAX)
    }
}
