//! The gate of a rollout at work: hears every response on the request's own task, and says what they mean.
//!
//! A good response is one counter. A bad one goes to the gate at once, so the verdict is there before the
//! next request is routed; when it is to roll back, the canary is withheld from that moment on, and the
//! journal and the table follow.

mod cluster;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use wasm_fn_core::{Outcome, Side, Trap, VersionNo, Weight};
use wasm_fn_rollout::{
    Bad, Baseline, Batch, Class, Counts, Event, Gate, GateSpec, GateState, OnFail, Place, Response,
    Thresholds, UserSet, Verdict,
};
use wasm_fn_router::{Ended, Heard, Recalled, Tally, TallySnapshot, Trial};

use self::cluster::Cluster;
use crate::{
    report::{Report, SideReport, SignalReport, TrapReport},
    state::{Check, Rollout},
};

/// Users with bad events that are remembered.
const USERS_MAX: usize = 50_000;

/// Responses of stable below which its percentiles say too little to hold anybody to them.
const PERCENTILE_MIN: u64 = 100;

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
pub(crate) struct Judge {
    withheld: AtomicBool,
    // Whether somebody waits for a verdict other than `wait`.
    awaited: AtomicBool,
    // Whether the canary's latencies are held to stable's past, not to what stable does meanwhile.
    past: bool,
    // Whether a failure sends everybody back.
    rolls_back: bool,
    common: Arc<Common>,
    cluster: Cluster,
    canary: VersionNo,
    base: VersionNo,
    started_ms: u64,
    gate_no: u32,
    changed: Arc<Notify>,
    checked: OnceLock<Result<(), String>>,
    checking: AtomicBool,
    tallies: Tallies,
    bench: Mutex<Bench>,
}

/// What the gates of one rollout have in common: requests that began under an earlier one are under way, or hold
/// its table.
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
    canary_before: TallySnapshot,
    base_before: TallySnapshot,
}

struct Bench {
    gate: Gate,
    users: UserSet,
    place: Place,
    counters: Vec<Arc<Counters>>,
    failed: Vec<u128>,
    traps: BTreeMap<u64, Arc<str>>,
}

/// Good responses that the gate has not taken yet, by side, while the canary's share was this.
struct Counters {
    share: Weight,
    canary: AtomicU64,
    // Of the canary as well: see `Batch::clustered`.
    clustered: AtomicU64,
    stable: AtomicU64,
}

/// What a table tells a [`Judge`]: responses of requests that began under one share.
pub(crate) struct Hearing {
    judge: Arc<Judge>,
    counters: Arc<Counters>,
    thresholds: Thresholds,
    // Later answers count as none, on both sides, because the shield gives up on the canary then.
    late: Option<Duration>,
}

impl Tallies {
    /// Both sides' tallies as they are now.
    pub(crate) fn new(canary: Arc<Tally>, base: Arc<Tally>) -> Self {
        let (canary_before, base_before) = (canary.snapshot(), base.snapshot());
        Self { canary, base, canary_before, base_before }
    }
}

impl Judge {
    /// The judge of `rollout`, which goes on from what is kept of its gate.
    pub(crate) fn new(rollout: &Rollout, tallies: Tallies, changed: Arc<Notify>) -> Self {
        let spec = rollout.spec.gate();
        let baseline = if rollout.is_watch() {
            Baseline::Past(rollout.past.unwrap_or_default())
        } else {
            Baseline::Concurrent
        };
        let gate = Gate::new(spec.clone(), baseline).expect("a rollout's gate was checked");
        // A gate that is kept for other signals than it has now knows nothing of use.
        let fresh = gate.clone();
        let mut gate = rollout.gate.clone().and_then(|state| gate.resume(state).ok()).unwrap_or(fresh);
        for trap in tallies.base.traps() {
            gate.trap(Side::Stable, trap, None);
        }
        Self {
            withheld: AtomicBool::new(false),
            awaited: AtomicBool::new(false),
            past: rollout.is_watch(),
            rolls_back: rollout.spec.plan().on_fail() == OnFail::Rollback,
            common: Arc::default(),
            cluster: Cluster::default(),
            canary: rollout.canary,
            base: rollout.base,
            started_ms: rollout.started_ms,
            gate_no: rollout.gate_no,
            changed,
            checked: OnceLock::new(),
            checking: AtomicBool::new(false),
            tallies,
            bench: Mutex::new(Bench {
                gate,
                users: UserSet::new(USERS_MAX),
                place: rollout.phase.place().unwrap_or(Place::Watch),
                counters: Vec::new(),
                failed: Vec::new(),
                traps: BTreeMap::new(),
            }),
        }
    }

    /// The same, after `earlier` if that was of the same rollout.
    pub(crate) fn after(self, earlier: Option<&Self>) -> Self {
        let rollout = |judge: &Self| (judge.canary, judge.base, judge.started_ms);
        match earlier.filter(|earlier| rollout(earlier) == rollout(&self)) {
            Some(earlier) => Self { common: Arc::clone(&earlier.common), ..self },
            None => self,
        }
    }

    /// Whether this is the judge of `rollout` as it is now.
    pub(crate) fn judges(&self, rollout: &Rollout) -> bool {
        (self.canary, self.base, self.started_ms, self.gate_no)
            == (rollout.canary, rollout.base, rollout.started_ms, rollout.gate_no)
    }

    /// A hearing for the requests of one table.
    pub(crate) fn hearing(
        self: &Arc<Self>,
        share: Weight,
        spec: &GateSpec,
        late: Option<Duration>,
    ) -> Hearing {
        let counters = Arc::new(Counters {
            share,
            canary: AtomicU64::new(0),
            clustered: AtomicU64::new(0),
            stable: AtomicU64::new(0),
        });
        let thresholds = thresholds(spec, &self.tallies.base.snapshot());
        Hearing { judge: Arc::clone(self), counters, thresholds, late }
    }

    /// The table of `hearing` is published, with the rollout at `place`.
    pub(crate) fn convene(&self, hearing: &Hearing, place: Place) {
        let mut bench = self.bench();
        // Hearings whose last request has ended have nothing more to say.
        bench.flush();
        bench.counters.retain(|counters| Arc::strong_count(counters) > 1);
        if !bench.counters.iter().any(|known| Arc::ptr_eq(known, &hearing.counters)) {
            bench.counters.push(Arc::clone(&hearing.counters));
        }
        if bench.place != place {
            bench.place = place;
            bench.gate.step();
        }
    }

    /// What the gate says now.
    pub(crate) fn verdict(&self) -> Verdict {
        let mut bench = self.bench();
        bench.flush();
        bench.gate.verdict()
    }

    /// What is kept of the gate.
    pub(crate) fn state(&self) -> GateState {
        let mut bench = self.bench();
        bench.flush();
        bench.gate.state()
    }

    /// Requests of the canary in this step.
    pub(crate) fn step_requests(&self) -> u64 {
        self.bench().gate.step_requests()
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
        let mut bench = self.bench();
        bench.flush();
        let evidence = bench.gate.evidence();
        let past = matches!(evidence.baseline, Baseline::Past(_));
        let mut signals: Vec<_> = evidence.signals.iter().map(SignalReport::from).collect();
        signals.sort_by_key(|signal| {
            std::cmp::Reverse(signal.log_e_thousandths - signal.log_threshold_thousandths)
        });
        let traps = bench.traps.iter().filter_map(|(&fingerprint, backtrace)| {
            let hits = bench.gate.novel_hits(fingerprint)?;
            Some(TrapReport {
                fingerprint: format!("{fingerprint:016x}"),
                hits: hits as u64,
                backtrace: backtrace.to_string(),
            })
        });
        let since = |now: &Tally, before: &TallySnapshot| now.snapshot().since(before);
        let canary = since(&self.tallies.canary, &self.tallies.canary_before);
        // In a watch the base's own past is what counts, and all of it is in its tally.
        let base = if past {
            self.tallies.base.snapshot()
        } else {
            since(&self.tallies.base, &self.tallies.base_before)
        };
        Report {
            reason,
            baseline: if past { "past" } else { "concurrent" }.to_owned(),
            canary: side(self.canary, bench.gate.canary(), &canary),
            stable: side(self.base, bench.gate.stable(), &base),
            signals,
            traps: traps.collect(),
            failed_requests: bench.failed.iter().map(|id| format!("{id:032x}")).collect(),
        }
    }

    fn bench(&self) -> MutexGuard<'_, Bench> {
        // Nothing panics while it is locked but a defect of the gate, and its numbers stay numbers.
        self.bench.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, hearing: &Hearing, heard: &Heard<'_>, outcome: Outcome) {
        let mut bench = self.bench();
        let failed_before = matches!(bench.gate.verdict(), Verdict::Fail(_));
        bench.flush();
        if heard.placed {
            let mut batch = Batch::new(hearing.counters.share);
            // Asked while the bench is locked, so that of two at once only one begins a cluster.
            batch.clustered = self.cluster.holds(heard.at);
            if !batch.clustered && heard.side == Side::Canary && hearing.is_slow(&heard.ended) {
                self.cluster.begin(heard.at);
            }
            let response = response(heard, outcome);
            batch.add(&response, &hearing.thresholds, &mut bench.users);
            bench.gate.observe(&batch);
        }
        if heard.side == Side::Canary && Class::of(outcome).is_some() && bench.failed.len() < FAILED_MAX {
            bench.failed.push(heard.request_id);
        }
        if let Some(trap) = heard.trap {
            bench.trapped(heard.side, trap, heard.user);
        }
        let verdict = bench.gate.verdict();
        drop(bench);
        let failed = !failed_before && matches!(verdict, Verdict::Fail(_));
        if failed && self.rolls_back {
            self.withheld.store(true, Ordering::Release);
        }
        if failed || (self.awaited.load(Ordering::Relaxed) && !matches!(verdict, Verdict::Wait(_))) {
            self.changed.notify_one();
        }
    }

    /// Says so when the verdict that somebody waits for is there.
    fn look(&self) {
        if !matches!(self.verdict(), Verdict::Wait(_)) {
            self.awaited.store(false, Ordering::Relaxed);
            self.changed.notify_one();
        }
    }
}

impl Bench {
    /// Gives the gate what was only counted.
    fn flush(&mut self) {
        for counters in &self.counters {
            let taken = |counter: &AtomicU64| Counts::of(counter.swap(0, Ordering::Relaxed));
            let share = counters.share;
            let (canary, stable) = (taken(&counters.canary), taken(&counters.stable));
            if canary.requests > 0 || stable.requests > 0 {
                self.gate.observe(&Batch { canary, stable, ..Batch::new(share) });
            }
            let canary = taken(&counters.clustered);
            if canary.requests > 0 {
                self.gate.observe(&Batch { canary, clustered: true, ..Batch::new(share) });
            }
        }
    }

    fn trapped(&mut self, side: Side, trap: &Trap, user: Option<u64>) {
        self.gate.trap(side, trap.fingerprint, user);
        let known = self.traps.contains_key(&trap.fingerprint);
        if side == Side::Canary && !known && self.traps.len() < TRAPS_MAX {
            self.traps.insert(trap.fingerprint, Arc::clone(&trap.backtrace));
        }
    }
}

impl Hearing {
    /// Whether it is slow by a measure that stable is not held to in the same moment.
    fn is_slow(&self, ended: &Ended) -> bool {
        let over = |limit: Option<Duration>| limit.is_some_and(|limit| ended.latency > limit);
        over(self.thresholds.ceiling) || (self.judge.past && over(self.thresholds.slow_above))
    }

    /// Whether the response says nothing bad of its version.
    fn is_good(&self, ended: &Ended, outcome: Outcome) -> bool {
        let over = |limit: Option<Duration>| limit.is_some_and(|limit| ended.latency > limit);
        let large = self.thresholds.large_above.is_some_and(|limit| ended.memory_peak_bytes > limit);
        outcome == Outcome::Success
            && !over(self.thresholds.slow_above)
            && !over(self.thresholds.ceiling)
            && !large
    }
}

impl Trial for Hearing {
    fn hear(&self, heard: &Heard<'_>) {
        let mut outcome = heard.ended.outcome;
        let answered = matches!(outcome, Outcome::Success | Outcome::ServerError);
        if answered && self.late.is_some_and(|late| heard.ended.latency > late) {
            outcome = Outcome::Timeout;
        }
        if heard.placed && self.is_good(&heard.ended, outcome) {
            let counter = match heard.side {
                Side::Canary if self.judge.cluster.holds(heard.at) => &self.counters.clustered,
                Side::Canary => &self.counters.canary,
                Side::Stable => &self.counters.stable,
            };
            counter.fetch_add(1, Ordering::Relaxed);
            if self.judge.awaited.load(Ordering::Relaxed) {
                self.judge.look();
            }
            return;
        }
        let counts = outcome == Outcome::Success || Class::of(outcome).is_some();
        if counts && (heard.placed || heard.trap.is_some()) {
            self.judge.take(self, heard, outcome);
        }
    }

    fn is_withheld(&self) -> bool {
        self.judge.withheld.load(Ordering::Acquire) || self.judge.common.left.load(Ordering::Acquire)
    }

    fn recalled(&self) -> Recalled {
        let recall = self.judge.common.recall.clone();
        Box::pin(async move { recall.cancelled().await })
    }
}

fn response(heard: &Heard<'_>, outcome: Outcome) -> Response {
    Response {
        side: heard.side,
        outcome,
        latency: heard.ended.latency,
        memory_peak_bytes: heard.ended.memory_peak_bytes,
        user: heard.user,
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

/// Above what a response is slow or large: from what `stable` did until now, so before any response that is
/// held to it.
fn thresholds(spec: &GateSpec, stable: &TallySnapshot) -> Thresholds {
    let enough = stable.latency_count() >= PERCENTILE_MIN;
    let times = |tolerate: Option<f64>| tolerate.filter(|_| enough);
    let slow = times(spec.latency_p99).zip(stable.latency_quantile(0.99));
    let large = times(spec.memory_p99).zip(stable.memory_peak_bytes_quantile(0.99));
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "memory is below 2^52 bytes")]
    let scaled = |(tolerate, bytes): (f64, u64)| (tolerate * bytes as f64) as u64;
    Thresholds {
        slow_above: slow.map(|(tolerate, p99)| p99.mul_f64(tolerate)),
        large_above: large.map(scaled),
        ceiling: spec.max_latency_p99,
    }
}

/// What a version did until now, for those who are compared with its past.
pub(crate) fn past(spec: &GateSpec, tally: &TallySnapshot) -> Counts {
    let requests = tally.latency_count();
    let thresholds = thresholds(spec, tally);
    let failed = |class: Class| match class {
        Class::Trap => tally.count(Outcome::Trap),
        Class::Timeout => tally.count(Outcome::Timeout),
        Class::OutOfMemory => tally.count(Outcome::OutOfMemory),
        Class::ServerError => tally.count(Outcome::ServerError),
        Class::InvalidResponse => tally.count(Outcome::InvalidResponse),
    };
    let above = |limit: Duration| requests.saturating_sub(tally.latency_at_most(limit));
    Class::ALL
        .into_iter()
        .fold(Counts::of(requests), |counts, class| {
            counts.with(Event::Failed(class), Bad::each(failed(class)))
        })
        .with(Event::FailedAtAll, Bad::each(tally.failures()))
        .with(Event::Slow, Bad::each(thresholds.slow_above.map_or(0, above)))
        // The histogram of peaks gives no counts; above a 99th percentile lies at most this.
        .with(Event::Large, Bad::each(requests.div_ceil(100)))
        .with(Event::OverCeiling, Bad::each(thresholds.ceiling.map_or(0, above)))
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
