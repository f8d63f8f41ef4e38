//! What a connection is doing, seen from outside its protocol: when it was last idle, whether it is
//! sending a head, whether its client reads, and what the server wants of it.
//!
//! Requests only store to it. The connection's timer looks at it now and then, so that no timer is
//! touched per request.

use std::{
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering, fence},
    },
    task::Waker,
    time::{Duration, Instant},
};

use crate::{Options, clock, hold};

/// One connection's state, shared by its task, its requests and the server.
pub(crate) struct Watch {
    opened: Instant,
    waker: OnceLock<Waker>,
    order: AtomicU8,
    http2: AtomicBool,
    // Whether a request was received.
    began: AtomicBool,
    in_flight: AtomicU32,
    // Times are microseconds after `opened`, plus one, so that 0 is never.
    ended: AtomicU64,
    head_since: AtomicU64,
    /// When the task was polled last: nanoseconds after `opened`.
    polled: AtomicU64,
    /// The latest time that the task has read: nanoseconds after `opened`.
    moment: AtomicU64,
    /// How long the task waited for the thread that polls it now, nanoseconds.
    turn_wait: AtomicU64,
    /// Whether the task's thread knows how long it was polled for.
    measured: AtomicBool,
    /// Whether the answer that is sent is there as a whole.
    whole: AtomicBool,
    // Whether the latest request's body was not read to its end.
    unread: AtomicBool,
    waits: Mutex<Waits>,
}

/// What the server wants of a connection; only ever grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Order {
    /// Answer requests.
    Serve,
    /// Finish what is in flight, then close.
    Drain,
    /// Stop now.
    Cut,
}

/// What a connection is closed for when it goes on doing what it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// No request, for too long.
    Idle,
    /// No complete head, for too long.
    SlowHead,
    /// The client does not read its answer.
    Stalled,
}

/// Answers that wait for their client to read, oldest first: (number, since).
#[derive(Default)]
struct Waits {
    next: u64,
    since: Vec<(u64, u64)>,
}

/// A request that was received and has not ended; ends when dropped.
pub(crate) struct InFlight {
    watch: Arc<Watch>,
    ended: Option<Instant>,
}

/// A frame that was handed to the connection, until the next one is asked for.
pub(crate) struct ReaderWait {
    watch: Arc<Watch>,
    number: u64,
    since: Instant,
}

impl Watch {
    /// A connection accepted at `opened`.
    pub(crate) fn new(opened: Instant, order: Order) -> Self {
        Self {
            opened,
            waker: OnceLock::new(),
            order: AtomicU8::new(order as u8),
            http2: AtomicBool::new(false),
            began: AtomicBool::new(false),
            in_flight: AtomicU32::new(0),
            ended: AtomicU64::new(0),
            head_since: AtomicU64::new(0),
            polled: AtomicU64::new(0),
            moment: AtomicU64::new(0),
            turn_wait: AtomicU64::new(0),
            measured: AtomicBool::new(false),
            whole: AtomicBool::new(false),
            unread: AtomicBool::new(false),
            waits: Mutex::default(),
        }
    }

    /// When the connection was accepted.
    pub(crate) fn opened(&self) -> Instant {
        self.opened
    }

    /// Tells the connection what to do, and wakes it.
    pub(crate) fn tell(&self, order: Order) {
        self.order.fetch_max(order as u8, Ordering::AcqRel);
        // Whoever registers now sees the order, or is seen.
        fence(Ordering::SeqCst);
        self.wake();
    }

    /// Has the connection's task polled.
    pub(crate) fn wake(&self) {
        if let Some(waker) = self.waker.get() {
            waker.wake_by_ref();
        }
    }

    /// What to do. The connection's task registers its waker before it asks.
    pub(crate) fn order(&self) -> Order {
        match self.order.load(Ordering::Acquire) {
            0 => Order::Serve,
            1 => Order::Drain,
            _ => Order::Cut,
        }
    }

    /// Has `waker` woken by [`tell`](Self::tell), from now on; the first call counts.
    pub(crate) fn register(&self, waker: Waker) {
        let _ = self.waker.set(waker);
        fence(Ordering::SeqCst);
    }

    /// The connection's task is polled at `now`, and `waited` for that.
    pub(crate) fn polled(&self, now: Instant, waited: Duration) {
        let since = self.since_opened(now);
        self.polled.store(since, Ordering::Relaxed);
        self.moment.store(since, Ordering::Relaxed);
        self.turn_wait.store(nanos(waited), Ordering::Relaxed);
        self.measured.store(false, Ordering::Relaxed);
    }

    /// When the task can have begun to work on the request whose head it has just completed: when it was polled, or
    /// had done with the request before. Streams of HTTP/2 come and go side by side, so they read the clock.
    pub(crate) fn moment(&self) -> Instant {
        if self.is_http2() {
            return clock::now();
        }
        self.opened + Duration::from_nanos(self.moment.load(Ordering::Relaxed))
    }

    /// The poll of the connection's task ends.
    pub(crate) fn pause(&self) {
        if !self.measured.load(Ordering::Relaxed) {
            self.measure(clock::now());
        }
    }

    /// The poll of the connection's task has gone on until `now`, but for sending.
    fn measure(&self, now: Instant) {
        self.measured.store(true, Ordering::Relaxed);
        hold::polled(now.saturating_duration_since(self.polled_at()));
    }

    /// What is sent from now on belongs to an answer that is there as a whole, or is not: its body may yet fail, and
    /// its client must know the head by then.
    pub(crate) fn answer(&self, whole: bool) {
        self.whole.store(whole, Ordering::Relaxed);
    }

    /// Whether what is sent belongs to an answer that is there as a whole.
    pub(crate) fn answer_is_whole(&self) -> bool {
        self.whole.load(Ordering::Relaxed)
    }

    /// How long the connection's task waited for the thread that polls it now, or that polled it last.
    pub(crate) fn turn_wait(&self) -> Duration {
        Duration::from_nanos(self.turn_wait.load(Ordering::Relaxed))
    }

    /// The client speaks HTTP/2.
    pub(crate) fn speaks_http2(&self) {
        self.http2.store(true, Ordering::Relaxed);
    }

    /// Whether the client speaks HTTP/2.
    pub(crate) fn is_http2(&self) -> bool {
        self.http2.load(Ordering::Relaxed)
    }

    /// Bytes were received, in the poll that began last.
    pub(crate) fn received(&self) {
        let between = self.in_flight.load(Ordering::Relaxed) == 0;
        if between && !self.is_http2() && self.head_since.load(Ordering::Relaxed) == 0 {
            self.head_since.store(self.stamp(self.polled_at()), Ordering::Relaxed);
        }
    }

    /// A request's head is complete.
    pub(crate) fn begin(self: &Arc<Self>) -> InFlight {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        self.began.store(true, Ordering::Relaxed);
        self.head_since.store(0, Ordering::Relaxed);
        self.unread.store(false, Ordering::Relaxed);
        InFlight { watch: Arc::clone(self), ended: None }
    }

    /// A request was answered and the rest of its body will not be read.
    pub(crate) fn leave_unread(&self) {
        self.unread.store(true, Ordering::Relaxed);
    }

    /// Whether the client may still be sending a body that nobody reads; HTTP/2 resets its stream.
    pub(crate) fn has_unread(&self) -> bool {
        self.unread.load(Ordering::Relaxed) && !self.is_http2()
    }

    /// When the connection is overdue if nothing changes, and for what; `None` while guests work.
    ///
    /// `draining` is since when the server drains.
    pub(crate) fn due(&self, options: &Options, draining: Option<Instant>) -> Option<(Instant, Why)> {
        let waits = self.waits.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(&(_, since)) = waits.since.first() {
            return Some((self.time(since) + options.stall_timeout, Why::Stalled));
        }
        if self.in_flight.load(Ordering::Relaxed) > 0 {
            return None;
        }
        match self.head_since.load(Ordering::Relaxed) {
            0 => {}
            since => return Some((self.time(since) + options.head_timeout, Why::SlowHead)),
        }
        let idle_since = self.time(self.ended.load(Ordering::Relaxed));
        if let Some(draining) = draining {
            return Some((idle_since.max(draining) + options.drain_grace, Why::Idle));
        }
        if self.began.load(Ordering::Relaxed) {
            Some((idle_since + options.idle_timeout, Why::Idle))
        } else {
            Some((self.opened + options.head_timeout, Why::SlowHead))
        }
    }

    /// A frame goes to the connection, and its answer waits until the client made room for more.
    pub(crate) fn wait_for_reader(self: &Arc<Self>) -> ReaderWait {
        let since = clock::now();
        let mut waits = self.waits.lock().unwrap_or_else(PoisonError::into_inner);
        let number = waits.next;
        waits.next += 1;
        waits.since.push((number, self.stamp(since)));
        ReaderWait { watch: Arc::clone(self), number, since }
    }

    fn polled_at(&self) -> Instant {
        self.opened + Duration::from_nanos(self.polled.load(Ordering::Relaxed))
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

impl InFlight {
    /// The connection it is on.
    pub(crate) fn watch(&self) -> &Arc<Watch> {
        &self.watch
    }

    /// Ends it at `at`, for callers that read the clock already.
    pub(crate) fn end(mut self, at: Instant) {
        self.ended = Some(at);
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let at = self.ended.unwrap_or_else(clock::now);
        // Streams of HTTP/2 are polled by tasks of their own.
        if !self.watch.is_http2() {
            self.watch.moment.store(self.watch.since_opened(at), Ordering::Relaxed);
            self.watch.measure(at);
        }
        self.watch.ended.store(self.watch.stamp(at), Ordering::Relaxed);
        self.watch.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

impl ReaderWait {
    /// The client made room for more: how long that took.
    pub(crate) fn end(self) -> Duration {
        clock::now().saturating_duration_since(self.since)
    }
}

impl Drop for ReaderWait {
    fn drop(&mut self) {
        let mut waits = self.watch.waits.lock().unwrap_or_else(PoisonError::into_inner);
        waits.since.retain(|&(number, _)| number != self.number);
    }
}

#[cfg(test)]
mod tests;
