//! Counting a request exactly once, however it ends, and telling its trial.

use std::{
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use wasm_fn_core::{Outcome, Side, Trap};
use wasm_fn_router::{InvocationRecord, Observation, HeldVersion, Assignment, Placement, Recalled, Shielding, ObservationTicket};

use crate::{
    Cause, Failure, RequestId, Usage, clock,
    failure::Lost,
    request_body::Fate,
    watch::{InFlight, Order, ReaderWait},
};

/// A timeout is the client's when the guest waited for its body for one part in so many of the time.
const SENDING_PART: u32 = 10;

/// The same when the guest waited for it to read. More, for a guest that has no end of things to say fills every
/// connection.
const READING_PART: u32 = 2;

/// Up to so long a wait for the client to read is a connection's usual way of going.
const READING_MIN: Duration = Duration::from_millis(10);

/// Counts one run of a request on its version: when it is told how it ended, or as lost when it is dropped before that.
pub(crate) struct Tallying<V> {
    version: HeldVersion<V>,
    started: Instant,
    fate: Option<Arc<Fate>>,
    /// How long the client made runs before this one wait for its body.
    sent_before: Duration,
    /// How long the client made this run wait by not reading.
    unread: Duration,
    // `None` once counted.
    in_flight: Option<InFlight>,
    part: Option<ObservedRequest>,
    // Whether nothing of an answer is there yet, so that a client who leaves has waited for the version.
    is_unanswered: bool,
    asked_for: bool,
}

/// A request's part in its stage's trial, for as long as it takes.
pub(crate) struct ObservedRequest {
    ticket: ObservationTicket,
    side: Side,
    placement: Placement,
    // Whether a second run was possible until its response began.
    shielded: bool,
    user: Option<u64>,
    request_id: RequestId,
    // Made when the canary first waits: most never do.
    recalled: Option<Recalled>,
}

impl ObservedRequest {
    /// The `part` of the request with `request_id` in the trial of `version`'s stage, which is told that it begins at
    /// `at`; `None` where there is no trial.
    pub(crate) fn begin<V>(
        part: &Assignment,
        request_id: RequestId,
        version: &HeldVersion<V>,
        at: Instant,
    ) -> Option<Self> {
        let ticket = version.observer()?.request_began(part, at);
        let (side, placement, user, shielded) = (part.side, part.placement, part.user, part.fallback_after.is_some());
        Some(Self { ticket, side, placement, shielded, user, request_id, recalled: None })
    }
}

impl<V> Tallying<V> {
    /// Counts a run on `version` of a request that began at `started`; `part` is its part in the stage's trial.
    ///
    /// A request that asked for the version says nothing of how it does: it is counted apart, and no trial hears of it.
    pub(crate) fn new(
        version: HeldVersion<V>,
        started: Instant,
        fate: Option<Arc<Fate>>,
        in_flight: InFlight,
        part: Option<ObservedRequest>,
        asked_for: bool,
    ) -> Self {
        let (sent_before, unread) = (Duration::ZERO, Duration::ZERO);
        let in_flight = Some(in_flight);
        let is_unanswered = true;
        Self { version, started, fate, sent_before, unread, in_flight, part, is_unanswered, asked_for }
    }

    /// The version that this run of the request is on.
    pub(crate) fn version(&self) -> &HeldVersion<V> {
        &self.version
    }

    /// When this run of the request began.
    pub(crate) fn started(&self) -> Instant {
        self.started
    }

    /// Whether the request's body grew over its limit.
    pub(crate) fn body_is_too_large(&self) -> bool {
        self.fate.as_ref().is_some_and(|fate| fate.is_too_large())
    }

    /// Whether the request's body grew over its limit or was broken off: no version can be asked again.
    pub(crate) fn body_has_failed(&self) -> bool {
        self.fate.as_ref().is_some_and(|fate| fate.is_too_large() || fate.is_broken())
    }

    /// Ready when the version under test, which works on the request, was recalled.
    pub(crate) fn poll_recalled(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match (&mut self.part, self.version.observer()) {
            (Some(part), Some(observer)) if part.side == Side::Canary && self.in_flight.is_some() => {
                part.recalled.get_or_insert_with(|| observer.recalled()).as_mut().poll(cx)
            }
            _ => Poll::Pending,
        }
    }

    /// How long the client made this run wait for its body until `now`.
    fn unsent(&self, now: Instant) -> Duration {
        let waited = self.fate.as_ref().map_or(Duration::ZERO, |fate| fate.waited(now));
        waited.saturating_sub(self.sent_before)
    }

    /// Whether it is the client's doing if there is no answer yet: the guest waits for its body, or had to wait for the
    /// client for so long that it did not have its own time.
    pub(crate) fn waits_for_client(&self) -> bool {
        if self.fate.as_ref().is_some_and(|fate| fate.is_awaited()) {
            return true;
        }
        let now = clock::now();
        let took = now.saturating_duration_since(self.started);
        let is_part = |waited: Duration, part| !waited.is_zero() && waited * part >= took;
        is_part(self.unsent(now), SENDING_PART) || is_part(self.unread, READING_PART)
    }

    /// `failure`, as the client's if a deadline passed because of the client.
    pub(crate) fn excuse(&self, failure: Failure) -> Failure {
        if matches!(failure.cause, Cause::Timeout | Cause::BeganLate) && self.waits_for_client() {
            Failure { cause: Cause::ClientTooSlow, ..failure }
        } else {
            failure
        }
    }

    /// Notes that the client has read what it had to, and made the guest wait for that.
    pub(crate) fn end_reader_wait(&mut self, wait: ReaderWait) {
        let waited = wait.end();
        if waited >= READING_MIN {
            self.unread += waited;
        }
    }

    /// Notes that a frame went to the connection; `None` once the request is counted.
    pub(crate) fn wait_for_reader(&self) -> Option<ReaderWait> {
        self.in_flight.as_ref().map(|in_flight| in_flight.watch().wait_for_reader())
    }

    /// Notes that there is an answer, so that a client who leaves from now on has not waited in vain.
    pub(crate) fn answers(&mut self) {
        self.is_unanswered = false;
    }

    /// Counts the request, unless it was counted.
    ///
    /// A client that broke off its own body makes every outcome a cancellation, so that clients
    /// cannot have a version blamed.
    pub(crate) fn finish(&mut self, outcome: Outcome, usage: Usage) {
        self.end(outcome, usage, None);
    }

    /// Counts the request as failed, unless it was counted.
    pub(crate) fn fail(&mut self, failure: &Failure) {
        self.answers();
        self.end(failure.cause.outcome(), failure.usage, failure.trap.as_ref());
    }

    /// Counts the request as failed after its response began, unless it was counted; the shield came too late for it.
    pub(crate) fn cut_off(&mut self, failure: &Failure) {
        let blamed = failure.cause.outcome().is_failure() || failure.cause == Cause::Recalled;
        let shielded = self.part.as_ref().is_some_and(|part| part.shielded);
        if shielded && blamed && self.in_flight.is_some() && !self.body_has_failed() {
            self.version.tally.shielded(Shielding::ResponseBegun);
        }
        self.fail(failure);
    }

    /// Counts this run of the request; the next one, which begins now, is on `version`, and no trial hears of it.
    ///
    /// Its latency is its own: the time that the run before took is not its version's.
    pub(crate) fn pass_on(
        mut self,
        outcome: Outcome,
        usage: Usage,
        trap: Option<&Trap>,
        version: HeldVersion<V>,
    ) -> Self {
        let now = clock::now();
        self.answers();
        // Taken first, so that the request is under way whatever happens meanwhile.
        let in_flight = self.in_flight.take();
        let sent_before = self.fate.as_ref().map_or(Duration::ZERO, |fate| fate.waited(now));
        let next = Self {
            version,
            started: now,
            fate: self.fate.clone(),
            sent_before,
            unread: Duration::ZERO,
            in_flight,
            part: None,
            is_unanswered: true,
            asked_for: false,
        };
        if next.in_flight.is_some() {
            self.count(now, outcome, usage, trap);
        }
        next
    }

    /// Counts the request as one that nobody waits for any more, unless it was counted.
    pub(crate) fn lose(&mut self, usage: Usage) {
        let Some(in_flight) = &self.in_flight else { return };
        let lost = if std::thread::panicking() {
            Lost::Panicked
        } else if in_flight.watch().order() == Order::Cut {
            Lost::Drained
        } else {
            Lost::ClientLeft
        };
        self.finish(lost.outcome(), usage);
    }

    fn end(&mut self, outcome: Outcome, usage: Usage, trap: Option<&Trap>) {
        let Some(in_flight) = self.in_flight.take() else { return };
        let now = clock::now();
        self.count(now, outcome, usage, trap);
        in_flight.end(now);
    }

    fn count(&self, now: Instant, outcome: Outcome, usage: Usage, trap: Option<&Trap>) {
        let broken = self.fate.as_ref().is_some_and(|fate| fate.is_broken());
        let outcome = if broken {
            Outcome::Cancelled
        } else if usage.starved && outcome.is_failure() {
            // Whatever it made of that.
            Outcome::Shed
        } else {
            outcome
        };
        let trap = trap.filter(|_| outcome == Outcome::Trap);
        // A client that is slow makes no version slow.
        let latency =
            now.saturating_duration_since(self.started).saturating_sub(self.unsent(now) + self.unread);
        let Usage { queue_wait, memory_peak_bytes, .. } = usage;
        let record = InvocationRecord { outcome, latency, queue_wait, memory_peak_bytes };
        let tally = if self.asked_for { self.version.tally.of_overrides() } else { &self.version.tally };
        tally.record(record);
        if let Some(trap) = trap {
            tally.trapped(trap.fingerprint);
        }
        tracing::debug!(%outcome, ?latency, "request ended");
        if let (Some(part), Some(observer)) = (&self.part, self.version.observer()) {
            let ObservedRequest { ticket, side, placement, user, request_id, .. } = *part;
            let sent = self.fate.as_ref().is_none_or(|fate| fate.is_complete());
            let abandoned = outcome == Outcome::Cancelled && sent && self.is_unanswered;
            let request_id = request_id.bits();
            observer.request_ended(&Observation { ticket, side, placement, record, abandoned, at: now, user, request_id, trap });
        }
    }
}

impl<V> Drop for Tallying<V> {
    fn drop(&mut self) {
        self.lose(Usage::default());
    }
}
