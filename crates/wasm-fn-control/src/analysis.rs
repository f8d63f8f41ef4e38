//! The gate of a rollout at work: hears every response on the request's own task, and says what they mean.
//!
//! A good response is one counter. A bad one goes to the gate at once, so the verdict is there before the
//! next request is routed; when it is to roll back, the canary is withheld from that moment on, and the
//! journal and the table follow.

mod history;
mod registry;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
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
use self::history::{PERCENTILE_MIN, limits};
pub(crate) use self::registry::Analyses;
use crate::{
    clock,
    report::{Report, SideReport, SignalReport, TrapReport},
    state::{Check, Rollout, RolloutId, RolloutSpec},
};

/// Ids of failed requests that are kept.
const FAILED_MAX: usize = 5;

/// Traps of the canary whose backtraces are kept.
const TRAPS_MAX: usize = 8;

/// How long one check may take.
const CHECK_TIME_MAX: Duration = Duration::from_secs(30);

/// One gate of one rollout.
///
/// What every request reads comes first and in a row, for little of it is in a cache by then.
#[repr(C)]
pub(crate) struct Analysis {
    withheld: AtomicBool,
    // Whether somebody waits for a verdict other than `wait`.
    awaited: AtomicBool,
    failed: AtomicBool,
    // Whether a failure sends everybody back.
    rolls_back: bool,
    common: Arc<Common>,
    feed: Feed,
    id: RolloutId,
    gate_no: u32,
    spec: GateSpec,
    plan: Arc<RolloutSpec>,
    // Whether the previous version's past is all there is to compare with.
    past: bool,
    stretches: AtomicU32,
    changed: Arc<Notify>,
    checked: OnceLock<Result<(), String>>,
    checking: AtomicBool,
    tallies: Tallies,
    // What the baseline did, and after how many requests its percentiles are looked at again.
    baseline: Tally,
    baseline_ended: AtomicU64,
    notes: Mutex<Notes>,
}

/// What the gates of one rollout have in common: requests that began under an earlier one are under way, or
/// hold its table.
#[derive(Default)]
struct Common {
    /// Nobody is placed on the canary any more, whatever its gate says.
    left: AtomicBool,
    recall: CancellationToken,
}

/// The tallies of both sides, and how they were when the gate began.
pub(crate) struct Tallies {
    pub(crate) canary: Arc<Tally>,
    pub(crate) base: Arc<Tally>,
    /// What the base did for those who are on the canary by rule.
    pub(crate) cohort: Arc<Tally>,
    canary_before: TallySnapshot,
    base_before: TallySnapshot,
}

/// What people are shown besides numbers.
struct Notes {
    place: Place,
    failed: Vec<u128>,
    traps: BTreeMap<u64, Arc<str>>,
}

/// What a table tells a [`Analysis`]: requests that began while the shares were the same.
pub(crate) struct TableObserver {
    analysis: Arc<Analysis>,
    no: u32,
    share: Weight,
    baseline_share: Weight,
    // Later answers count as none, on both sides, because the shield gives up on the canary then.
    fallback_after: Option<Duration>,
}

impl Tallies {
    /// Both sides' tallies as they are now.
    pub(crate) fn new(canary: Arc<Tally>, base: Arc<Tally>, cohort: Arc<Tally>) -> Self {
        let (canary_before, base_before) = (canary.snapshot(), base.snapshot());
        Self { canary, base, cohort, canary_before, base_before }
    }
}

impl Analysis {
    /// The analysis of `rollout`, which goes on from what is kept of its gate.
    pub(crate) fn new(rollout: &Rollout, tallies: Tallies, changed: Arc<Notify>) -> Self {
        let spec = rollout.spec.gate().clone();
        let is_watch = rollout.is_watch();
        let baseline = if is_watch {
            Baseline::Past(rollout.past.unwrap_or_default())
        } else {
            let stable = past(&spec, &tallies.base_before);
            let cohort = past(&spec, &tallies.cohort.snapshot());
            Baseline::Concurrent(Box::new(PastCounts { stable, cohort }))
        };
        let gate = Gate::new(spec.clone(), rollout.gate_no, baseline).expect("a rollout's gate was checked");
        // A gate that is kept for other signals than it has now knows nothing of use.
        let fresh = gate.clone();
        let mut gate = rollout.gate.clone().and_then(|state| gate.resume(state).ok()).unwrap_or(fresh);
        for fingerprint in tallies.base.traps() {
            let (arm, share) = (Arm::Stable, Weight::ZERO);
            gate.trap(&Trapped { arm, fingerprint, user: None, share, begun: 0 });
        }
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
            feed: Feed::new(gate, before, Thresholds::default()),
            id: rollout.id(),
            gate_no: rollout.gate_no,
            spec,
            plan: Arc::clone(&rollout.spec),
            past: is_watch,
            stretches: AtomicU32::new(0),
            changed,
            checked: OnceLock::new(),
            checking: AtomicBool::new(false),
            tallies,
            baseline: Tally::new(),
            baseline_ended: AtomicU64::new(0),
            notes: Mutex::new(Notes { place, failed: Vec::new(), traps: BTreeMap::new() }),
        }
    }

    /// The same, of versions with these deadlines.
    pub(crate) fn with_deadlines(self, canary: Duration, base: Duration) -> Self {
        Self { feed: self.feed.with_deadlines(canary, base), ..self }
    }

    /// The same, after `earlier` if that was of the same rollout.
    pub(crate) fn after(self, earlier: Option<&Self>) -> Self {
        match earlier.filter(|earlier| earlier.id == self.id) {
            Some(earlier) => Self { common: Arc::clone(&earlier.common), ..self },
            None => self,
        }
    }

    /// Whether this is the analysis of `rollout` as it is now.
    pub(crate) fn is_of(&self, rollout: &Rollout) -> bool {
        (self.id, self.gate_no) == (rollout.id(), rollout.gate_no)
    }

    /// A observer for the requests of one table, in which the canary and the baseline have these shares.
    pub(crate) fn observer(
        self: &Arc<Self>,
        share: Weight,
        baseline_share: Weight,
        fallback_after: Option<Duration>,
    ) -> TableObserver {
        let no = self.stretches.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        TableObserver { analysis: Arc::clone(self), no, share, baseline_share, fallback_after }
    }

    /// The table of `observer` is published, with the rollout at `place`.
    pub(crate) fn activate(&self, observer: &TableObserver, place: Place) {
        let begins_step = {
            let mut notes = self.notes();
            std::mem::replace(&mut notes.place, place) != place
        };
        let TableObserver { no, share, baseline_share, .. } = *observer;
        let by_cohort = self.plan.plan().is_by_cohort(place);
        let stretch = Stretch { no, share, baseline_share, begins_step, by_cohort };
        self.feed.begin_stretch(stretch, self.thresholds(), clock::instant());
    }

    /// What the gate says now.
    pub(crate) fn verdict(&self) -> Verdict {
        self.feed.verdict_at(clock::instant())
    }

    /// What is kept of the gate.
    pub(crate) fn state(&self) -> GateState {
        self.feed.ask(clock::instant(), Gate::state)
    }

    /// Requests of the canary in this step.
    pub(crate) fn step_requests(&self) -> u64 {
        self.feed.step_requests(clock::instant())
    }

    /// Has somebody told as soon as the verdict is not `wait` any more.
    pub(crate) fn await_verdict(&self, awaited: bool) {
        self.awaited.store(awaited, Ordering::Relaxed);
    }

    /// Nobody is placed on the canary any more, by any table of its rollout.
    pub(crate) fn leave(&self) {
        self.common.left.store(true, Ordering::Release);
    }

    /// Cuts off what is under way on the canary.
    pub(crate) fn recall(&self) {
        self.common.recall.cancel();
    }

    /// Whether the checks are to be run now; true once.
    pub(crate) fn begin_checks(&self) -> bool {
        !self.checking.swap(true, Ordering::Relaxed)
    }

    /// How the checks ended.
    pub(crate) fn end_checks(&self, result: Result<(), String>) {
        // Only the one run that began can end.
        let _ = self.checked.set(result);
        self.changed.notify_one();
    }

    /// How the checks ended; `None` while they run.
    pub(crate) fn checked(&self) -> Option<&Result<(), String>> {
        self.checked.get()
    }

    /// The numbers, with `reason`.
    pub(crate) fn report(&self, reason: String) -> Report {
        let (evidence, traps) = self.feed.ask(clock::instant(), |gate| {
            let notes = self.notes();
            let traps = notes.traps.iter().filter_map(|(&fingerprint, backtrace)| {
                let (hits, backtrace) = (gate.novel_hits(fingerprint)?, backtrace.to_string());
                Some(TrapReport { fingerprint: format!("{fingerprint:016x}"), hits, backtrace })
            });
            (gate.evidence(), traps.collect())
        });
        let mut signals: Vec<_> = evidence.signals.iter().map(SignalReport::from).collect();
        signals.sort_by_key(|signal| {
            std::cmp::Reverse(signal.log_e_thousandths - signal.log_threshold_thousandths)
        });
        let since = |now: &Tally, before: &TallySnapshot| now.snapshot().since(before);
        let canary = since(&self.tallies.canary, &self.tallies.canary_before);
        // In a watch the base's own past is what counts, and all of it is in its tally.
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
        }
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        // Nothing panics while it is locked.
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What requests that begin now are held to: what the baseline did until now, and while that is too
    /// little, what stable did. In a watch it is what the previous version did.
    fn thresholds(&self) -> Thresholds {
        let baseline = self.baseline.snapshot();
        if baseline.latency_count() >= PERCENTILE_MIN {
            limits(&self.spec, &baseline)
        } else {
            limits(&self.spec, &self.tallies.base.snapshot())
        }
    }

    /// Counts what the baseline did. Its percentiles are looked at again whenever it has done twice as much.
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
        self.feed.trap(&Trapped { arm, fingerprint, user, share, begun });
    }

    /// The gate has learnt something: withholds the canary if it has failed, and says so to who waits.
    fn consider(&self, verdict: &Verdict) {
        let failed = matches!(verdict, Verdict::Fail(_));
        let newly = failed && !self.failed.swap(true, Ordering::AcqRel);
        if newly && self.rolls_back {
            self.withheld.store(true, Ordering::Release);
        }
        let awaited = !matches!(verdict, Verdict::Wait(_)) && self.awaited.swap(false, Ordering::Relaxed);
        if newly || awaited {
            self.changed.notify_one();
        }
    }
}

impl TrafficObserver for TableObserver {
    fn request_began(&self, part: &Assignment, at: Instant) -> ObservationTicket {
        let Some(arm) = arm(part.side, part.placement) else { return ObservationTicket::default() };
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
        // A client that left before there was an answer waited for so long at least; any other end of its
        // request by its client says nothing of how long it took.
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
        self.analysis.withheld.load(Ordering::Acquire) || self.analysis.common.left.load(Ordering::Acquire)
    }

    fn recalled(&self) -> Recalled {
        let recall = self.analysis.common.recall.clone();
        Box::pin(async move { recall.cancelled().await })
    }
}

/// Whose evidence a request is; `None` for one that is judged by nobody.
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

/// Runs `checks` by `call`, one after the other; the first that fails ends it.
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
