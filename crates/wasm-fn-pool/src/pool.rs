//! The pool of one version: instances that wait ready.
//!
//! Every instance of the version, busy or ready, holds a [`StartPermit`] of this pool, so the pool
//! knows how many live without being told of their ends. [`Pool::resize`] says how many should; a
//! request takes a ready one or starts one itself; [`Pool::refill`] replaces those that ended. Call it
//! when an invocation ends, off the path of its answer: an instance is then replaced after one service
//! time, as the size assumes. Where instances start quickly and requests come fast, whoever takes one down makes
//! another at once, in the same place: [`Pool::follow`].
//!
//! An instance belongs to the thread that made it, as its memory is in that thread's caches. Callers number
//! their threads; requests get an instance of their own thread, and another's only where that saves time.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use crate::{
    Slots, StartPermit, lock,
    sizing::{Observed, Sizer},
    slots::Live,
};

/// Refills leave one slot in this many free for requests that find no ready instance, so that the
/// stock of busy versions does not refuse the first request of a quiet one.
const SPARED_SHARE: usize = 8;

/// What a [`Pool`] is made of.
#[derive(Debug)]
pub struct PoolOptions {
    /// The node's room.
    pub slots: Arc<Slots>,
    /// Instances to keep ready above the average number busy, while there is load.
    pub floor: usize,
    /// Most instances to keep ready.
    pub ceiling: usize,
    /// Time without a request after which none is kept ready.
    pub idle_after: Duration,
}

/// How a request gets its instance.
#[must_use = "the request needs an instance"]
#[derive(Debug)]
pub enum Checkout<I> {
    /// By a warm start: this one waited ready.
    Warm(I),
    /// By a cold start: the request may make one.
    Cold(StartPermit),
    /// Not at all: every slot of the node is taken.
    Full,
}

/// Instances of one version that wait ready.
// In this order, so that what every request touches lies together.
#[repr(C)]
#[derive(Debug)]
pub struct Pool<I> {
    /// Instances alive, counted by their permits.
    live: Arc<Live>,
    /// Whether a start takes less than it takes to use what another thread made.
    is_quick: AtomicBool,
    /// Instances alive below which some are made ahead.
    ahead: AtomicUsize,
    /// Instances alive up to which those that are taken down are followed by others.
    followed: AtomicUsize,
    served: Served,
    shelf: Mutex<Shelf<I>>,
    ceiling: usize,
    /// Instances alive above which some are too many.
    target: AtomicUsize,
    refused: AtomicU64,
    sizer: Mutex<Sizer>,
}

#[derive(Debug)]
struct Shelf<I> {
    // Invariant: at most `ceiling`; empty once closed. The last one was put there last and is taken
    // first: its memory is still in the caches.
    ready: VecDeque<Ready<I>>,
    closed: bool,
    // Counted here because whoever counts holds the lock anyway.
    arrivals: u64,
    warm_starts: u64,
    /// Arrivals that the sizer knows.
    arrivals_seen: u64,
}

/// An instance that waits.
#[derive(Debug)]
struct Ready<I> {
    /// The thread that made it or used it last.
    thread: u64,
    instance: I,
}

/// What started and ended since the last resize.
#[derive(Debug, Default)]
struct Served {
    finished: AtomicU64,
    service_nanos: AtomicU64,
    started: AtomicU64,
    starting_nanos: AtomicU64,
}

impl<I> Pool<I> {
    /// An empty pool that wants nothing until requests come.
    pub fn new(options: PoolOptions) -> Self {
        Self {
            ceiling: options.ceiling,
            live: Arc::new(Live::new(options.slots)),
            target: AtomicUsize::new(0),
            ahead: AtomicUsize::new(0),
            followed: AtomicUsize::new(0),
            is_quick: AtomicBool::new(false),
            shelf: Mutex::new(Shelf::new()),
            sizer: Mutex::new(Sizer::new(options.floor, options.idle_after)),
            served: Served::default(),
            refused: AtomicU64::new(0),
        }
    }

    /// The instance that suits `thread` best, for a request that arrives there now; `None`, and nothing is counted,
    /// when none does: [`checkout`](Self::checkout) then.
    pub fn take_ready(&self, thread: u64) -> Option<I> {
        lock(&self.shelf).take(thread, self.is_quick.load(Relaxed))
    }

    /// Gets a request on `thread` its instance: the one that was put back last there, or last anywhere unless
    /// another is started in less time, or leave to start one.
    ///
    /// Works on a closed pool too, so that requests which chose the version before are served.
    pub fn checkout(&self, thread: u64) -> Checkout<I> {
        {
            let mut shelf = lock(&self.shelf);
            if let Some(instance) = shelf.take(thread, self.is_quick.load(Relaxed)) {
                return Checkout::Warm(instance);
            }
            shelf.arrivals += 1;
        }
        match self.live.try_take(usize::MAX, 0) {
            Some(permit) => Checkout::Cold(permit),
            None => {
                self.refused.fetch_add(1, Relaxed);
                Checkout::Full
            }
        }
    }

    /// Leave to start an instance for a request without a wait, where starts are quick and a slot is free; nothing is
    /// counted yet: [`record_cold_start`](Self::record_cold_start) when it has started, or failed to.
    pub fn start_quick(&self) -> Option<StartPermit> {
        if self.is_quick.load(Relaxed) { self.live.try_take(usize::MAX, 0) } else { None }
    }

    /// Counts a request whose instance took `start` to start, or to fail to, by leave of [`start_quick`](Self::start_quick).
    pub fn record_cold_start(&self, start: Duration) {
        lock(&self.shelf).arrivals += 1;
        self.record_starts(1, start);
    }

    /// Puts an instance on the shelf, made or used last on `thread`: a new one that [`refill`](Self::refill) or
    /// [`follow`](Self::follow) allowed, or one that may serve again. Returned when as many wait as may, or when the
    /// pool is closed: drop it.
    #[must_use = "an instance that is not kept is the caller's to drop"]
    pub fn check_in(&self, thread: u64, instance: I) -> Option<I> {
        let mut shelf = lock(&self.shelf);
        if !shelf.has_room(self.ceiling) {
            return Some(instance);
        }
        shelf.ready.push_back(Ready { thread, instance });
        None
    }

    /// Whether [`refill`](Self::refill) is worth a call.
    pub fn is_short(&self) -> bool {
        self.live() < self.ahead.load(Relaxed)
    }

    /// Leave to start an instance ahead of requests, when fewer are alive than should be, when one that waits
    /// saves its request time, and when the node has slots to spare; none once the pool is closed. [`check_in`](Self::check_in) the instance; a
    /// start that fails drops its permit and is forgotten.
    pub fn refill(&self) -> Option<StartPermit> {
        if !self.is_short() || !lock(&self.shelf).has_room(self.ceiling) {
            return None;
        }
        self.live.try_take(self.ahead.load(Relaxed), self.live.slots().max() / SPARED_SHARE)
    }

    /// Leave to start an instance in the place of one that was taken down, whose `permit` this is: when a request is
    /// about to come for it. [`check_in`](Self::check_in) the instance.
    pub fn follow(&self, permit: StartPermit) -> Option<StartPermit> {
        let wanted = self.live() <= self.followed.load(Relaxed) && lock(&self.shelf).has_room(self.ceiling);
        wanted.then_some(permit)
    }

    /// Counts an invocation that ended after being served for `service`, from its start to the moment
    /// its instance is free or gone.
    pub fn record(&self, service: Duration) {
        self.served.finished.fetch_add(1, Relaxed);
        self.served.service_nanos.fetch_add(nanos(service), Relaxed);
    }

    /// Counts `count` instances that took `start` to start, together.
    pub fn record_starts(&self, count: u64, start: Duration) {
        self.served.started.fetch_add(count, Relaxed);
        self.served.starting_nanos.fetch_add(nanos(start), Relaxed);
    }

    /// Follows the load up to `now`, at which `busy` requests are being served, and returns the instances that are
    /// too many, those unused longest; drop them. To be called by one caller, every 100 ms or so, or every second while it
    /// [is passive](Self::is_passive).
    #[must_use = "surplus instances are the caller's to drop"]
    pub fn resize(&self, now: Duration, busy: usize) -> Vec<I> {
        let mut sizer = lock(&self.sizer);
        let mut shelf = lock(&self.shelf);
        if sizer.is_due(now) {
            let observed = Observed {
                arrivals: shelf.arrivals - shelf.arrivals_seen,
                finished: self.served.finished.swap(0, Relaxed),
                service: Duration::from_nanos(self.served.service_nanos.swap(0, Relaxed)),
                started: self.served.started.swap(0, Relaxed),
                starting: Duration::from_nanos(self.served.starting_nanos.swap(0, Relaxed)),
                busy,
            };
            shelf.arrivals_seen = shelf.arrivals;
            let target = sizer.update(now, observed);
            let slots = self.live.slots().max();
            self.target.store(target.alive.min(slots), Relaxed);
            self.ahead.store(target.ahead.min(slots), Relaxed);
            self.followed.store(target.followed.min(slots), Relaxed);
            self.is_quick.store(target.is_quick, Relaxed);
        }
        let ready = shelf.ready.len();
        let surplus = (ready + busy).saturating_sub(self.target()).min(ready);
        shelf.ready.drain(..surplus).map(|ready| ready.instance).collect()
    }

    /// Gives up the ready instance unused longest, for a caller who found every slot taken and drops it
    /// to start one of another version.
    #[must_use = "the instance keeps its slot until it is dropped"]
    pub fn reclaim(&self) -> Option<I> {
        lock(&self.shelf).ready.pop_front().map(|ready| ready.instance)
    }

    /// Closes the pool: nothing is kept from now on. Returns what waited; drop it.
    #[must_use = "the instances keep their slots until they are dropped"]
    pub fn close(&self) -> Vec<I> {
        let mut shelf = lock(&self.shelf);
        shelf.closed = true;
        std::mem::take(&mut shelf.ready).into_iter().map(|ready| ready.instance).collect()
    }

    /// Wants at least one instance above those busy until `until`, however idle; the last call counts.
    pub fn keep_until(&self, until: Duration) {
        lock(&self.sizer).keep_until(until);
    }

    /// Whether one is wanted at `now` though there may be no load.
    pub fn is_kept(&self, now: Duration) -> bool {
        lock(&self.sizer).is_kept(now)
    }

    /// Whether no instance is made ahead of requests, which start theirs quickly.
    pub fn is_passive(&self) -> bool {
        self.is_quick.load(Relaxed) && self.ahead.load(Relaxed) == 0 && self.followed.load(Relaxed) == 0
    }

    /// Most instances that should be alive, busy ones included.
    pub fn target(&self) -> usize {
        self.target.load(Relaxed)
    }

    /// Instances alive: starting, ready or busy.
    pub fn live(&self) -> usize {
        self.live.count()
    }

    /// Instances that wait ready.
    pub fn ready(&self) -> usize {
        lock(&self.shelf).ready.len()
    }

    /// Requests that were given a ready instance.
    pub fn warm_starts(&self) -> u64 {
        lock(&self.shelf).warm_starts
    }

    /// Requests that were left to start one.
    pub fn cold_starts(&self) -> u64 {
        let shelf = lock(&self.shelf);
        (shelf.arrivals - shelf.warm_starts).saturating_sub(self.refused.load(Relaxed))
    }
}

impl<I> Shelf<I> {
    fn new() -> Self {
        Self { ready: VecDeque::new(), closed: false, arrivals: 0, warm_starts: 0, arrivals_seen: 0 }
    }

    /// What the request that arrives on `thread` may have; without it, the request has not arrived yet.
    fn take(&mut self, thread: u64, of_thread_only: bool) -> Option<I> {
        let Ready { instance, .. } = if self.ready.back()?.thread == thread {
            self.ready.pop_back()?
        } else {
            let own = self.ready.iter().rposition(|ready| ready.thread == thread);
            let last = self.ready.len().checked_sub(1).filter(|_| !of_thread_only);
            self.ready.remove(own.or(last)?)?
        };
        self.arrivals += 1;
        self.warm_starts += 1;
        Some(instance)
    }

    fn has_room(&self, ceiling: usize) -> bool {
        !self.closed && self.ready.len() < ceiling
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
