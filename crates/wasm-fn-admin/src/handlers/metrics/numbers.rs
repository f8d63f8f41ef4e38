//! What the metrics tell of a version, in a tenth of the memory of its tally.

use std::time::Duration;

use wasm_fn_core::Outcome;
use wasm_fn_router::{Distribution, Shielding, Tally};

/// Upper bounds of latencies: a small function answers within a tenth of a millisecond, and a request may
/// take an hour.
pub(super) const LATENCIES: [Duration; 17] = [
    Duration::from_micros(100),
    Duration::from_micros(250),
    Duration::from_micros(500),
    Duration::from_millis(1),
    Duration::from_micros(2500),
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(25),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_millis(2500),
    Duration::from_secs(5),
    Duration::from_secs(10),
    Duration::from_secs(60),
];

/// Upper bounds of waits. Most requests do not wait.
pub(super) const QUEUE_WAITS: [Duration; 6] = [
    Duration::from_micros(100),
    Duration::from_millis(1),
    Duration::from_millis(10),
    Duration::from_millis(100),
    Duration::from_secs(1),
    Duration::from_secs(10),
];

/// Counts by outcome.
type Outcomes = [u64; Outcome::ALL.len()];

/// The numbers of a version in a stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Numbers {
    pub(super) requests: Outcomes,
    /// Those that asked for the version.
    pub(super) overrides: Outcomes,
    /// Whether a rollout moves to the version.
    pub(super) is_canary: bool,
    pub(super) shield: [u64; Shielding::ALL.len()],
    pub(super) latencies: Distribution,
    pub(super) queue_waits: Distribution,
    pub(super) memory_peak_bytes: u64,
}

impl Default for Numbers {
    fn default() -> Self {
        let none = |bounds: usize| Distribution { counts: vec![0; bounds + 1], sum: Duration::ZERO };
        Self {
            requests: [0; Outcome::ALL.len()],
            overrides: [0; Outcome::ALL.len()],
            is_canary: false,
            shield: [0; Shielding::ALL.len()],
            latencies: none(LATENCIES.len()),
            queue_waits: none(QUEUE_WAITS.len()),
            memory_peak_bytes: 0,
        }
    }
}

impl Numbers {
    /// Most series of one version.
    pub(super) const SERIES_MAX: usize = 2 * Outcome::ALL.len()
        + Shielding::ALL.len()
        + LATENCIES.len()
        + QUEUE_WAITS.len()
        // The last bucket, the sum and the count of each histogram, and the peak.
        + 7;

    /// The numbers in `tally`.
    pub(super) fn read(tally: &Tally, is_canary: bool) -> Self {
        let snapshot = tally.snapshot();
        Self {
            requests: *snapshot.counts(),
            overrides: *tally.overrides().counts(),
            is_canary,
            shield: Shielding::ALL.map(|shielding| snapshot.shielded(shielding)),
            latencies: snapshot.latencies(&LATENCIES),
            queue_waits: snapshot.queue_waits(&QUEUE_WAITS),
            memory_peak_bytes: snapshot.memory_peak_bytes_max(),
        }
    }

    /// Whether a request ended that did not ask for the version.
    pub(super) fn has_requests(&self) -> bool {
        self.requests.iter().any(|&count| count > 0)
    }

    /// Whether a request ended that asked for it.
    pub(super) fn has_overrides(&self) -> bool {
        self.overrides.iter().any(|&count| count > 0)
    }

    /// Whether the shield has something to count: a canary from its beginning, so that its first failure
    /// shows as an increase; others only if they failed as canaries.
    pub(super) fn has_shield(&self) -> bool {
        self.is_canary || self.shield.iter().any(|&count| count > 0)
    }

    /// Whether there is nothing to tell.
    pub(super) fn is_empty(&self) -> bool {
        !(self.is_canary || self.has_requests() || self.has_overrides())
    }

    /// How many series it has.
    pub(super) fn series(&self) -> usize {
        let of_outcomes = |has| if has { Outcome::ALL.len() } else { 0 };
        let shield = if self.has_shield() { Shielding::ALL.len() } else { 0 };
        let times = if self.has_requests() { LATENCIES.len() + QUEUE_WAITS.len() + 7 } else { 0 };
        of_outcomes(self.has_requests()) + of_outcomes(self.has_overrides()) + shield + times
    }

    /// Adds by how much `now` is more than `before`. If it is less, it began again, and all of it counts.
    pub(super) fn add_growth(&mut self, now: &Self, before: &Self) {
        let began_again = now.requests.iter().zip(&before.requests).any(|(now, before)| now < before);
        let nothing = Self::default();
        let before = if began_again { &nothing } else { before };
        add(&mut self.requests, &now.requests, &before.requests);
        add(&mut self.overrides, &now.overrides, &before.overrides);
        add(&mut self.shield, &now.shield, &before.shield);
        let pairs = [
            (&mut self.latencies, &now.latencies, &before.latencies),
            (&mut self.queue_waits, &now.queue_waits, &before.queue_waits),
        ];
        for (sum, now, before) in pairs {
            add(&mut sum.counts, &now.counts, &before.counts);
            sum.sum += now.sum.saturating_sub(before.sum);
        }
        self.memory_peak_bytes = self.memory_peak_bytes.max(now.memory_peak_bytes);
    }
}

/// Adds the differences of `now` and `before` to `sums`.
fn add(sums: &mut [u64], now: &[u64], before: &[u64]) {
    for ((sum, now), before) in sums.iter_mut().zip(now).zip(before) {
        *sum += now.saturating_sub(*before);
    }
}
