//! Evidence in the order in which requests began.
//!
//! What a version is charged with must not depend on how soon its requests end. If responses were taken as
//! they come, a version that fails at once and succeeds after seconds would look broken for those seconds,
//! and one whose deadline is shorter than its rival's would look worse than it. So a trial is a request that
//! began. Requests are gathered in *epochs* by when they began; an epoch is closed when something bad is
//! heard, and the gate takes it when all of its requests, and all of those before, have ended. The gate's
//! test is valid at every prefix of that order, so where the epochs end, and when the gate is asked, may
//! depend on anything.
//!
//! The evidence waits for a request for at most [`WAIT_MAX`], or until the later deadline if those of the
//! versions differ. A request that ends after that counts when it ends, and only if it is bad: as a hit
//! without a trial.
//!
//! A good response takes no lock: it adds one to a counter of its epoch. Half of all responses are above the
//! median, so only those of a sample are held to it, and they close an epoch only now and then.

mod cluster;
mod lanes;
mod sample;
mod ticket;
mod told;

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use wasm_fn_core::{Outcome, Weight};

use crate::{Arm, Batch, Class, Event, Gate, Response, Thresholds, Trapped, Verdict};

use cluster::Clusters;
use lanes::{Lane, Slot, Voices};
use sample::Sample;
use told::{Label, Told};

pub use ticket::FeedTicket;
pub(crate) use told::add as add_piece;
pub use told::{Drained, Piece, RoundReport, VoiceBits};

/// How long the evidence waits for a request: longer than most requests may take, and short enough for a
/// person who is waiting.
pub const WAIT_MAX: Duration = Duration::from_secs(30);

/// How much later than its deadline a hanging request may end.
const GRACE: Duration = Duration::from_secs(1);

/// How often a gate starts looking for a new fault.
const RENEW_AFTER: Duration = Duration::from_secs(60);

/// Minimum duration of an epoch in which nothing is worse than latencies above the median.
const MEDIAN_AFTER: Duration = Duration::from_millis(250);

/// Maximum number of epochs that are open or waiting. At the maximum, the newest one grows.
const EPOCHS_MAX: u32 = 64;

/// A gate, and the evidence that it has not taken yet.
pub struct Feed {
    current: AtomicU32,
    clusters: Clusters,
    sample: Sample,
    voices: Voices,
    slots: Box<[Slot]>,
    /// How long the evidence waits for a request.
    wait: Duration,
    inner: Mutex<Inner>,
}

/// The end of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ending {
    /// How it ended.
    pub outcome: Outcome,
    /// From the request's head to the end of the response, or until the client left.
    pub latency: Duration,
    /// Peak linear memory of the instance, bytes.
    pub memory_peak_bytes: u64,
    /// 64-bit hash of the sticky key under sticky routing.
    pub user: Option<u64>,
    /// When it ended.
    pub at: Instant,
}

/// A part of a rollout in which the shares stay the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// Its number. Requests that began under another number are left out.
    pub no: u32,
    /// The canary's share of the requests.
    pub share: Weight,
    /// The baseline's.
    pub baseline_share: Weight,
    /// Whether it begins a step.
    pub begins_step: bool,
    /// Whether nobody is on the canary by chance, so that its cohort decides what passes.
    pub by_cohort: bool,
}

struct Inner {
    gate: Gate,
    /// The oldest epoch that the gate has not taken.
    tail: u32,
    stretch: Stretch,
    /// Steps that have begun but of which the gate has taken no epoch yet.
    steps_ahead: u32,
    thresholds: Thresholds,
    // By epoch, modulo their number.
    pending: Box<[Pending]>,
    /// When the epoch before the current one was closed.
    closed: Option<Instant>,
    /// Slow responses to requests that began before this time share their cause with one that was counted.
    slow_until: Option<Instant>,
    renewed: Option<Instant>,
    /// Number of users that the newest step has heard so far.
    voices: u64,
    /// Where requests that begin now belong.
    label: Label,
    /// What other nodes are told of what the gate takes.
    told: Option<Box<Told>>,
}

/// What an epoch's counters do not show.
struct Pending {
    batch: Batch,
    thresholds: Thresholds,
    closed: Option<Instant>,
    begins_step: bool,
    by_cohort: bool,
    slow: Option<Slow>,
    label: Label,
}

/// The canary's slow responses in an epoch that are not clustered.
#[derive(Clone, Copy)]
struct Slow {
    /// When the last of them began.
    began: Instant,
    /// When the last of them ended.
    ended: Instant,
}

impl Feed {
    /// Feeds `gate`, in `stretch`, under `thresholds`.
    pub fn new(mut gate: Gate, stretch: Stretch, thresholds: Thresholds) -> Self {
        gate.set_by_cohort(stretch.by_cohort);
        let pending = (0..EPOCHS_MAX).map(|_| Pending::new(&stretch, thresholds));
        let slots: Box<[Slot]> = (0..EPOCHS_MAX).map(|_| Slot::default()).collect();
        slots[0].open(0, stretch.no, &thresholds);
        let feed = Self {
            current: AtomicU32::new(0),
            clusters: Clusters::default(),
            sample: Sample::default(),
            voices: Voices::default(),
            slots,
            wait: WAIT_MAX,
            inner: Mutex::new(Inner {
                gate,
                tail: 0,
                stretch: Stretch { begins_step: false, ..stretch },
                steps_ahead: stretch.begins_step.into(),
                thresholds,
                pending: pending.collect(),
                closed: None,
                slow_until: None,
                renewed: None,
                voices: 0,
                label: Label::default(),
                told: None,
            }),
        };
        feed.set_sampling(&stretch, &thresholds);
        feed
    }

    /// Sets the deadlines of the versions. If they differ, the evidence waits until the later one. Otherwise
    /// requests that hang on both sides would count sooner on the side with the earlier deadline.
    #[must_use]
    pub fn with_deadlines(self, canary: Duration, stable: Duration) -> Self {
        let later = canary.max(stable).saturating_add(GRACE);
        Self { wait: if canary == stable { WAIT_MAX } else { WAIT_MAX.max(later) }, ..self }
    }

    /// Records that a request of `arm` begins at `at` under the stretch with number `stretch`. `user` is the
    /// 64-bit hash of its sticky key.
    pub fn begin(&self, stretch: u32, arm: Arm, user: Option<u64>, at: Instant) -> FeedTicket {
        let lane = Lane::of(arm, arm == Arm::Canary && self.clusters.hold(at));
        loop {
            let epoch = self.current.load(SeqCst);
            let slot = self.slot(epoch);
            if slot.stretch() != stretch {
                return FeedTicket::new(epoch, None, false);
            }
            let before = slot.begin(lane);
            if self.current.load(SeqCst) == epoch {
                if arm == Arm::Canary
                    && let Some(user) = user
                {
                    slot.begin_sticky();
                    self.voices.hear(user);
                }
                let beside = matches!(arm, Arm::Canary | Arm::Baseline);
                let sampled = beside && self.sample.takes(at, before);
                if sampled {
                    slot.begin_sampled(lane, user.is_none());
                }
                return FeedTicket::new(epoch, Some(lane), sampled);
            }
            // The epoch was closed meanwhile, and may have been taken without this request.
            slot.unbegin(lane);
            self.take_ended(epoch, at);
        }
    }

    /// Records that the request with `ticket` has ended. Returns whether the gate has learnt something.
    pub fn end(&self, ticket: FeedTicket, ending: &Ending) -> bool {
        let Some(lane) = ticket.lane() else { return false };
        let epoch = ticket.epoch();
        let slot = self.slot(epoch);
        let mut learnt = false;
        let mut judged = slot.judge(lane, ending);
        if ticket.is_sampled() {
            // This must come before the epoch is taken. Otherwise the request could also count as in flight.
            judged = slot.end_sampled(epoch, lane, ending, judged);
        }
        match judged {
            Judged::Good => {}
            Judged::Neutral => slot.neutral(epoch, lane),
            Judged::Bad => learnt = self.take_bad(ticket, lane, ending),
        }
        slot.end(epoch);
        // Nothing waits for an open epoch.
        if self.current.load(SeqCst) != epoch && slot.has_ended() {
            learnt |= self.take_ended(epoch, ending.at);
        }
        learnt
    }

    /// Records a trap, which counts at once.
    pub fn trap(&self, trapped: &Trapped) {
        self.inner().gate.trap(trapped);
    }

    /// Begins another stretch at `at`, under `thresholds`.
    pub fn begin_stretch(&self, stretch: Stretch, thresholds: Thresholds, at: Instant) {
        let place = self.inner().label.place;
        self.begin_stretch_at(place, stretch, thresholds, at);
    }

    /// The same, at another place of the plan: other nodes have the same number for it, and greater ones for
    /// those after it.
    pub fn begin_stretch_at(&self, place: u32, stretch: Stretch, thresholds: Thresholds, at: Instant) {
        let mut inner = self.inner();
        (inner.stretch, inner.thresholds, inner.label.place) = (stretch, thresholds, place);
        self.set_sampling(&stretch, &thresholds);
        if !self.close(&mut inner, at) {
            let oldest = inner.tail;
            self.take(&mut inner, oldest, at);
            self.close(&mut inner, at);
        }
        if stretch.begins_step {
            inner.steps_ahead += 1;
            self.voices.forget();
        }
        inner.stretch.begins_step = false;
        self.advance(&mut inner, at);
    }

    /// Holds requests that begin from now on to `thresholds`.
    pub fn hold_to(&self, thresholds: Thresholds, at: Instant) {
        let mut inner = self.inner();
        inner.thresholds = thresholds;
        self.set_sampling(&inner.stretch, &thresholds);
        self.close(&mut inner, at);
        self.advance(&mut inner, at);
    }

    /// Samples requests while there is a baseline to compare them with and the evidence waits longer than the
    /// median, so that whatever is still in flight then is above it.
    fn set_sampling(&self, stretch: &Stretch, thresholds: &Thresholds) {
        let beside = stretch.share != Weight::ZERO && stretch.baseline_share != Weight::ZERO;
        let known = thresholds.median_above.is_some_and(|limits| limits.canary < WAIT_MAX);
        self.sample.set_on(beside && known);
    }

    /// Has the gate take everything that it can take at `now`, and returns its verdict.
    pub fn ask<T>(&self, now: Instant, ask: impl FnOnce(&Gate) -> T) -> T {
        ask(&self.taken(now).gate)
    }

    /// The verdict on the newest step, from everything that the gate can take at `now`.
    pub fn verdict_at(&self, now: Instant) -> Verdict {
        self.taken(now).verdict()
    }

    /// The same, from what the gate has taken so far.
    pub fn verdict(&self) -> Verdict {
        self.inner().verdict()
    }

    /// Requests of the canary in that step, as far as the gate can take them at `now`.
    pub fn step_requests(&self, now: Instant) -> u64 {
        let inner = self.taken(now);
        if inner.steps_ahead > 0 { 0 } else { inner.gate.step_requests() }
    }

    /// Requests of the arms that have begun: in epochs that were taken, and in those that were not.
    pub fn begun(&self, arm: Arm) -> u64 {
        let inner = self.inner();
        let taken = inner.gate.evidence();
        let taken = match arm {
            Arm::Canary => taken.canary.requests,
            Arm::Cohort => taken.cohort.requests,
            Arm::Baseline => taken.baseline.requests,
            Arm::Stable => taken.stable.requests,
        };
        let epochs = inner.tail..=self.current.load(SeqCst);
        let open: u64 = epochs.map(|epoch| self.slot(epoch).begun_of(arm)).sum();
        taken.saturating_add(open)
    }

    /// Has the gate take everything that it can take at `now`.
    fn taken(&self, now: Instant) -> MutexGuard<'_, Inner> {
        let mut inner = self.inner();
        // Epochs that have ended make room for another one.
        self.advance(&mut inner, now);
        if self.slot(self.current.load(SeqCst)).has_begun() {
            self.close(&mut inner, now);
            self.advance(&mut inner, now);
        }
        inner
    }

    fn slot(&self, epoch: u32) -> &Slot {
        &self.slots[(epoch % EPOCHS_MAX) as usize]
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // Only a defect of the gate can panic while it is locked, and its numbers stay valid then.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records a bad response to the request of `ticket` and closes its epoch if that is open. Returns
    /// whether the gate has learnt something.
    fn take_bad(&self, ticket: FeedTicket, lane: Lane, ending: &Ending) -> bool {
        let (epoch, sampled) = (ticket.epoch(), ticket.is_sampled());
        let mut inner = self.inner();
        let (arm, clustered) = lane.arm();
        let response = Response {
            arm,
            outcome: ending.outcome,
            latency: ending.latency,
            memory_peak_bytes: ending.memory_peak_bytes,
            user: ending.user,
            clustered,
            sampled,
        };
        if epoch < inner.tail {
            return inner.take_late(&response);
        }
        let pending = inner.pending(epoch);
        pending.batch.add(&response, &pending.thresholds);
        let exceeded = || pending.thresholds.exceeded(&response);
        let by_median =
            Class::of(ending.outcome).is_none() && exceeded().all(|event| event == Event::AboveMedian);
        if arm == Arm::Canary && !clustered && exceeded().any(Event::is_of_latency) {
            let began = ending.at.checked_sub(ending.latency).unwrap_or(ending.at);
            let before = pending.slow.unwrap_or(Slow { began, ended: ending.at });
            let (began, ended) = (before.began.max(began), before.ended.max(ending.at));
            pending.slow = Some(Slow { began, ended });
            self.clusters.begin(ending.at);
        }
        if !by_median && matches!(arm, Arm::Canary | Arm::Cohort) {
            inner.hurry();
        }
        // Epochs that have waited long enough are taken first, because another epoch may need their place.
        let advanced = self.advance(&mut inner, ending.at);
        let soon = |closed| ending.at.saturating_duration_since(closed) < MEDIAN_AFTER;
        if self.current.load(SeqCst) == epoch && !(by_median && inner.closed.is_some_and(soon)) {
            self.close(&mut inner, ending.at);
        }
        advanced
    }

    /// Handles the end of the last request in flight of `epoch`, which is closed.
    fn take_ended(&self, epoch: u32, at: Instant) -> bool {
        let mut inner = self.inner();
        epoch >= inner.tail && self.advance(&mut inner, at)
    }

    /// Closes the current epoch, if there is room for another.
    fn close(&self, inner: &mut Inner, at: Instant) -> bool {
        let current = self.current.load(SeqCst);
        let next = current.wrapping_add(1);
        if next.wrapping_sub(inner.tail) >= EPOCHS_MAX {
            return false;
        }
        inner.pending(current).closed = Some(at);
        inner.closed = Some(at);
        let (stretch, thresholds) = (inner.stretch, inner.thresholds);
        *inner.pending(next) = Pending { label: inner.label, ..Pending::new(&stretch, thresholds) };
        self.slot(next).open(next, stretch.no, &thresholds);
        self.current.store(next, SeqCst);
        true
    }

    /// Has the gate take the epochs that have ended, in their order. Returns whether there was one.
    fn advance(&self, inner: &mut Inner, now: Instant) -> bool {
        let since = inner.renewed.get_or_insert(now);
        if now.saturating_duration_since(*since) >= RENEW_AFTER {
            inner.renewed = Some(now);
            inner.gate.renew();
        }
        let mut advanced = false;
        loop {
            let epoch = inner.tail;
            if epoch == self.current.load(SeqCst) {
                return advanced;
            }
            let closed = inner.pending(epoch).closed.unwrap_or(now);
            let late = now.saturating_duration_since(closed) >= self.wait;
            if !late && !self.slot(epoch).has_ended() {
                return advanced;
            }
            self.take(inner, epoch, now);
            advanced = true;
        }
    }

    /// Has the gate take `epoch`, the oldest, at `now`.
    fn take(&self, inner: &mut Inner, epoch: u32, now: Instant) {
        let stretch = inner.stretch;
        let Pending { mut batch, thresholds, closed, slow, begins_step, by_cohort, label } =
            std::mem::replace(inner.pending(epoch), Pending::new(&stretch, Thresholds::default()));
        let slot = self.slot(epoch);
        inner.tail = epoch.wrapping_add(1);
        for lane in Lane::ALL {
            let (arm, clustered) = lane.arm();
            let bad = batch.of_lane(arm, clustered).requests;
            batch.add_good(arm, clustered, slot.counted(lane).saturating_sub(bad));
        }
        if let Some(median) = thresholds.median_above {
            let waited = closed.map_or(Duration::ZERO, |closed| now.saturating_duration_since(closed));
            for (arm, sampled, under_way) in slot.sampled() {
                // A request that has not ended by now is above the median, however it ends, so the test need
                // not wait for it.
                let is_above = median.of(arm).is_some_and(|limit| waited > limit);
                let known = batch.of(arm).sampled;
                batch.add_sampled(arm, sampled.saturating_sub(known), if is_above { under_way } else { 0 });
            }
        }
        if begins_step {
            inner.gate.step();
            inner.steps_ahead = inner.steps_ahead.saturating_sub(1);
            inner.voices = 0;
        }
        inner.gate.set_by_cohort(by_cohort);
        // Users who were heard since a later step began belong to that step.
        let heard = if inner.steps_ahead > 0 { 0 } else { self.voices.count() };
        batch.voices = slot.drawn() + heard.saturating_sub(inner.voices);
        inner.voices = inner.voices.max(heard);
        batch.stalled = inner.slow_until.zip(slow).is_some_and(|(until, slow)| slow.began < until);
        if let Some(slow) = slow.filter(|_| !batch.stalled) {
            inner.slow_until = slow.ended.checked_add(cluster::LENGTH);
        }
        if !batch.is_empty() || batch.voices > 0 {
            inner.gate.observe(&batch);
            inner.tell(batch, slot.drawn(), by_cohort, label);
        }
        inner.note_complete();
    }
}

/// What a response is to the gate.
enum Judged {
    /// Nothing bad.
    Good,
    /// It says nothing about its version.
    Neutral,
    /// It failed, or was slow or large.
    Bad,
}

impl Inner {
    fn pending(&mut self, epoch: u32) -> &mut Pending {
        &mut self.pending[(epoch % EPOCHS_MAX) as usize]
    }

    /// The gate's verdict on the newest step.
    fn verdict(&self) -> Verdict {
        match self.steps_ahead {
            0 => self.gate.verdict(),
            _ => self.gate.verdict_of_next_step(self.stretch.by_cohort),
        }
    }

    /// Records a bad response to a request that counted as good when the evidence had waited long enough. It
    /// adds a hit but no trial: a trial that counted first as good and then as bad has a smaller likelihood
    /// ratio than one that was bad at once.
    ///
    /// For the median it was already bad when the gate took its epoch, unless it is a user's, because it is
    /// not known which users were in flight.
    fn take_late(&mut self, response: &Response) -> bool {
        let Stretch { share, baseline_share, .. } = self.stretch;
        let mut batch = Batch::new(share, baseline_share);
        let sampled = response.sampled && response.user.is_some();
        batch.add(&Response { sampled, ..*response }, &self.thresholds);
        batch.stalled = true;
        batch.forget_requests();
        self.gate.observe(&batch);
        let (label, by_cohort) = (self.oldest_label(), self.stretch.by_cohort);
        self.tell(batch, 0, by_cohort, label);
        true
    }
}

impl Pending {
    fn new(stretch: &Stretch, thresholds: Thresholds) -> Self {
        Self {
            batch: Batch::new(stretch.share, stretch.baseline_share),
            thresholds,
            closed: None,
            begins_step: stretch.begins_step,
            by_cohort: stretch.by_cohort,
            slow: None,
            label: Label::default(),
        }
    }
}

impl std::fmt::Debug for Feed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Feed").field("current", &self.current).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
