//! The gate: whether a canary is worse than stable, asked after every batch of responses.
//!
//! A signal is a stream of bad events. Given that one happened, and that the canary's share of requests
//! was `w`, it hit the canary with a probability of at most `p = tolerate * w / (tolerate * w + 1 - w)`,
//! unless the canary's rate is more than `tolerate` times stable's. An [`EProcess`] collects the evidence
//! against that. It needs no model of the traffic: how many requests come, and how the rate of bad events
//! moves for both sides alike, cancels out.
//!
//! Latency and memory depend on how many requests a version gets and for how long it has been there. They are
//! compared with the baseline's: the same test, with the baseline's share in place of stable's. Latency is
//! tested at the 99th percentile and at the median: few requests are above the one, and a version that is
//! slower throughout soon has many above the other.
//!
//! Alpha is divided ([`GateSpec::budget`]), so a canary that is no worse fails with a probability of at most
//! alpha, over all tests of all gates of its rollout. Two rules are outside alpha because they guarantee
//! something else: the [`Floor`], where there is nothing to compare with, and the rule that nothing passes
//! with too few requests or voices.

mod batch;
mod bound;
mod check;
mod deferred;
mod evidence;
mod floor;
mod mixture;
mod spec;
mod state;
mod traps;
mod users;
mod verdict;

use wasm_fn_core::Weight;

pub use batch::{Arm, Bad, Batch, Counts, Response, SideLimits, Thresholds};
pub use evidence::{Against, Evidence, Factor, GateFailure, SignalEvidence, Verdict, Waiting};
pub use mixture::{EProcess, RATIOS, RUNS_MAX, Run};
pub use spec::{AlphaBudget, Floor, GateError, GateScope, GateSpec, Group, NODES_MAX};
pub use state::{CheckState, GateState, StateError};
pub use users::{UserSeen, UserSet};

use crate::{Event, Signal};
use check::{ArmUnits, Check, Units};
use deferred::Deferred;
use floor::Recent;
use traps::{Chance, Traps};

/// Users with bad events that are remembered.
const USERS_MAX: usize = 50_000;

/// Users above the median that are remembered. They are soon so many that they would displace the others.
const USERS_ABOVE_MEDIAN_MAX: usize = 10_000;

/// Stable is silent if it has fewer than one in this many requests of a step.
const SILENT_BELOW: u64 = 100;

/// Requests of the canary in a step before stable can be called silent.
const SILENT_AFTER: u64 = 100;

/// Requests of stable over which its rate of failures is averaged, for cohorts.
const RECENT: f64 = 30.0;

/// What the canary is compared with.
#[derive(Clone, Debug, PartialEq)]
pub enum Baseline {
    /// Stable's responses in the same batches, and in some tests what was before.
    Concurrent(Box<PastCounts>),
    /// What the previous version did before. After a switch there is nothing else to compare with.
    ///
    /// The past rate is known only approximately: half of a signal's alpha pays for an upper bound. What has
    /// changed for everybody since then is charged to the canary. Under sticky routing the counts must come
    /// from a period about as long as the canary's will be, since each user counts once.
    Past(Counts),
}

/// What happened before the rollout. Responses in it are slow or large by the baseline's limits.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PastCounts {
    /// What stable did.
    pub stable: Counts,
    /// What stable did for the users whom a rule now places on the canary.
    pub cohort: Counts,
}

/// A trap of one invocation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trapped {
    /// Which arm had it.
    pub arm: Arm,
    /// Fingerprint of its backtrace.
    pub fingerprint: u64,
    /// As in [`Response`].
    pub user: Option<u64>,
    /// The canary's share when the request began.
    pub share: Weight,
    /// Requests of the arm that have begun so far.
    pub begun: u64,
}

/// What a gate has seen, and its evidence.
#[derive(Clone, Debug)]
pub struct Gate {
    spec: GateSpec,
    baseline: Baseline,
    checks: Vec<Check>,
    traps_alpha: f64,
    users: UserSet,
    users_above_median: UserSet,
    /// The newest run's.
    start: u32,
    /// Runs that started before this learn nothing more from users, who are on other sides now.
    users_since: u32,
    canary: Counts,
    /// Without the baseline.
    stable: Counts,
    beside: Counts,
    cohort: Counts,
    deferred: Deferred,
    /// The newest requests of the cohort, in any step: its users have no share that a step could change.
    recent_cohort: Recent,
    step: Step,
    /// Whether nobody is on the canary by chance, so that the cohort decides whether the step passes.
    by_cohort: bool,
    stable_rate: f64,
    traps: Traps,
    /// What a failure needs beyond the thresholds. It is infinite while the gate must not fail.
    cost: f64,
    failure: Option<GateFailure>,
}

/// What happened since the last [`step`](Gate::step).
#[derive(Clone, Copy, Debug)]
struct Step {
    share: Weight,
    canary: u64,
    stable: u64,
    cohort_requests: u64,
    /// Of the cohort's, those that failed.
    cohort_failed: u64,
    voices: u64,
    alone: Recent,
    /// Whether stable has fallen silent in it.
    silenced: bool,
}

impl Step {
    const NEW: Self = Self {
        share: Weight::ZERO,
        canary: 0,
        stable: 0,
        cohort_requests: 0,
        cohort_failed: 0,
        voices: 0,
        alone: Recent::NONE,
        silenced: false,
    };
}

impl Gate {
    /// Gate number `gate_no` of a rollout, from 1, without evidence.
    ///
    /// # Errors
    /// `spec` has a value out of bounds, or no signal.
    pub fn new(spec: GateSpec, gate_no: u32, baseline: Baseline) -> Result<Self, GateError> {
        Self::scoped(spec, gate_no, baseline, GateScope::Single)
    }

    /// The same with the part of alpha that belongs to `scope`.
    ///
    /// # Errors
    /// `spec` has a value out of bounds, or no signal.
    pub fn scoped(
        spec: GateSpec,
        gate_no: u32,
        baseline: Baseline,
        scope: GateScope,
    ) -> Result<Self, GateError> {
        spec.check()?;
        let beside_stable = matches!(baseline, Baseline::Concurrent(_));
        let budget = spec.budget(gate_no, beside_stable);
        let none = Counts::default();
        let history = match &baseline {
            Baseline::Concurrent(history) => (&history.stable, &history.cohort),
            Baseline::Past(past) => (past, &none),
        };
        let (part, pasts) = (scope.part(), scope.pasts());
        let check = |&(group, signal, alpha): &(Group, Signal, f64)| {
            Check::new(&spec, (group, signal, alpha * part), beside_stable, history, pasts)
        };
        let checks = budget.tests.iter().map(check).collect();
        Ok(Self {
            spec,
            checks,
            traps_alpha: budget.traps * part,
            users: UserSet::new(USERS_MAX),
            users_above_median: UserSet::new(USERS_ABOVE_MEDIAN_MAX),
            start: 0,
            users_since: 0,
            canary: Counts::default(),
            stable: Counts::default(),
            beside: Counts::default(),
            cohort: Counts::default(),
            deferred: Deferred::default(),
            recent_cohort: Recent::NONE,
            step: Step::NEW,
            by_cohort: false,
            stable_rate: 0.0,
            traps: Traps::default(),
            cost: if scope == GateScope::Joint { f64::INFINITY } else { 0.0 },
            failure: None,
            baseline,
        })
    }

    /// Begins a step: its requests are counted from zero, evidence is kept, and a new run looks for a fault
    /// that begins here.
    ///
    /// Only the new run learns from users under the new share. On a worse stable, most users have had an
    /// event already, so those who are left would count against the canary.
    pub fn step(&mut self) {
        self.step = Step::NEW;
        self.renew();
        self.users_since = self.start;
    }

    /// Sets whether the current step has nobody on the canary by chance.
    pub fn set_by_cohort(&mut self, by_cohort: bool) {
        self.by_cohort = by_cohort;
    }

    /// Begins a run that looks for a fault that begins now. Call it from time to time.
    pub fn renew(&mut self) {
        self.start = self.start.saturating_add(1);
        let start = self.start;
        self.checks.iter_mut().for_each(|check| check.process.restart(start));
    }

    /// Records a trap. It can fail the gate at once, since no later outcome weakens it.
    ///
    /// Stable's traps from before the rollout belong here too: a trap is novel if stable never had it.
    pub fn trap(&mut self, trapped: &Trapped) {
        let share = f64::from(trapped.share.basis_points()) / f64::from(Weight::FULL.basis_points());
        let chance = match (trapped.arm, &self.baseline) {
            (Arm::Stable | Arm::Baseline, _) => return self.traps.know(trapped.fingerprint),
            (Arm::Canary, Baseline::Concurrent(_)) if share > 0.0 && share < 1.0 => Chance::Share(share),
            (_, Baseline::Concurrent(history)) => {
                let stable = history.stable.and(&self.stable).and(&self.beside).requests;
                Chance::Past { canary: trapped.begun, stable }
            }
            (_, Baseline::Past(past)) => Chance::Past { canary: trapped.begun, stable: past.requests },
        };
        let alpha = self.traps_alpha * (-self.cost).exp();
        let hits = self.traps.take(trapped.fingerprint, trapped.user, chance, alpha);
        if let Some(hits) = hits {
            self.failure.get_or_insert(GateFailure::NovelTrap { fingerprint: trapped.fingerprint, hits });
        }
    }

    /// Independent hits of a trap that stable never had. `None` for any other trap.
    pub fn novel_hits(&self, fingerprint: u64) -> Option<u64> {
        self.traps.novel_hits(fingerprint)
    }

    /// Whether stable has had a trap with `fingerprint`.
    pub(crate) fn knows_trap(&self, fingerprint: u64) -> bool {
        self.traps.knows(fingerprint)
    }

    /// The traps that stable has had.
    pub(crate) fn known_traps(&self) -> impl Iterator<Item = u64> {
        self.traps.known()
    }

    /// Lets the gate fail the canary, as that of the rollout's leader number `term`, from 1. Evidence that it
    /// has already counts at once.
    pub fn lead(&mut self, term: u32) {
        self.cost = -spec::term_part(term).ln();
        self.conclude(self.failing());
    }

    /// Keeps the gate from failing the canary until it [leads](Self::lead) again. A failure stays.
    pub fn follow(&mut self) {
        self.cost = f64::INFINITY;
    }

    /// What is added to the thresholds that people see.
    fn finite_cost(&self) -> f64 {
        if self.cost.is_finite() { self.cost } else { 0.0 }
    }

    /// Adds what happened since the last batch. A failure is final, whatever follows.
    pub fn observe(&mut self, batch: &Batch) {
        let silent = self.is_silent(batch.share);
        let failed = self.absorb(batch, true);
        self.conclude(failed);
        self.note_silence(silent, batch.share);
    }

    /// The same for batches that are one piece of evidence, each with whether its requests count for the
    /// current step. No test is asked before it has taken all of them.
    pub(crate) fn observe_all(&mut self, batches: &[(Batch, bool)]) {
        let cost = std::mem::replace(&mut self.cost, f64::INFINITY);
        for (batch, of_step) in batches {
            let silent = self.is_silent(batch.share);
            self.absorb(batch, *of_step);
            self.note_silence(silent, batch.share);
        }
        self.cost = cost;
        self.conclude(self.failing());
    }

    /// Adds `batch` without a verdict. Its requests count for the current step if they are `of_step`. Returns
    /// the first test that fails the canary by it.
    fn absorb(&mut self, batch: &Batch, of_step: bool) -> Option<(Group, Signal)> {
        let silent = self.is_silent(batch.share);
        let mut units = ArmUnits {
            canary: Units::of(&batch.canary),
            clustered: Units::of(&batch.clustered),
            stable: Units::of(&batch.stable),
            baseline: Units::of(&batch.baseline),
        };
        for arm in [Arm::Canary, Arm::Stable, Arm::Baseline, Arm::Cohort] {
            self.counts_mut(arm).add(&batch.of(arm));
        }
        for (user, arm, clustered, event) in batch.users() {
            if let Some(units) = units.of_mut(arm, clustered)
                && let Some(first) = self.take_user(user, arm, event)
            {
                units.add_user(event, first);
            }
        }
        if of_step {
            self.count_for_step(batch);
        }
        let mut failed = None;
        for check in self.checks.iter_mut().filter(|check| check.group != Group::Cohort) {
            // Only hits raise the evidence, so a batch without hits cannot fail the gate.
            let rose = check.observe(batch, &units, silent);
            if rose && check.failed(&self.canary, self.cost) && failed.is_none() {
                failed = Some((check.group, check.signal));
            }
        }
        failed = failed.or(self.take_cohort(batch));
        let alone = silent || matches!(self.baseline, Baseline::Past(_));
        self.take_floored(batch, alone);
        self.take_stable(&batch.stable.and(&batch.baseline));
        failed
    }

    /// The first test whose evidence is enough.
    fn failing(&self) -> Option<(Group, Signal)> {
        let of = |check: &Check| if check.group == Group::Cohort { &self.cohort } else { &self.canary };
        let failing = self.checks.iter().find(|check| check.failed(of(check), self.cost));
        failing.map(|check| (check.group, check.signal))
    }

    /// Begins new runs if stable falls silent: users who had events while it had requests can count again.
    fn note_silence(&mut self, before: bool, share: Weight) {
        if !before && !self.step.silenced && self.is_silent(share) {
            self.step.silenced = true;
            self.renew();
        }
    }

    /// Fails the canary if `failed` is a test, or if it is below the floor.
    fn conclude(&mut self, failed: Option<(Group, Signal)>) {
        if self.failure.is_none() {
            let by_check = failed
                .and_then(|which| self.checks.iter().find(|check| (check.group, check.signal) == which));
            let by_check = by_check.map(|check| GateFailure::Signal(self.evidence_of(check)));
            self.failure = by_check.or_else(|| self.below_floor());
        }
    }

    fn count_for_step(&mut self, batch: &Batch) {
        self.step.share = batch.share;
        self.step.canary = self.step.canary.saturating_add(batch.of(Arm::Canary).requests);
        self.step.stable = self.step.stable.saturating_add(batch.stable.and(&batch.baseline).requests);
        self.step.cohort_requests = self.step.cohort_requests.saturating_add(batch.cohort.requests);
        let cohort_failed = batch.cohort.bad(Event::FailedAtAll).requests;
        self.step.cohort_failed = self.step.cohort_failed.saturating_add(cohort_failed);
        self.step.voices = self.step.voices.saturating_add(batch.voices);
    }

    /// Requests of the canary since the last [`step`](Self::step), or of the cohort in a cohort's step.
    pub fn step_requests(&self) -> u64 {
        if self.by_cohort { self.step.cohort_requests } else { self.step.canary }
    }

    /// Independent users and requests of the canary since the last [`step`](Self::step).
    pub fn voices(&self) -> u64 {
        self.step.voices
    }

    /// What the canary did.
    pub fn canary(&self) -> &Counts {
        &self.canary
    }

    /// Records that `event` happened to `user`. Returns the first run in which it counts.
    fn take_user(&mut self, user: u64, arm: Arm, event: Event) -> Option<usize> {
        let users = if event == Event::AboveMedian { &mut self.users_above_median } else { &mut self.users };
        let before = match users.take(user, event, self.start) {
            UserSeen::Unsampled => return None,
            UserSeen::First => None,
            UserSeen::Since(before) => Some(before),
        };
        if before.is_none() {
            self.counts_mut(arm).add_user(event);
        }
        // All tests start their runs together.
        let runs = self.checks.first()?.process.runs();
        // The runs that started after it last happened, among those that still learn from users.
        let from = before.map_or(0, |before| before + 1).max(self.users_since);
        Some(runs.partition_point(|run| run.start < from))
    }

    /// Queues the cohort's results until stable has had requests, and judges those that have waited long
    /// enough. Returns the test that failed.
    fn take_cohort(&mut self, batch: &Batch) -> Option<(Group, Signal)> {
        let cohort = batch.users().filter(|(_, arm, ..)| *arm == Arm::Cohort);
        let users: Vec<_> = cohort.map(|(user, _, _, event)| (user, event)).collect();
        if batch.cohort != Counts::default() || !users.is_empty() {
            self.deferred.push(batch.cohort, users, self.stable_rate);
        }
        self.deferred.note(&batch.stable.and(&batch.baseline), batch.cohort.requests);
        let mut failed = None;
        while let Some(batch) = self.deferred.pop() {
            let mut units = Units::of(&batch.cohort);
            for &(user, event) in &batch.users {
                if let Some(first) = self.take_user(user, Arm::Cohort, event) {
                    units.add_user(event, first);
                }
            }
            for check in self.checks.iter_mut().filter(|check| check.group == Group::Cohort) {
                let rose = check.observe_cohort(&batch.cohort, &units, batch.stable_rate());
                if rose && check.failed(&self.cohort, self.cost) && failed.is_none() {
                    failed = Some((check.group, check.signal));
                }
            }
        }
        failed
    }

    fn counts_mut(&mut self, arm: Arm) -> &mut Counts {
        match arm {
            Arm::Canary => &mut self.canary,
            Arm::Stable => &mut self.stable,
            Arm::Baseline => &mut self.beside,
            Arm::Cohort => &mut self.cohort,
        }
    }

    /// Updates stable's failure rate, an exponential average.
    fn take_stable(&mut self, stable: &Counts) {
        if stable.requests > 0 {
            let rate = stable.bad(Event::FailedAtAll).requests as f64 / stable.requests as f64;
            let kept = (-(stable.requests as f64) / RECENT).exp();
            self.stable_rate = kept * self.stable_rate + (1.0 - kept) * rate;
        }
    }

    /// Whether stable has so few requests at `share` that the canary must be compared with the past.
    fn is_silent(&self, share: Weight) -> bool {
        let Step { canary, stable, .. } = self.step;
        let beside = matches!(self.baseline, Baseline::Concurrent(_));
        let unheard = canary >= SILENT_AFTER && stable.saturating_mul(SILENT_BELOW) < canary;
        beside && (share == Weight::FULL || unheard)
    }

    /// Counts what the floor judges: what the canary did while there was nothing to compare it with.
    fn take_floored(&mut self, batch: &Batch, alone: bool) {
        if alone {
            self.step.alone.take(&batch.of(Arm::Canary), &self.spec.floor);
        }
        self.recent_cohort.take(&batch.cohort, &self.spec.floor);
    }
}

#[cfg(test)]
mod tests;
