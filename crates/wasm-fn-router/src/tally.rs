//! Counts without a lock how the invocations of one version in one stage ended.
//!
//! Latencies, waits and memory peaks go to log-linear histograms (the crate `histogram`). A value is reported
//! as the upper bound of its bucket: never too low, and too high by less than 3.2 % for latencies
//! ([`LATENCY`]) and by less than 12.5 % for waits and peaks.
//!
//! An empty tally takes about 300 bytes, others about 10 KiB; of thousands of versions, most are empty. Only
//! traps and traced requests take a lock.

mod distribution;
mod exemplar;
mod latencies;
mod trap_news;

use std::{
    sync::{
        Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use histogram::{AtomicHistogram, Config, Histogram};
use wasm_fn_core::Outcome;

pub use distribution::Distribution;
use exemplar::Exemplars;
pub use exemplar::LatencyExemplar;
pub use latencies::LatencyCounts;
pub use trap_news::{TrapNews, TrapReporter};

use crate::{Shielding, shielding::ShieldCounts};

/// Microseconds up to 2³² (71 minutes, above the longest timeout), 2⁵ buckets an octave: 7 KiB.
const LATENCY: Config = config(5, 32);

/// Microseconds up to 2²⁶ (67 seconds, above the longest queue wait), 2³ buckets an octave: 1.5 KiB.
const QUEUE_WAIT: Config = config(3, 26);

/// Pages of 64 KiB up to 2¹⁷ (8 GiB, above the largest memory), 2³ buckets an octave: 1 KiB.
const MEMORY: Config = config(3, 17);

/// Bytes of a WebAssembly page.
const PAGE_BYTES: u64 = 64 << 10;

/// Fingerprints of traps that one tally remembers, in 2 KiB. For a version with more different traps, no trap
/// counts as new.
const TRAPS_MAX: usize = 256;

const fn config(grouping_power: u8, max_value_power: u8) -> Config {
    match Config::new(grouping_power, max_value_power) {
        Ok(config) => config,
        Err(_) => panic!("the powers are constants and in order"),
    }
}

/// Lock-free counters of one version in one stage.
///
/// Counters only grow; readers subtract an earlier snapshot. Requests that asked for the version are counted
/// [apart](Self::of_overrides), so that they do not distort a comparison of versions.
#[derive(Debug, Default)]
pub struct Tally {
    outcomes: [AtomicU64; Outcome::ALL.len()],
    memory_peak_bytes_max: AtomicU64,
    shield: ShieldCounts,
    // The first record makes it; only that one can wait for another.
    histograms: OnceLock<Histograms>,
    // The first trap or traced request makes it.
    rare: Mutex<Option<Box<Rare>>>,
    // Hears of new fingerprints.
    news: Option<Box<TrapReporter>>,
    // The first override makes it.
    overrides: OnceLock<Box<Self>>,
}

/// What few tallies have.
#[derive(Debug, Default)]
struct Rare {
    // Invariant: each once, at most `TRAPS_MAX`.
    traps: Vec<u64>,
    exemplars: Exemplars,
}

#[derive(Debug)]
struct Histograms {
    latency: AtomicHistogram,
    /// Only of requests that waited. The others, which are nearly all, are counted by their outcome.
    queue_wait: AtomicHistogram,
    memory: AtomicHistogram,
}

/// How one invocation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvocationRecord {
    /// How it ended.
    pub outcome: Outcome,
    /// From the request's head to the end of the response, without the time that it waited for the client.
    pub latency: Duration,
    /// How long it queued for its place.
    pub queue_wait: Duration,
    /// Most linear memory of the instance, bytes.
    pub memory_peak_bytes: u64,
}

/// A [`Tally`] as read at one moment.
///
/// Counters are read one by one, so invocations that end meanwhile may show in some of them only.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TallySnapshot {
    outcomes: [u64; Outcome::ALL.len()],
    memory_peak_bytes_max: u64,
    shield: [u64; Shielding::ALL.len()],
    // None until something was recorded.
    latency: Option<Histogram>,
    queue_wait: Option<Histogram>,
    memory: Option<Histogram>,
}

impl Tally {
    /// An empty tally.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty tally that knows `traps`, of which it remembers the first 256. `news` hears of new ones from
    /// now on.
    pub fn knowing(traps: &[u64], news: TrapReporter) -> Self {
        let tally = Self::new();
        traps.iter().for_each(|&trap| tally.trapped(trap));
        Self { news: Some(Box::new(news)), ..tally }
    }

    /// Counts an invocation.
    ///
    /// Latency and memory count only if the version ran to its own end, not for [`Shed`](Outcome::Shed),
    /// [`Cancelled`](Outcome::Cancelled) and [`Internal`](Outcome::Internal): those would make the version
    /// look faster than it is. The wait always counts.
    pub fn record(&self, record: InvocationRecord) {
        self.outcomes[record.outcome.index()].fetch_add(1, Relaxed);
        let histograms = self.histograms.get_or_init(Histograms::default);
        if !record.queue_wait.is_zero() {
            add(&histograms.queue_wait, micros(record.queue_wait));
        }
        if !record.outcome.counts() {
            return;
        }
        add(&histograms.latency, micros(record.latency));
        add(&histograms.memory, record.memory_peak_bytes.div_ceil(PAGE_BYTES));
        // Peaks rarely rise. Reading first keeps the cache line shared between cores.
        if record.memory_peak_bytes > self.memory_peak_bytes_max.load(Relaxed) {
            self.memory_peak_bytes_max.fetch_max(record.memory_peak_bytes, Relaxed);
        }
    }

    /// Counts how the shield handled a failure of the version.
    pub fn shielded(&self, shielding: Shielding) {
        self.shield.count(shielding);
    }

    /// Remembers the [`fingerprint`](wasm_fn_core::Trap::fingerprint) of a trap if it is among the first 256
    /// different ones.
    pub fn trapped(&self, fingerprint: u64) {
        let mut rare = self.rare();
        let traps = &mut rare.get_or_insert_default().traps;
        if traps.len() < TRAPS_MAX && !traps.contains(&fingerprint) {
            traps.push(fingerprint);
            if let Some(news) = &self.news {
                news.report();
            }
        }
    }

    /// The fingerprints that [`trapped`](Self::trapped) remembers, each once, in the order of their first
    /// trap; at most 256.
    pub fn traps(&self) -> Vec<u64> {
        self.rare().as_ref().map(|rare| rare.traps.clone()).unwrap_or_default()
    }

    /// Remembers a traced request that was counted. It stands for others of about its latency until the next
    /// one.
    pub fn exemplify(&self, exemplar: LatencyExemplar) {
        self.rare().get_or_insert_default().exemplars.add(exemplar);
    }

    /// The requests that [`exemplify`](Self::exemplify) remembers, by latency; at most 32.
    pub fn exemplars(&self) -> Vec<LatencyExemplar> {
        self.rare().as_ref().map(|rare| rare.exemplars.read()).unwrap_or_default()
    }

    fn rare(&self) -> MutexGuard<'_, Option<Box<Rare>>> {
        self.rare.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The tally of requests that asked for the version. This tally does not include them.
    pub fn of_overrides(&self) -> &Self {
        self.overrides.get_or_init(Box::default)
    }

    /// A snapshot of [`of_overrides`](Self::of_overrides).
    pub fn overrides(&self) -> TallySnapshot {
        self.overrides.get().map(|tally| tally.snapshot()).unwrap_or_default()
    }

    /// How many invocations ended, and how many of them failed and are charged to the version. Takes
    /// nanoseconds.
    pub fn totals(&self) -> (u64, u64) {
        Outcome::ALL.iter().fold((0, 0), |(all, failed), outcome| {
            let count = self.outcomes[outcome.index()].load(Relaxed);
            (all + count, if outcome.is_failure() { failed + count } else { failed })
        })
    }

    /// The latencies that count. Takes about a microsecond.
    pub fn latencies(&self) -> LatencyCounts {
        let histograms = self.histograms.get();
        histograms.map(|histograms| LatencyCounts::of(&histograms.latency.load())).unwrap_or_default()
    }

    /// Reads all counters. Takes microseconds and about 10 KiB.
    pub fn snapshot(&self) -> TallySnapshot {
        let histograms = self.histograms.get();
        let outcomes = self.outcomes.each_ref().map(|count| count.load(Relaxed));
        TallySnapshot {
            outcomes,
            memory_peak_bytes_max: self.memory_peak_bytes_max.load(Relaxed),
            shield: self.shield.read(),
            latency: histograms.map(|histograms| histograms.latency.load()),
            queue_wait: histograms.map(|histograms| with_zeros(histograms.queue_wait.load(), outcomes)),
            memory: histograms.map(|histograms| histograms.memory.load()),
        }
    }
}

impl Default for Histograms {
    fn default() -> Self {
        Self {
            latency: AtomicHistogram::with_config(&LATENCY),
            queue_wait: AtomicHistogram::with_config(&QUEUE_WAIT),
            memory: AtomicHistogram::with_config(&MEMORY),
        }
    }
}

impl TallySnapshot {
    /// Invocations that ended with `outcome`.
    pub fn count(&self, outcome: Outcome) -> u64 {
        self.outcomes[outcome.index()]
    }

    /// Failures that the shield handled in this way.
    pub fn shielded(&self, shielding: Shielding) -> u64 {
        self.shield[shielding.index()]
    }

    /// Counts in the order of [`Outcome::index`].
    pub fn counts(&self) -> &[u64; Outcome::ALL.len()] {
        &self.outcomes
    }

    /// All invocations that ended.
    pub fn total(&self) -> u64 {
        self.outcomes.iter().sum()
    }

    /// Invocations whose failure is charged to the version.
    pub fn failures(&self) -> u64 {
        Outcome::ALL.iter().filter(|outcome| outcome.is_failure()).map(|&outcome| self.count(outcome)).sum()
    }

    /// The latency at `quantile` (0 to 1). `None` before the first invocation and for a quantile outside 0 to
    /// 1. At most 3.2 % too high, never too low.
    pub fn latency_quantile(&self, quantile: f64) -> Option<Duration> {
        upper_bound(self.latency.as_ref(), quantile).map(Duration::from_micros)
    }

    /// Invocations with a latency of at most `bound`, including all in the bucket of `bound`.
    pub fn latency_at_most(&self, bound: Duration) -> u64 {
        let bound = micros(bound);
        let buckets = self.latency.iter().flatten();
        buckets.take_while(|bucket| bucket.start() <= bound).map(|bucket| bucket.count()).sum()
    }

    /// The latencies that count, by `bounds` in ascending order.
    pub fn latencies(&self, bounds: &[Duration]) -> Distribution {
        Distribution::of(self.latency.as_ref(), bounds)
    }

    /// The waits for a place of all invocations, by `bounds` in ascending order.
    pub fn queue_waits(&self, bounds: &[Duration]) -> Distribution {
        Distribution::of(self.queue_wait.as_ref(), bounds)
    }

    /// Invocations whose latency counts.
    pub fn latency_count(&self) -> u64 {
        self.latency.as_ref().map_or(0, |latency| latency.as_slice().iter().sum())
    }

    /// The wait for a place at `quantile` (0 to 1); `None` before the first request. At most 12.5 % too high,
    /// never too low.
    pub fn queue_wait_quantile(&self, quantile: f64) -> Option<Duration> {
        upper_bound(self.queue_wait.as_ref(), quantile).map(Duration::from_micros)
    }

    /// The memory peak at `quantile` (0 to 1), bytes; `None` before the first invocation. At most 12.5 % and
    /// a page of 64 KiB too high, never too low.
    pub fn memory_peak_bytes_quantile(&self, quantile: f64) -> Option<u64> {
        upper_bound(self.memory.as_ref(), quantile).map(|pages| pages * PAGE_BYTES)
    }

    /// The highest memory peak so far, bytes. Exact.
    pub fn memory_peak_bytes_max(&self) -> u64 {
        self.memory_peak_bytes_max
    }

    /// The difference to `earlier`, a snapshot of the same tally.
    ///
    /// [`memory_peak_bytes_max`](Self::memory_peak_bytes_max) remains the maximum since the beginning.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut outcomes = self.outcomes;
        for (count, before) in outcomes.iter_mut().zip(earlier.outcomes) {
            *count = count.saturating_sub(before);
        }
        let mut shield = self.shield;
        for (count, before) in shield.iter_mut().zip(earlier.shield) {
            *count = count.saturating_sub(before);
        }
        Self {
            outcomes,
            memory_peak_bytes_max: self.memory_peak_bytes_max,
            shield,
            latency: difference(self.latency.as_ref(), earlier.latency.as_ref()),
            queue_wait: difference(self.queue_wait.as_ref(), earlier.queue_wait.as_ref()),
            memory: difference(self.memory.as_ref(), earlier.memory.as_ref()),
        }
    }
}

/// Whole microseconds, rounded up, so that a bucket's bound is never too low.
fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos().div_ceil(1000)).unwrap_or(u64::MAX)
}

/// Counts `value`; values above the largest count as the largest.
fn add(histogram: &AtomicHistogram, value: u64) {
    let max = (1 << histogram.config().max_value_power()) - 1;
    let counted = histogram.increment(value.min(max));
    debug_assert!(counted.is_ok(), "the largest value has a bucket");
}

/// Adds waits of zero to `waits` for all `outcomes` that it does not include.
fn with_zeros(mut waits: Histogram, outcomes: [u64; Outcome::ALL.len()]) -> Histogram {
    let waited: u64 = waits.as_slice().iter().sum();
    if let Some(zero) = waits.as_mut_slice().first_mut() {
        *zero += outcomes.iter().sum::<u64>().saturating_sub(waited);
    }
    waits
}

fn upper_bound(histogram: Option<&Histogram>, quantile: f64) -> Option<u64> {
    histogram?.quantile_bucket(quantile).ok().flatten().map(|bucket| bucket.end())
}

fn difference(later: Option<&Histogram>, earlier: Option<&Histogram>) -> Option<Histogram> {
    let mut difference = later?.clone();
    for (count, before) in difference.as_mut_slice().iter_mut().zip(earlier.iter().flat_map(|h| h.as_slice()))
    {
        *count = count.saturating_sub(*before);
    }
    Some(difference)
}

#[cfg(test)]
mod tests;
