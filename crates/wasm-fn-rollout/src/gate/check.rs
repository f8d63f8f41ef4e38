//! One test of a gate: a signal of a group of requests, held to what it is compared with.

use wasm_fn_core::Weight;

use super::{
    Against, Arm, Batch, Counts, GateSpec, Group, bound,
    mixture::{EProcess, RUNS_MAX},
    spec::HISTORY_MIN,
};
use crate::{Event, Signal};

/// Share of requests that may lie above a 99th percentile.
pub(super) const ABOVE_P99: f64 = 0.01;

/// Rate of failures that a cohort may have in any case where its own past is not known: its users need not be
/// like others.
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

/// What holds while the canary is not worse.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Null {
    /// Its rate is at most this multiple of stable's, in the same moment.
    OfStable(f64),
    /// Its rate is at most the baseline's, in the same moment.
    OfBaseline,
    /// Its rate is at most this, which comes from the past.
    Past(f64),
    /// Its rate is at most this ceiling.
    Ceiling(f64),
}

/// Independent bad events of one arm in one batch, by event and run: those that are units by themselves, and
/// users, who count in the runs in which they are new.
#[derive(Clone, Debug)]
pub(super) struct Units {
    single: [u64; Event::COUNT],
    // By the first run that counts them; all later ones do too.
    users: [[u64; RUNS_MAX]; Event::COUNT],
}

/// The units in one batch of every arm but the cohort.
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
    /// Those of `arm`, of clustered responses or of the others; `None` for the cohort.
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
    /// The test of `signal` on `group` with this part of `alpha`; `history` is what it is compared with where
    /// that is the past: stable's, and the cohort's own.
    pub(super) fn new(
        spec: &GateSpec,
        (group, signal, alpha): (Group, Signal, f64),
        beside_stable: bool,
        history: (&Counts, &Counts),
    ) -> Self {
        let tolerate = spec.tolerate(signal).unwrap_or(1.0);
        // The tolerance of a percentile is in its threshold.
        let times = if signal.is_of_percentile() { 1.0 } else { tolerate };
        let (stable, cohort) = history;
        let by_past = |past: &Counts, min: f64| {
            // The past is known only so well: half of alpha pays for an upper bound of it.
            let bound = bound::upper(past.bad(signal.event()).units, past.requests, alpha / 2.0);
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

    /// Takes what happened in `batch`, of all but the cohort; whether that may have raised its evidence.
    /// `silent` is whether nothing is heard of stable.
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
                // Slow responses of one batch were under way at the same time: one cause, one hit. Those with
                // the cause of an earlier one are none. Both only make failing rarer.
                let most = if batch.stalled { 0 } else { 1 };
                self.by_rate(rate, batch.canary.good(event), |run| canary(run).min(most));
            }
            Null::Past(rate) | Null::Ceiling(rate) => {
                self.by_rate(rate, batch.canary.and(&batch.clustered).good(event), all);
            }
        }
        units.canary.any(event) || units.clustered.any(event)
    }

    /// The same of a cohort, which did `cohort` while stable failed at `stable_rate`: what fails for
    /// everybody is not the cohort's.
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

    /// Whether it fails a canary that did `canary`.
    pub(super) fn failed(&self, canary: &Counts) -> bool {
        // A 99th percentile is not above its threshold while fewer lie above than it allows, however rare
        // they are on stable. This only makes failing rarer, so the guarantee stands.
        let bad = canary.bad(self.signal.event());
        let above = !self.signal.is_of_p99() || bad.requests as f64 > ABOVE_P99 * canary.requests as f64;
        above && self.process.reaches(self.log_threshold)
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

/// The odds of shares `canary` to `other`; `None` where one of them is nothing, so that every event falls on
/// the only side there is.
pub(super) fn odds(canary: Weight, other: Weight) -> Option<f64> {
    let some = canary != Weight::ZERO && other != Weight::ZERO;
    some.then(|| f64::from(canary.basis_points()) / f64::from(other.basis_points()))
}
