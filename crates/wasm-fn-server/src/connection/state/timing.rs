//! When a connection was polled, idle, receiving a head or waiting for its client.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use crate::{connection::poll_average, options::ServerOptions};

/// When a connection was polled, idle, receiving a head or waiting for its client.
pub(crate) struct Timing {
    opened: Instant,
    /// Whether a request was received.
    began: AtomicBool,
    in_flight: AtomicU32,
    /// When the last request ended: microseconds after `opened`, plus 1; 0 is never.
    ended: AtomicU64,
    /// Since when a head is being received; as above.
    head_since: AtomicU64,
    /// When the task was last polled: nanoseconds after `opened`.
    polled: AtomicU64,
    /// The latest time that the task has read: nanoseconds after `opened`.
    moment: AtomicU64,
    /// How long the task waited for the thread that polls it now, nanoseconds.
    schedule_delay: AtomicU64,
    /// Whether the current poll is in the thread's average.
    measured: AtomicBool,
    waits: Mutex<Waits>,
}

/// Why a connection is closed if nothing changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CloseReason {
    /// It has had no request for too long.
    Idle,
    /// It has received no complete head for too long.
    SlowHead,
    /// Its client does not read a response.
    Stalled,
    /// Its client does not send the rest of a body after the response.
    SlowBody,
}

/// Responses that wait for their client to read, oldest first: (number, since).
#[derive(Default)]
struct Waits {
    next: u64,
    since: Vec<(u64, u64)>,
}

impl Timing {
    pub(super) fn new(opened: Instant) -> Self {
        Self {
            opened,
            began: AtomicBool::new(false),
            in_flight: AtomicU32::new(0),
            ended: AtomicU64::new(0),
            head_since: AtomicU64::new(0),
            polled: AtomicU64::new(0),
            moment: AtomicU64::new(0),
            schedule_delay: AtomicU64::new(0),
            measured: AtomicBool::new(false),
            waits: Mutex::default(),
        }
    }

    /// When the connection was accepted.
    pub(crate) fn opened(&self) -> Instant {
        self.opened
    }

    /// Notes that the connection's task is polled at `now`, after it `waited` for a thread.
    pub(crate) fn polled(&self, now: Instant, waited: Duration) {
        let since = self.since_opened(now);
        self.polled.store(since, Relaxed);
        self.moment.store(since, Relaxed);
        self.schedule_delay.store(nanos(waited), Relaxed);
        self.measured.store(false, Relaxed);
    }

    /// How long the connection's task waited for the thread that polls it now, or polled it last.
    pub(crate) fn schedule_delay(&self) -> Duration {
        Duration::from_nanos(self.schedule_delay.load(Relaxed))
    }

    /// The latest time that the task has read.
    pub(super) fn moment(&self) -> Instant {
        self.opened + Duration::from_nanos(self.moment.load(Relaxed))
    }

    /// Whether the current poll is in the thread's average.
    pub(super) fn is_measured(&self) -> bool {
        self.measured.load(Relaxed)
    }

    /// Adds the current poll, which lasted until `now` without the time for sending, to the thread's average.
    pub(super) fn measure(&self, now: Instant) {
        self.measured.store(true, Relaxed);
        poll_average::polled(now.saturating_duration_since(self.polled_at()));
    }

    /// Whether a request is in flight.
    pub(super) fn is_busy(&self) -> bool {
        self.in_flight.load(Relaxed) > 0
    }

    /// Notes that bytes arrived in the current poll. Unless a request is in flight, they belong to a head;
    /// returns whether it begins.
    pub(super) fn received(&self) -> Option<bool> {
        if self.is_busy() {
            return None;
        }
        let begins = self.head_since.load(Relaxed) == 0;
        if begins {
            self.head_since.store(self.stamp(self.polled_at()), Relaxed);
        }
        Some(begins)
    }

    /// Notes that a handshake begins. It may take as long as a head, also while the server drains: its client
    /// is not idle.
    pub(crate) fn begin_handshake(&self) {
        self.head_since.store(self.stamp(self.opened), Relaxed);
    }

    /// Notes that the handshake has ended at `at`.
    pub(crate) fn end_handshake(&self, at: Instant) {
        self.head_since.store(0, Relaxed);
        self.ended(at);
    }

    /// Notes that the head of a request is complete.
    pub(super) fn begin(&self) {
        self.in_flight.fetch_add(1, Relaxed);
        self.began.store(true, Relaxed);
        self.head_since.store(0, Relaxed);
    }

    /// Notes that the task has read the time `at`.
    pub(super) fn advance(&self, at: Instant) {
        self.moment.store(self.since_opened(at), Relaxed);
    }

    /// Notes that a request ended at `at`.
    pub(super) fn end(&self, at: Instant) {
        self.ended(at);
        self.in_flight.fetch_sub(1, Relaxed);
    }

    /// Notes that the connection has nothing to do from `at` on.
    pub(super) fn ended(&self, at: Instant) {
        self.ended.store(self.stamp(at), Relaxed);
    }

    /// When the connection is overdue if nothing changes, and why; `None` while guests work. `draining` is
    /// the start of a drain. `receiving` says whether the latest request's body is still being received.
    pub(super) fn due(
        &self,
        options: &ServerOptions,
        draining: Option<Instant>,
        receiving: bool,
    ) -> Option<(Instant, CloseReason)> {
        let waits = self.waits();
        if let Some(&(_, since)) = waits.since.first() {
            return Some((self.time(since) + options.stall_timeout, CloseReason::Stalled));
        }
        if self.is_busy() {
            return None;
        }
        if receiving && draining.is_none() {
            let ended = self.time(self.ended.load(Relaxed));
            return Some((ended + options.stall_timeout, CloseReason::SlowBody));
        }
        match self.head_since.load(Relaxed) {
            0 => {}
            since => return Some((self.time(since) + options.head_timeout, CloseReason::SlowHead)),
        }
        let idle_since = self.time(self.ended.load(Relaxed));
        if let Some(draining) = draining {
            return Some((idle_since.max(draining) + options.drain_grace, CloseReason::Idle));
        }
        if self.began.load(Relaxed) {
            Some((idle_since + options.idle_timeout, CloseReason::Idle))
        } else {
            Some((self.opened + options.head_timeout, CloseReason::SlowHead))
        }
    }

    /// Notes that a response waits for its client from `since` on. Returns the number of the wait.
    pub(super) fn begin_wait(&self, since: Instant) -> u64 {
        let mut waits = self.waits();
        let number = waits.next;
        waits.next += 1;
        waits.since.push((number, self.stamp(since)));
        number
    }

    /// Notes that the wait `number` is over.
    pub(super) fn end_wait(&self, number: u64) {
        self.waits().since.retain(|&(other, _)| other != number);
    }

    fn waits(&self) -> MutexGuard<'_, Waits> {
        self.waits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn polled_at(&self) -> Instant {
        self.opened + Duration::from_nanos(self.polled.load(Relaxed))
    }

    fn since_opened(&self, at: Instant) -> u64 {
        nanos(at.saturating_duration_since(self.opened))
    }

    fn stamp(&self, at: Instant) -> u64 {
        let micros = at.saturating_duration_since(self.opened).as_micros();
        u64::try_from(micros).unwrap_or(u64::MAX - 1) + 1
    }

    fn time(&self, stamp: u64) -> Instant {
        self.opened + Duration::from_micros(stamp.saturating_sub(1))
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
