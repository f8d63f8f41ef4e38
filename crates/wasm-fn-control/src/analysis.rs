//! The gate of a rollout in operation: it observes every response on the request's own task, and gives the
//! verdict.
//!
//! A good response only increments a counter. A bad one goes to the gate at once, so the verdict is known
//! before the next request is routed. If the gate decides to roll back, it withholds the canary from that
//! moment on, and the journal and the table follow.

mod history;
mod joined;
mod registry;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use wasm_fn_core::{Outcome, Side, VersionNo, Weight};
use wasm_fn_rollout::{
    Arm, Baseline, Class, Counts, Ending, Event, Feed, Gate, GateSpec, GateState, OnFail, PastCounts, Place,
    Stretch, Thresholds, Trapped, Verdict,
};
use wasm_fn_router::{
    Assignment, Observation, ObservationTicket, Placement, Recalled, Tally, TallySnapshot, TrafficObserver,
};

pub(crate) use self::history::{CohortRecord, past};
pub(crate) use self::joined::ClusterNode;
pub(crate) use self::registry::Analyses;
use self::{
    history::{PERCENTILE_MIN, limits},
    joined::{Joined, number},
};
use crate::{
    clock,
    report::{Report, SideReport, SignalReport, TrapReport},
    state::{Check, Rollout, RolloutId, RolloutSpec},
};

/// How many ids of failed requests are kept.
const FAILED_MAX: usize = 5;

/// How many traps of the canary are kept with their backtraces.
const TRAPS_MAX: usize = 8;

/// How long one check may take.
const CHECK_TIME_MAX: Duration = Duration::from_secs(30);

/// The rollout is over.
const LEFT: u8 = 1;

/// The node is out of touch with its cluster.
const APART: u8 = 2;

/// The canary cannot be called on the node yet.
const UNPREPARED: u8 = 4;

/// The analysis by one gate of one rollout.
///
/// The fields that every request reads come first and next to each other, because few of them are in a cache
/// then.
#[repr(C)]
pub(crate) struct Analysis {
    withheld: AtomicBool,
    // Whether someone waits for a verdict other than `wait`.
    awaited: AtomicBool,
    failed: AtomicBool,
    // Whether a failure rolls everybody back.
    rolls_back: bool,
    common: Arc<Common>,
    feed: Feed,
    id: RolloutId,
    gate_no: u32,
    spec: GateSpec,
    plan: Arc<RolloutSpec>,
    // Whether the canary can only be compared with the previous version's past.
    past: bool,
    stretches: AtomicU32,
    changed: Arc<Notify>,
    checked: OnceLock<Result<(), String>>,
    checking: AtomicBool,
    tallies: Tallies,
    // The tally of the baseline, and how many of its requests have ended.
    baseline: Tally,
    baseline_ended: AtomicU64,
    notes: Mutex<Notes>,
    // The evidence of all nodes, if there are others.
    joined: Option<Box<Joined>>,
    // Whether that has failed.
    judged: AtomicBool,
}

/// The state that all gates of one rollout share, because requests that began under an earlier gate may still
/// run or hold its table.
#[derive(Default)]
struct Common {
    /// Why no more requests go to the canary, whatever its gate says: a sum of [`LEFT`],
    /// [`APART`] and [`UNPREPARED`].
    kept_out: AtomicU8,
    recall: CancellationToken,
}

/// The tallies of both sides, and snapshots of them from when the gate began.
pub(crate) struct Tallies {
    pub(crate) canary: Arc<Tally>,
    pub(crate) base: Arc<Tally>,
    /// The tally of the base for users whom a cohort rule would place on the canary.
    pub(crate) cohort: Arc<Tally>,
    canary_before: TallySnapshot,
    base_before: TallySnapshot,
}

/// Details for people, besides the numbers.
struct Notes {
    place: Place,
    failed: Vec<u128>,
    traps: BTreeMap<u64, Arc<str>>,
}

/// Reports the requests of one table to an [`Analysis`]. The shares are the same for all of them.
pub(crate) struct TableObserver {
    analysis: Arc<Analysis>,
    no: u32,
    share: Weight,
    baseline_share: Weight,
    // An answer that takes longer counts as a timeout, on both sides, because the shield gives up on the
    // canary then.
    fallback_after: Option<Duration>,
}

impl Tallies {
    /// The tallies of both sides, with snapshots from now.
    pub(crate) fn new(canary: Arc<Tally>, base: Arc<Tally>, cohort: Arc<Tally>) -> Self {
        let (canary_before, base_before) = (canary.snapshot(), base.snapshot());
        Self { canary, base, cohort, canary_before, base_before }
    }
}

impl Analysis {
    /// The analysis of `rollout`. It continues from the stored state of the gate.
    pub(crate) fn new(rollout: &Rollout, tallies: Tallies, changed: Arc<Notify>) -> Self {
        let gate = Gate::new(rollout.spec.gate().clone(), rollout.gate_no, baseline(rollout, &tallies));
        let gate = gate.expect("a rollout's gate was checked");
        // A stored state does not fit if it is for other signals than the gate has now.
        let fresh = gate.clone();
        let mut gate = rollout.gate.clone().and_then(|state| gate.resume(state).ok()).unwrap_or(fresh);
        know(&mut gate, tallies.base.traps());
        Self::with(rollout, gate, tallies, changed, |feed| feed, None)
    }

    /// The analysis of `rollout` by `gate`, whose feed is made complete by `complete`.
    fn with(
        rollout: &Rollout,
        gate: Gate,
        tallies: Tallies,
        changed: Arc<Notify>,
        complete: impl FnOnce(Feed) -> Feed,
        joined: Option<Box<Joined>>,
    ) -> Self {
        let place = rollout.phase.place().unwrap_or(Place::Watch);
        let before = Stretch {
            no: 0,
            share: Weight::ZERO,
            baseline_share: Weight::ZERO,
            begins_step: false,
            by_cohort: rollout.spec.plan().is_by_cohort(place),
        };
        Self {
            withheld: AtomicBool::new(false),
            awaited: AtomicBool::new(false),
            failed: AtomicBool::new(false),
            rolls_back: rollout.spec.plan().on_fail() == OnFail::Rollback,
            common: Arc::default(),
            feed: complete(Feed::new(gate, before, Thresholds::default())),
            id: rollout.id(),
            gate_no: rollout.gate_no,
            spec: rollout.spec.gate().clone(),
            plan: Arc::clone(&rollout.spec),
            past: rollout.is_watch(),
            stretches: AtomicU32::new(0),
            changed,
            checked: OnceLock::new(),
            checking: AtomicBool::new(false),
            tallies,
            baseline: Tally::new(),
            baseline_ended: AtomicU64::new(0),
            notes: Mutex::new(Notes { place, failed: Vec::new(), traps: BTreeMap::new() }),
            joined,
            judged: AtomicBool::new(false),
        }
    }

    /// Sets the deadlines of the two versions.
    pub(crate) fn with_deadlines(self, canary: Duration, base: Duration) -> Self {
        Self { feed: self.feed.with_deadlines(canary, base), ..self }
    }

    /// Shares the common state of `earlier`, if it is of the same rollout.
    pub(crate) fn after(self, earlier: Option<&Self>) -> Self {
        match earlier.filter(|earlier| earlier.id == self.id) {
            Some(earlier) => Self { common: Arc::clone(&earlier.common), ..self },
            None => self,
        }
    }

    /// Whether this is the analysis of `rollout` in its current state.
    pub(crate) fn is_of(&self, rollout: &Rollout) -> bool {
        (self.id, self.gate_no) == (rollout.id(), rollout.gate_no)
    }

    /// An observer for the requests of one table, with the shares of the canary and the baseline in it.
    pub(crate) fn observer(
        self: &Arc<Self>,
        share: Weight,
        baseline_share: Weight,
        fallback_after: Option<Duration>,
    ) -> TableObserver {
        let no = self.stretches.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        TableObserver { analysis: Arc::clone(self), no, share, baseline_share, fallback_after }
    }

    /// Begins to use `observer`, whose table is published while the rollout is at `place`.
    pub(crate) fn activate(&self, observer: &TableObserver, place: Place) {
        let begins_step = {
            let mut notes = self.notes();
            std::mem::replace(&mut notes.place, place) != place
        };
        let TableObserver { no, share, baseline_share, .. } = *observer;
        let by_cohort = self.plan.plan().is_by_cohort(place);
        let stretch = Stretch { no, share, baseline_share, begins_step, by_cohort };
        self.feed.begin_stretch_at(number(place), stretch, self.thresholds(), clock::instant());
    }

    /// The gate's current verdict.
    pub(crate) fn verdict(&self) -> Verdict {
        match &self.joined {
            None => self.feed.verdict_at(clock::instant()),
            Some(joined) => self.joint_verdict(joined),
        }
    }

    /// The state of the gate to store.
    pub(crate) fn state(&self) -> GateState {
        match &self.joined {
            None => self.feed.ask(clock::instant(), Gate::state),
            Some(joined) => joined.lock().state(),
        }
    }

    /// Requests of the canary in this step.
    pub(crate) fn step_requests(&self) -> u64 {
        match &self.joined {
            None => self.feed.step_requests(clock::instant()),
            Some(joined) => self.joint_requests(joined),
        }
    }

    /// Sets whether to notify as soon as the verdict is no longer `wait`.
    pub(crate) fn await_verdict(&self, awaited: bool) {
        // In a cluster, no single request brings the verdict.
        let flag = self.joined.as_ref().map_or(&self.awaited, |joined| &joined.awaited);
        flag.store(awaited, Ordering::Relaxed);
    }

    /// Sends no more requests to the canary, whichever table of the rollout they use.
    pub(crate) fn leave(&self) {
        self.common.kept_out.fetch_or(LEFT, Ordering::AcqRel);
    }

    /// Sets whether the canary gets no requests because the node does not know whether it was withdrawn.
    pub(crate) fn stand_apart(&self, apart: bool) {
        if apart {
            self.common.kept_out.fetch_or(APART, Ordering::AcqRel);
        } else {
            self.common.kept_out.fetch_and(!APART, Ordering::AcqRel);
        }
    }

    /// Sets whether the canary gets no requests because it cannot be called on the node yet. Meanwhile no
    /// request counts: those of the version before alone would tell nothing of the canary.
    pub(crate) fn set_prepared(&self, prepared: bool) {
        if prepared {
            self.common.kept_out.fetch_and(!UNPREPARED, Ordering::AcqRel);
        } else {
            self.common.kept_out.fetch_or(UNPREPARED, Ordering::AcqRel);
        }
    }

    /// Whether the canary cannot be called on the node yet.
    pub(crate) fn is_unprepared(&self) -> bool {
        self.common.kept_out.load(Ordering::Acquire) & UNPREPARED != 0
    }

    /// Interrupts the canary's requests that are under way.
    pub(crate) fn recall(&self) {
        self.common.recall.cancel();
    }

    /// Whether to run the checks now. True only once.
    pub(crate) fn begin_checks(&self) -> bool {
        !self.checking.swap(true, Ordering::Relaxed)
    }

    /// Records the result of the checks.
    pub(crate) fn end_checks(&self, result: Result<(), String>) {
        // Only the run that began can end.
        let _ = self.checked.set(result);
        self.changed.notify_one();
    }

    /// The result of the checks; `None` while they run.
    pub(crate) fn checked(&self) -> Option<&Result<(), String>> {
        self.checked.get()
    }

    /// The numbers, with `reason`.
    pub(crate) fn report(&self, reason: String) -> Report {
        let ask = |gate: &Gate| {
            let notes = self.notes();
            let traps = notes.traps.iter().filter_map(|(&fingerprint, backtrace)| {
                let (hits, backtrace) = (gate.novel_hits(fingerprint)?, backtrace.to_string());
                Some(TrapReport { fingerprint: format!("{fingerprint:016x}"), hits, backtrace })
            });
            (gate.evidence(), traps.collect())
        };
        let (evidence, traps) = match &self.joined {
            None => self.feed.ask(clock::instant(), ask),
            Some(joined) => ask(joined.lock().gate()),
        };
        let mut signals: Vec<_> = evidence.signals.iter().map(SignalReport::from).collect();
        signals.sort_by_key(|signal| {
            std::cmp::Reverse(signal.log_e_thousandths - signal.log_threshold_thousandths)
        });
        let since = |now: &Tally, before: &TallySnapshot| now.snapshot().since(before);
        let canary = since(&self.tallies.canary, &self.tallies.canary_before);
        // A watch compares with the whole past of the base, so all of its tally counts.
        let base = if self.past {
            self.tallies.base.snapshot()
        } else {
            since(&self.tallies.base, &self.tallies.base_before)
        };
        let some = |counts: &Counts| counts.requests > 0;
        let baseline = self.baseline.snapshot();
        let baseline = some(&evidence.baseline).then(|| side(self.id.base, &evidence.baseline, &baseline));
        let cohort =
            some(&evidence.cohort).then(|| side(self.id.canary, &evidence.cohort, &TallySnapshot::default()));
        Report {
            reason,
            baseline: match (self.past, evidence.past) {
                (true, _) => "past",
                (false, true) => "alone",
                (false, false) => "concurrent",
            }
            .to_owned(),
            canary: side(self.id.canary, &evidence.canary, &canary),
            stable: side(self.id.base, &evidence.stable, &base),
            baseline_side: baseline,
            cohort,
            signals,
            traps,
            failed_requests: self.notes().failed.iter().map(|id| format!("{id:032x}")).collect(),
            nodes: self.node_reports(),
        }
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        // Nothing panics while holding the lock.
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The limits for requests that begin now: from the baseline's past, or from stable's as long as the
    /// baseline has too few requests. During a watch, from the previous version's past.
    fn thresholds(&self) -> Thresholds {
        let baseline = self.baseline.snapshot();
        if baseline.latency_count() >= PERCENTILE_MIN {
            limits(&self.spec, &baseline)
        } else {
            limits(&self.spec, &self.tallies.base.snapshot())
        }
    }

    /// Counts a request of the baseline. Reads its percentiles again whenever the number of requests has
    /// doubled.
    fn take_baseline(&self, observation: &Observation<'_>) {
        self.baseline.record(observation.record);
        let ended = self.baseline_ended.fetch_add(1, Ordering::Relaxed) + 1;
        if ended >= PERCENTILE_MIN
            && (ended / PERCENTILE_MIN).is_power_of_two()
            && ended.is_multiple_of(PERCENTILE_MIN)
        {
            self.feed.hold_to(self.thresholds(), observation.at);
        }
    }

    fn note(&self, observer: &TableObserver, observation: &Observation<'_>, arm: Arm) {
        let is_canary = observation.side == Side::Canary;
        if is_canary {
            let mut notes = self.notes();
            if notes.failed.len() < FAILED_MAX {
                notes.failed.push(observation.request_id);
            }
        }
        let Some(trap) = observation.trap else { return };
        if is_canary {
            let mut notes = self.notes();
            let known = notes.traps.contains_key(&trap.fingerprint);
            if !known && notes.traps.len() < TRAPS_MAX {
                notes.traps.insert(trap.fingerprint, Arc::clone(&trap.backtrace));
            }
        }
        let begun = self.feed.begun(arm);
        let (fingerprint, user, share) = (trap.fingerprint, observation.user, observer.share);
        let trapped = Trapped { arm, fingerprint, user, share, begun };
        self.feed.trap(&trapped);
        if let Some(joined) = &self.joined {
            joined.trap(&trapped);
        }
    }

    /// Handles a change of the gate: withholds the canary if the gate has failed, and notifies those who
    /// wait.
    fn consider(&self, verdict: &Verdict) {
        let failed = matches!(verdict, Verdict::Fail(_));
        let newly = failed && !self.failed.swap(true, Ordering::AcqRel);
        if newly && self.rolls_back {
            self.withheld.store(true, Ordering::Release);
        }
        if newly && let (Verdict::Fail(found), Some(joined)) = (verdict, &self.joined) {
            joined.fail(found.to_string(), self.rolls_back);
        }
        let awaited = !matches!(verdict, Verdict::Wait(_)) && self.awaited.swap(false, Ordering::Relaxed);
        if newly || awaited {
            self.changed.notify_one();
        }
    }
}

impl TrafficObserver for TableObserver {
    fn request_began(&self, part: &Assignment, at: Instant) -> ObservationTicket {
        let Some(arm) = arm(part.side, part.placement).filter(|_| !self.analysis.is_unprepared()) else {
            return ObservationTicket::default();
        };
        ObservationTicket(self.analysis.feed.begin(self.no, arm, part.user, at).to_bits())
    }

    fn request_ended(&self, observation: &Observation<'_>) {
        let Some(arm) = arm(observation.side, observation.placement) else { return };
        let analysis = &self.analysis;
        let mut outcome = observation.record.outcome;
        let answered = matches!(outcome, Outcome::Success | Outcome::ServerError);
        if answered && self.fallback_after.is_some_and(|after| observation.record.latency > after) {
            outcome = Outcome::Timeout;
        }
        if arm == Arm::Baseline {
            analysis.take_baseline(observation);
        }
        let failed = Class::of(outcome).is_some();
        if failed {
            analysis.note(self, observation, arm);
        }
        // If the client left before there was an answer, it waited at least this long. Any other end by the
        // client tells nothing about how long the request would have taken.
        let left = outcome == Outcome::Cancelled && !observation.abandoned;
        let ending = Ending {
            outcome,
            latency: if left { Duration::ZERO } else { observation.record.latency },
            memory_peak_bytes: observation.record.memory_peak_bytes,
            user: observation.user,
            at: observation.at,
        };
        let ticket = wasm_fn_rollout::FeedTicket::from_bits(observation.ticket.0);
        let learnt = analysis.feed.end(ticket, &ending);
        if analysis.awaited.load(Ordering::Relaxed) {
            analysis.consider(&analysis.feed.verdict_at(observation.at));
        } else if learnt || (failed && observation.trap.is_some()) {
            analysis.consider(&analysis.feed.verdict());
        }
    }

    fn is_withheld(&self) -> bool {
        let Analysis { withheld, common, joined, .. } = &*self.analysis;
        withheld.load(Ordering::Acquire)
            || common.kept_out.load(Ordering::Acquire) != 0
            || joined.as_ref().is_some_and(|joined| !joined.is_in_touch())
    }

    fn recalled(&self) -> Recalled {
        let recall = self.analysis.common.recall.clone();
        Box::pin(async move { recall.cancelled().await })
    }
}

/// What the canary of `rollout` is compared with.
fn baseline(rollout: &Rollout, tallies: &Tallies) -> Baseline {
    if rollout.is_watch() {
        return Baseline::Past(rollout.past.unwrap_or_default());
    }
    let spec = rollout.spec.gate();
    let (stable, cohort) = (past(spec, &tallies.base_before), past(spec, &tallies.cohort.snapshot()));
    Baseline::Concurrent(Box::new(PastCounts { stable, cohort }))
}

/// Lets `gate` know the traps that stable has had.
fn know(gate: &mut Gate, traps: impl IntoIterator<Item = u64>) {
    for fingerprint in traps {
        let (arm, share) = (Arm::Stable, Weight::ZERO);
        gate.trap(&Trapped { arm, fingerprint, user: None, share, begun: 0 });
    }
}

/// The arm whose evidence includes the request; `None` if it counts for none.
fn arm(side: Side, placement: Placement) -> Option<Arm> {
    match (side, placement) {
        (Side::Canary, Placement::Chance) => Some(Arm::Canary),
        (Side::Canary, Placement::Rule) => Some(Arm::Cohort),
        (Side::Stable, Placement::Chance) => Some(Arm::Stable),
        (Side::Baseline, Placement::Chance) => Some(Arm::Baseline),
        (Side::Stable | Side::Baseline, Placement::Rule) | (_, Placement::Request) => None,
    }
}

fn side(version: VersionNo, counts: &Counts, tally: &TallySnapshot) -> SideReport {
    let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    SideReport {
        version: version.to_string(),
        requests: counts.requests,
        failures: counts.bad(Event::FailedAtAll).requests,
        latency_p50_us: tally.latency_quantile(0.5).map(micros),
        latency_p99_us: tally.latency_quantile(0.99).map(micros),
    }
}

/// Runs `checks` through `call`, one after the other. Stops at the first that fails.
pub(crate) async fn run_checks<F>(checks: &[Check], mut call: impl FnMut(&Check) -> F) -> Result<(), String>
where
    F: Future<Output = Result<http::Response<bytes::Bytes>, String>>,
{
    for check in checks {
        let answer = tokio::time::timeout(CHECK_TIME_MAX, call(check)).await;
        let failed = |reason: String| format!("{} {}: {reason}", check.method, check.path);
        let answer =
            answer.map_err(|_| failed(format!("no answer within {CHECK_TIME_MAX:?}")))?.map_err(failed)?;
        check.compare(&answer).map_err(|mismatch| failed(mismatch.to_string()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
