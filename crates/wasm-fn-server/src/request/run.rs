//! A run of a request: it has one version, and ends exactly once.

use std::{
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use wasm_fn_core::{Outcome, RunRecord, Side, Trap, Usage};
use wasm_fn_router::{
    Assignment, HeldVersion, InvocationRecord, LatencyExemplar, Observation, ObservationTicket, Placement,
    Recalled, Shielding,
};

use super::{body::BodyProgress, id::RequestId};
use crate::{
    clock,
    connection::state::{InFlight, Order, ReaderWait},
    failure::{FailureCause, InvokeFailure, Lost},
};

/// A timeout is charged to the client when the guest waited for its body for one part in this many of the
/// time.
const SENDING_PART: u32 = 10;

/// The same for waits until the client reads. This takes a larger part, since a guest with an endless
/// response fills any connection.
const READING_PART: u32 = 2;

/// Shorter waits for the client to read do not count: they are normal.
const READING_MIN: Duration = Duration::from_millis(10);

/// One run of a request on a version. It is counted when it [ends](Self::end), or as lost when it is dropped
/// before that.
pub(crate) struct RequestRun<V> {
    version: HeldVersion<V>,
    started: Instant,
    progress: Option<Arc<BodyProgress>>,
    /// How long earlier runs waited for the client's body.
    sent_before: Duration,
    /// How long this run waited for the client to read.
    unread: Duration,
    // `None` once the run has ended.
    in_flight: Option<InFlight>,
    observed: Option<ObservedRequest>,
    // Whether there is no response yet, so that a client that leaves gives up waiting for the version.
    is_unanswered: bool,
    asked_for: bool,
    /// `None` for nearly all.
    record: Option<Arc<RunRecord>>,
}

/// How a run ends.
#[derive(Clone, Copy)]
pub(crate) enum RunEnd<'a> {
    /// The response is complete.
    Complete(Outcome, Usage),
    /// The node refuses the request, or the rest of its body.
    Refused(FailureCause, Usage),
    /// The invocation failed before its response head, or after a head that was a failure already.
    Failed(&'a InvokeFailure),
    /// The invocation failed after the head of a good response, which the shield cannot repair.
    CutOff(&'a InvokeFailure),
    /// Nobody waits for the response any more.
    Lost(Usage),
    /// The request continues on another version.
    Superseded(Outcome, Usage, Option<&'a Trap>),
}

/// A request as the observer of its stage sees it.
pub(crate) struct ObservedRequest {
    ticket: ObservationTicket,
    side: Side,
    placement: Placement,
    // Whether a second run was possible until the response began.
    shielded: bool,
    user: Option<u64>,
    request_id: RequestId,
    // The canary makes it when it first waits; most never do.
    recalled: Option<Recalled>,
}

impl ObservedRequest {
    /// Tells the observer of `version`'s stage that the request with `request_id` begins at `at`. Returns
    /// `None` if nobody observes it.
    pub(crate) fn begin<V>(
        assignment: &Assignment,
        request_id: RequestId,
        version: &HeldVersion<V>,
        at: Instant,
    ) -> Option<Self> {
        let ticket = version.observer()?.request_began(assignment, at);
        let Assignment { side, placement, user, fallback_after } = *assignment;
        let shielded = fallback_after.is_some();
        Some(Self { ticket, side, placement, shielded, user, request_id, recalled: None })
    }

    /// Whether the canary answers.
    pub(crate) fn is_canary(&self) -> bool {
        self.side == Side::Canary
    }
}

impl<V> RequestRun<V> {
    /// A run on `version` of a request that began at `started`.
    ///
    /// A request that asked for the version says nothing about how the version does. It is counted apart, and
    /// nobody observes it.
    pub(crate) fn new(
        version: HeldVersion<V>,
        started: Instant,
        progress: Option<Arc<BodyProgress>>,
        in_flight: InFlight,
        observed: Option<ObservedRequest>,
        asked_for: bool,
        record: Option<Arc<RunRecord>>,
    ) -> Self {
        let (sent_before, unread) = (Duration::ZERO, Duration::ZERO);
        let in_flight = Some(in_flight);
        let is_unanswered = true;
        Self {
            version,
            started,
            progress,
            sent_before,
            unread,
            in_flight,
            observed,
            is_unanswered,
            asked_for,
            record,
        }
    }

    /// The record of this run, if it has one.
    pub(crate) fn record(&self) -> Option<&Arc<RunRecord>> {
        self.record.as_ref()
    }

    /// The version of this run.
    pub(crate) fn version(&self) -> &HeldVersion<V> {
        &self.version
    }

    /// When this run began.
    pub(crate) fn started(&self) -> Instant {
        self.started
    }

    /// Whether the request's body is longer than its limit.
    pub(crate) fn body_is_too_large(&self) -> bool {
        self.progress.as_ref().is_some_and(|progress| progress.is_too_large())
    }

    /// Whether the request's body is longer than its limit or broke off, so that no other version can be
    /// asked.
    pub(crate) fn body_has_failed(&self) -> bool {
        self.progress.as_ref().is_some_and(|progress| progress.is_too_large() || progress.is_broken())
    }

    /// Ready when the canary that works on the request was recalled.
    pub(crate) fn poll_recalled(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match (&mut self.observed, self.version.observer()) {
            (Some(observed), Some(observer)) if observed.side == Side::Canary && self.in_flight.is_some() => {
                observed.recalled.get_or_insert_with(|| observer.recalled()).as_mut().poll(cx)
            }
            _ => Poll::Pending,
        }
    }

    /// How long this run waited for the client's body until `now`.
    fn unsent(&self, now: Instant) -> Duration {
        let waited = self.progress.as_ref().map_or(Duration::ZERO, |progress| progress.waited(now));
        waited.saturating_sub(self.sent_before)
    }

    /// Whether it is the client's fault if there is no response yet: the guest waits for its body, or waited
    /// for the client for so long that it did not have its own time.
    pub(crate) fn waits_for_client(&self) -> bool {
        if self.progress.as_ref().is_some_and(|progress| progress.is_awaited()) {
            return true;
        }
        let now = clock::now();
        let took = now.saturating_duration_since(self.started);
        let is_part = |waited: Duration, part| !waited.is_zero() && waited * part >= took;
        is_part(self.unsent(now), SENDING_PART) || is_part(self.unread, READING_PART)
    }

    /// Charges `failure` to the client if a deadline passed because of the client.
    pub(crate) fn excuse(&self, failure: InvokeFailure) -> InvokeFailure {
        if matches!(failure.cause, FailureCause::Timeout | FailureCause::BeganLate) && self.waits_for_client()
        {
            InvokeFailure { cause: FailureCause::ClientTooSlow, ..failure }
        } else {
            failure
        }
    }

    /// Notes that the client has read a frame, after it made the guest wait for that.
    pub(crate) fn end_reader_wait(&mut self, wait: ReaderWait) {
        let waited = wait.end();
        if waited >= READING_MIN {
            self.unread += waited;
        }
    }

    /// Notes that a frame goes to the connection; `None` once the run has ended.
    pub(crate) fn wait_for_reader(&self) -> Option<ReaderWait> {
        self.in_flight.as_ref().map(|in_flight| in_flight.connection().wait_for_reader())
    }

    /// Notes that there is a response. A client that leaves from now on does not give up waiting for the
    /// version.
    pub(crate) fn answers(&mut self) {
        self.is_unanswered = false;
    }

    /// Ends the run and counts it, unless it has ended already.
    ///
    /// If the client broke off its own body, every outcome counts as a cancellation, so that clients cannot
    /// have a version blamed.
    pub(crate) fn end(&mut self, end: RunEnd<'_>) {
        if let Some((in_flight, now)) = self.close(end) {
            in_flight.end(now);
        }
    }

    /// Ends this run, because the request continues on `version`. Nobody observes the next run.
    ///
    /// The latency of the next run is its own: the time that this run took is not charged to its version.
    pub(crate) fn continue_on(
        mut self,
        version: HeldVersion<V>,
        outcome: Outcome,
        usage: Usage,
        trap: Option<&Trap>,
    ) -> Self {
        let closed = self.close(RunEnd::Superseded(outcome, usage, trap));
        let (in_flight, now) =
            closed.map_or_else(|| (None, clock::now()), |(in_flight, now)| (Some(in_flight), now));
        let sent_before = self.progress.as_ref().map_or(Duration::ZERO, |progress| progress.waited(now));
        let record = self.record.as_ref().map(|record| record.second_run(version.no, now));
        Self {
            version,
            started: now,
            progress: self.progress.clone(),
            sent_before,
            unread: Duration::ZERO,
            in_flight,
            observed: None,
            is_unanswered: true,
            asked_for: false,
            record,
        }
    }

    /// Counts the run, unless that was done. Returns the request, which is in flight still, and the time.
    fn close(&mut self, end: RunEnd<'_>) -> Option<(InFlight, Instant)> {
        let in_flight = self.in_flight.take()?;
        if !self.is_unanswered && !matches!(end, RunEnd::Complete(..) | RunEnd::Superseded(..)) {
            in_flight.connection().flags.set_cut();
        }
        let (outcome, usage, trap) = match end {
            RunEnd::Complete(outcome, usage) => (outcome, usage, None),
            RunEnd::Refused(cause, usage) => (cause.outcome(), usage, None),
            RunEnd::Failed(failure) | RunEnd::CutOff(failure) => {
                (failure.cause.outcome(), failure.usage, failure.trap.as_ref())
            }
            RunEnd::Lost(usage) => (lost(&in_flight).outcome(), usage, None),
            RunEnd::Superseded(outcome, usage, trap) => (outcome, usage, trap),
        };
        if let RunEnd::CutOff(failure) = end {
            self.count_unshielded(failure);
        }
        if matches!(end, RunEnd::Failed(_) | RunEnd::CutOff(_) | RunEnd::Superseded(..)) {
            self.is_unanswered = false;
        }
        let now = clock::now();
        self.count(now, outcome, usage, trap);
        Some((in_flight, now))
    }

    /// Counts a failure that came too late for the shield.
    fn count_unshielded(&self, failure: &InvokeFailure) {
        let blamed = failure.cause.outcome().is_failure() || failure.cause == FailureCause::Recalled;
        let shielded = self.observed.as_ref().is_some_and(|observed| observed.shielded);
        if shielded && blamed && !self.body_has_failed() {
            self.version.tally.shielded(Shielding::ResponseBegun);
        }
    }

    fn count(&self, now: Instant, outcome: Outcome, usage: Usage, trap: Option<&Trap>) {
        let broken = self.progress.as_ref().is_some_and(|progress| progress.is_broken());
        let outcome = if broken {
            Outcome::Cancelled
        } else if usage.starved && outcome.is_failure() {
            // Whatever the guest made of that.
            Outcome::Shed
        } else {
            outcome
        };
        let trap = trap.filter(|_| outcome == Outcome::Trap);
        // A slow client does not make a version slow.
        let latency =
            now.saturating_duration_since(self.started).saturating_sub(self.unsent(now) + self.unread);
        let Usage { queue_wait, memory_peak_bytes, .. } = usage;
        let record = InvocationRecord { outcome, latency, queue_wait, memory_peak_bytes };
        let tally = if self.asked_for { self.version.tally.of_overrides() } else { &self.version.tally };
        tally.record(record);
        if let Some(trap) = trap {
            tally.trapped(trap.fingerprint);
        }
        if let Some(run) = &self.record {
            run.ended(now, outcome, trap.map(|trap| &*trap.backtrace));
            let traced = run.request().trace().filter(|trace| trace.sampled && outcome.counts());
            if let Some(trace) = traced {
                let (trace_id, at) = (trace.id.bits(), clock::since_epoch());
                tally.exemplify(LatencyExemplar { latency, trace_id, at });
            }
        }
        tracing::debug!(%outcome, ?latency, "request ended");
        if let (Some(observed), Some(observer)) = (&self.observed, self.version.observer()) {
            let ObservedRequest { ticket, side, placement, user, request_id, .. } = *observed;
            let sent = self.progress.as_ref().is_none_or(|progress| progress.is_complete());
            let abandoned = outcome == Outcome::Cancelled && sent && self.is_unanswered;
            let request_id = request_id.bits();
            observer.request_ended(&Observation {
                ticket,
                side,
                placement,
                record,
                abandoned,
                at: now,
                user,
                request_id,
                trap,
            });
        }
    }
}

/// Why nobody waits for the response any more.
fn lost(in_flight: &InFlight) -> Lost {
    if std::thread::panicking() {
        Lost::Panicked
    } else if in_flight.connection().orders.current() == Order::Cut {
        Lost::Drained
    } else {
        Lost::ClientLeft
    }
}

impl<V> Drop for RequestRun<V> {
    fn drop(&mut self) {
        self.end(RunEnd::Lost(Usage::default()));
    }
}
