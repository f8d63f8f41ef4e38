//! One test of a gate: a signal of a group of requests, and what it is compared with.

use wasm_fn_core::Weight;

use super::{
    Against, Arm, Batch, Counts, GateSpec, Group, bound,
    mixture::{EProcess, RUNS_MAX},
    spec::HISTORY_MIN,
};
use crate::{Event, Signal};

/// Share of requests that may be above a 99th percentile.
pub(super) const ABOVE_P99: f64 = 0.01;

/// Failure rate that a cohort may always have while its own past is unknown, because its users may differ
/// from others.
const COHORT_RATE_MIN: f64 = 0.05;

/// One signal's test on one group of requests.
#[derive(Clone, Debug)]
pub(super) struct Check {
    pub(super) group: Group,
    pub(super) signal: Signal,
    /// The logarithm of the e-value that fails.
    pub(super) log_threshold: f64,
    pub(super) null: Null,
    pub(super) process: EProcess,
}

/// What holds if the canary is not worse.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Null {
    /// Its rate is at most this multiple of stable's at the same time.
    OfStable(f64),
    /// Its rate is at most the baseline's at the same time.
    OfBaseline,
    /// Its rate is at most this, which comes from the past.
    Past(f64),
    /// Its rate is at most this ceiling.
    Ceiling(f64),
}

/// Independent bad events of one arm in one batch, by event and run: independent requests, and users, who
/// count in the runs in which they are new.
#[derive(Clone, Debug)]
pub(super) struct Units {
    single: [u64; Event::COUNT],
    // By the first run that counts them. All later runs count them too.
    users: [[u64; RUNS_MAX]; Event::COUNT],
}

/// The units of one batch, of every arm but the cohort.
#[derive(Clone, Debug)]
pub(super) struct ArmUnits {
    pub(super) canary: Units,
    pub(super) clustered: Units,
    pub(super) stable: Units,
    pub(super) baseline: Units,
}

impl Units {
    pub(super) fn of(counts: &Counts) -> Self {
        Self { single: Event::ALL.map(|event| counts.bad(event).units), users: [[0; RUNS_MAX]; Event::COUNT] }
    }

    /// Counts a user with `event` in the runs from `first` on.
    pub(super) fn add_user(&mut self, event: Event, first: usize) {
        if let Some(users) = self.users[event.index()].get_mut(first) {
            *users += 1;
        }
    }

    /// How many `event`s count in run `run`.
    fn in_run(&self, event: Event, run: usize) -> u64 {
        let users = self.users[event.index()].iter().take(run + 1);
        users.fold(self.single[event.index()], |sum, users| sum.saturating_add(*users))
    }

    /// Whether there is any of `event`.
    fn any(&self, event: Event) -> bool {
        self.single[event.index()] > 0 || self.users[event.index()].iter().any(|&users| users > 0)
    }
}

impl ArmUnits {
    /// The units of `arm`, in clustered responses or in the others. `None` for the cohort.
    pub(super) fn of_mut(&mut self, arm: Arm, clustered: bool) -> Option<&mut Units> {
        match arm {
            Arm::Canary if clustered => Some(&mut self.clustered),
            Arm::Canary => Some(&mut self.canary),
            Arm::Stable => Some(&mut self.stable),
            Arm::Baseline => Some(&mut self.baseline),
            Arm::Cohort => None,
        }
    }
}

impl Check {
    /// The test of `signal` on `group` with this part of `alpha`. `history` has stable's past and the
    /// cohort's own, for tests against the past, of which `pasts` gates have one each.
    pub(super) fn new(
        spec: &GateSpec,
        (group, signal, alpha): (Group, Signal, f64),
        beside_stable: bool,
        history: (&Counts, &Counts),
        pasts: f64,
    ) -> Self {
        let tolerate = spec.tolerate(signal).unwrap_or(1.0);
        // The tolerance of a percentile is in its threshold.
        let times = if signal.is_of_percentile() { 1.0 } else { tolerate };
        let (stable, cohort) = history;
        let by_past = |past: &Counts, min: f64| {
            // The past is known only approximately: half of alpha pays for an upper bound.
            let bound = bound::upper(past.bad(signal.event()).units, past.requests, alpha / 2.0 / pasts);
            let known = past.requests >= HISTORY_MIN;
            let rate = if known { (times * bound).max(min).min(1.0) } else { 1.0 };
            (Null::Past(rate), alpha / 2.0)
        };
        let (null, alpha) = match (signal, group) {
            (Signal::MaxErrorRate, _) => (Null::Ceiling(spec.max_error_rate.unwrap_or(1.0)), alpha),
            (Signal::MaxLatency, _) => (Null::Ceiling(ABOVE_P99), alpha),
            (_, Group::Placed) if beside_stable => {
                let null = if signal.is_of_percentile() { Null::OfBaseline } else { Null::OfStable(times) };
                (null, alpha)
            }
            (_, Group::Cohort) if cohort.requests >= HISTORY_MIN => by_past(cohort, 0.0),
            (_, Group::Cohort) => by_past(stable, COHORT_RATE_MIN),
            (_, Group::Placed | Group::Alone) => by_past(stable, 0.0),
        };
        Self { group, signal, log_threshold: -alpha.ln(), null, process: EProcess::default() }
    }

    /// Adds what happened in `batch`, except for the cohort. Returns whether the evidence may have grown.
    /// `silent` says whether stable has no requests.
    pub(super) fn observe(&mut self, batch: &Batch, units: &ArmUnits, silent: bool) -> bool {
        let event = self.signal.event();
        let canary = |run| units.canary.in_run(event, run);
        let all = |run| canary(run) + units.clustered.in_run(event, run);
        let baseline = |run| units.baseline.in_run(event, run);
        match self.null {
            Null::OfStable(tolerate) => {
                let Some(odds) = odds(batch.share, batch.share.complement()) else { return false };
                let misses = |run| units.stable.in_run(event, run) + baseline(run);
                self.process.update(tolerate * odds, |run| (all(run), misses(run)));
            }
            Null::OfBaseline => {
                let Some(odds) = odds(batch.share, batch.baseline_share) else { return false };
                self.process.update(odds, |run| (all(run), baseline(run)));
            }
            Null::Past(_) if self.group == Group::Alone && !silent => return false,
            Null::Past(rate) | Null::Ceiling(rate) if event.is_of_latency() => {
                // Slow responses of one batch were in flight at the same time: one cause, one hit. Those that
                // share the cause of an earlier one do not count. Both rules only make failing rarer.
                let most = if batch.stalled { 0 } else { 1 };
                self.by_rate(rate, batch.canary.good(event), |run| canary(run).min(most));
            }
            Null::Past(rate) | Null::Ceiling(rate) => {
                self.by_rate(rate, batch.canary.and(&batch.clustered).good(event), all);
            }
        }
        units.canary.any(event) || units.clustered.any(event)
    }

    /// Adds what a cohort did while stable failed at `stable_rate`. What fails for everybody is not charged
    /// to the cohort.
    pub(super) fn observe_cohort(&mut self, cohort: &Counts, units: &Units, stable_rate: f64) -> bool {
        let event = self.signal.event();
        let (rate, most) = match self.null {
            Null::Past(rate) => (rate.max(stable_rate), u64::MAX),
            Null::Ceiling(rate) if event.is_of_latency() => (rate, 1),
            Null::Ceiling(rate) => (rate, u64::MAX),
            Null::OfStable(_) | Null::OfBaseline => return false,
        };
        self.by_rate(rate, cohort.good(event), |run| units.in_run(event, run).min(most));
        units.any(event)
    }

    fn by_rate(&mut self, rate: f64, good: u64, hits: impl Fn(usize) -> u64) {
        self.process.update(rate / (1.0 - rate), |run| (hits(run), good));
    }

    /// Whether it fails the canary with these counts. `cost` is added to the threshold.
    pub(super) fn failed(&self, canary: &Counts, cost: f64) -> bool {
        // A 99th percentile is not above its threshold while fewer than 1 % of the requests are, however rare
        // they are on stable. This only makes failing rarer, so the guarantee holds.
        let bad = canary.bad(self.signal.event());
        let above = !self.signal.is_of_p99() || bad.requests as f64 > ABOVE_P99 * canary.requests as f64;
        above && self.process.reaches(self.log_threshold + cost)
    }

    pub(super) fn against(&self) -> Against {
        match self.null {
            Null::OfStable(_) => Against::Stable,
            Null::OfBaseline => Against::Baseline,
            Null::Past(_) => Against::Past,
            Null::Ceiling(_) => Against::Nothing,
        }
    }
}

/// The odds of shares `canary` to `other`. `None` if one of them is zero, because then every event falls on
/// the other side.
pub(super) fn odds(canary: Weight, other: Weight) -> Option<f64> {
    let some = canary != Weight::ZERO && other != Weight::ZERO;
    some.then(|| f64::from(canary.basis_points()) / f64::from(other.basis_points()))
}
