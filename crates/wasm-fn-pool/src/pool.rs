//! The pool of one version: instances that wait ready.
//!
//! Every instance of the version, busy or ready, holds a [`StartPermit`] of this pool, so the pool knows how
//! many are alive without being told when they end. [`Pool::resize`] decides how many should be. A request
//! takes a ready instance or starts one itself, and [`Pool::refill`] replaces those that ended. Call it when
//! an invocation ends, after the response is sent: an instance is then replaced after one service time, as
//! the size assumes. Where instances start quickly and requests come fast, whoever takes one down makes
//! another at once with [`Pool::replace`].
//!
//! An instance belongs to the thread that made it, because its memory is in that thread's caches. Callers
//! number their threads. A request gets an instance of its own thread, and another thread's only where that
//! saves time.

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
    sizing::{Load, Sizer},
    slots::Live,
};

/// Refills leave one slot in this many free for requests that find no ready instance. Otherwise the ready
/// instances of busy versions would crowd out the first request of a quiet one.
const SPARED_SHARE: usize = 8;

/// Options of a [`Pool`].
#[derive(Debug)]
pub struct PoolOptions {
    /// The slots of the node.
    pub slots: Arc<Slots>,
    /// Instances to keep ready beyond the average number of busy ones, while there is load.
    pub floor: usize,
    /// Most instances to keep ready.
    pub ceiling: usize,
    /// Time without requests after which no instance is kept ready.
    pub idle_after: Duration,
}

/// How a request gets its instance.
#[must_use = "the request needs an instance"]
#[derive(Debug)]
pub enum Checkout<I> {
    /// A warm start: this instance waited ready.
    Warm(I),
    /// A cold start: the request may make an instance.
    Cold(StartPermit),
    /// No instance: every slot of the node is taken.
    Full,
}

/// Keeps instances of one version ready.
// The fields that every request touches lie together.
#[repr(C)]
#[derive(Debug)]
pub struct Pool<I> {
    /// Counts the instances that are alive, by their permits.
    live: Arc<Live>,
    /// Whether starting an instance takes less time than using one of another thread.
    is_quick: AtomicBool,
    /// While fewer instances than this are alive, more are made ahead of requests.
    ahead: AtomicUsize,
    /// While at most this many instances are alive, one that is taken down is replaced.
    replaced: AtomicUsize,
    served: ServiceTotals,
    ready: Mutex<ReadyInstances<I>>,
    ceiling: usize,
    /// While more instances than this are alive, some are surplus.
    target: AtomicUsize,
    refused: AtomicU64,
    sizer: Mutex<Sizer>,
}

#[derive(Debug)]
struct ReadyInstances<I> {
    // Invariant: at most `ceiling`; empty once closed. The last one was added last and is taken first, since
    // its memory is still in the caches.
    waiting: VecDeque<ReadyInstance<I>>,
    closed: bool,
    // Counted here because the caller holds the lock anyway.
    arrivals: u64,
    warm_starts: u64,
    /// Arrivals that the sizer has seen.
    arrivals_seen: u64,
}

/// An instance that waits ready.
#[derive(Debug)]
struct ReadyInstance<I> {
    /// The thread that made or last used it.
    thread: u64,
    instance: I,
}

/// Counts starts and ends since the last resize.
#[derive(Debug, Default)]
struct ServiceTotals {
    finished: AtomicU64,
    service_nanos: AtomicU64,
    started: AtomicU64,
    starting_nanos: AtomicU64,
}

impl<I> Pool<I> {
    /// An empty pool. It wants no instances until requests come.
    pub fn new(options: PoolOptions) -> Self {
        Self {
            ceiling: options.ceiling,
            live: Arc::new(Live::new(options.slots)),
            target: AtomicUsize::new(0),
            ahead: AtomicUsize::new(0),
            replaced: AtomicUsize::new(0),
            is_quick: AtomicBool::new(false),
            ready: Mutex::new(ReadyInstances::new()),
            sizer: Mutex::new(Sizer::new(options.floor, options.idle_after)),
            served: ServiceTotals::default(),
            refused: AtomicU64::new(0),
        }
    }

    /// Takes the ready instance that suits `thread` best, for a request that arrives there. Returns `None`,
    /// and counts nothing, when none does: call [`checkout`](Self::checkout) then.
    pub fn take_ready(&self, thread: u64) -> Option<I> {
        lock(&self.ready).take(thread, self.is_quick.load(Relaxed))
    }

    /// Gets an instance for a request on `thread`: the one that was last put back there, else the last one of
    /// any thread unless starting another is quicker, else a permit to start one.
    ///
    /// This works on a closed pool too, so that requests which chose the version earlier are served.
    pub fn checkout(&self, thread: u64) -> Checkout<I> {
        {
            let mut ready = lock(&self.ready);
            if let Some(instance) = ready.take(thread, self.is_quick.load(Relaxed)) {
                return Checkout::Warm(instance);
            }
            ready.arrivals += 1;
        }
        match self.live.try_take(usize::MAX, 0) {
            Some(permit) => Checkout::Cold(permit),
            None => {
                self.refused.fetch_add(1, Relaxed);
                Checkout::Full
            }
        }
    }

    /// A permit to start an instance for a request without waiting, if starts are quick and a slot is free.
    /// Nothing is counted yet: call [`record_cold_start`](Self::record_cold_start) once the start has
    /// succeeded or failed.
    pub fn start_quick(&self) -> Option<StartPermit> {
        if self.is_quick.load(Relaxed) { self.live.try_take(usize::MAX, 0) } else { None }
    }

    /// Counts a request whose start, permitted by [`start_quick`](Self::start_quick), succeeded or failed
    /// after `start`.
    pub fn record_cold_start(&self, start: Duration) {
        lock(&self.ready).arrivals += 1;
        self.record_starts(1, start);
    }

    /// Adds a ready instance that `thread` made or last used: a new one that [`refill`](Self::refill) or
    /// [`replace`](Self::replace) permitted, or one that may serve again. Returns the instance when enough
    /// wait already or the pool is closed; drop it.
    #[must_use = "the caller drops an instance that is not kept"]
    pub fn check_in(&self, thread: u64, instance: I) -> Option<I> {
        let mut ready = lock(&self.ready);
        if !ready.has_room(self.ceiling) {
            return Some(instance);
        }
        ready.waiting.push_back(ReadyInstance { thread, instance });
        None
    }

    /// Whether to call [`refill`](Self::refill).
    pub fn is_short(&self) -> bool {
        self.live() < self.ahead.load(Relaxed)
    }

    /// A permit to start an instance ahead of requests. There is one while too few instances are alive, a
    /// ready one saves its request time, the node has slots to spare, and the pool is open.
    /// [`check_in`](Self::check_in) the instance; if its start fails, drop the permit.
    pub fn refill(&self) -> Option<StartPermit> {
        if !self.is_short() || !lock(&self.ready).has_room(self.ceiling) {
            return None;
        }
        self.live.try_take(self.ahead.load(Relaxed), self.live.slots().max() / SPARED_SHARE)
    }

    /// Returns `permit` of an instance that was taken down if another should replace it, because a request is
    /// about to come. [`check_in`](Self::check_in) the new instance.
    pub fn replace(&self, permit: StartPermit) -> Option<StartPermit> {
        let wanted = self.live() <= self.replaced.load(Relaxed) && lock(&self.ready).has_room(self.ceiling);
        wanted.then_some(permit)
    }

    /// Counts an invocation that took `service`, from its start until its instance is free or gone.
    pub fn record(&self, service: Duration) {
        self.served.finished.fetch_add(1, Relaxed);
        self.served.service_nanos.fetch_add(nanos(service), Relaxed);
    }

    /// Counts `count` instances that together took `start` to start.
    pub fn record_starts(&self, count: u64, start: Duration) {
        self.served.started.fetch_add(count, Relaxed);
        self.served.starting_nanos.fetch_add(nanos(start), Relaxed);
    }

    /// Adapts the size to the load up to `now`, while `busy` requests are being served. Returns surplus
    /// instances, those unused longest; drop them. One caller calls this every 100 ms or so, or every second
    /// while the pool [is passive](Self::is_passive).
    #[must_use = "the caller drops surplus instances"]
    pub fn resize(&self, now: Duration, busy: usize) -> Vec<I> {
        let mut sizer = lock(&self.sizer);
        let mut ready = lock(&self.ready);
        if sizer.is_due(now) {
            let load = Load {
                arrivals: ready.arrivals - ready.arrivals_seen,
                finished: self.served.finished.swap(0, Relaxed),
                service: Duration::from_nanos(self.served.service_nanos.swap(0, Relaxed)),
                started: self.served.started.swap(0, Relaxed),
                starting: Duration::from_nanos(self.served.starting_nanos.swap(0, Relaxed)),
                busy,
            };
            ready.arrivals_seen = ready.arrivals;
            let target = sizer.update(now, load);
            let slots = self.live.slots().max();
            self.target.store(target.alive.min(slots), Relaxed);
            self.ahead.store(target.ahead.min(slots), Relaxed);
            self.replaced.store(target.replaced.min(slots), Relaxed);
            self.is_quick.store(target.is_quick, Relaxed);
        }
        let waiting = ready.waiting.len();
        let surplus = (waiting + busy).saturating_sub(self.target()).min(waiting);
        ready.waiting.drain(..surplus).map(|ready| ready.instance).collect()
    }

    /// Removes the ready instance unused longest. A caller that finds every slot taken drops it, to start an
    /// instance of another version.
    #[must_use = "the instance keeps its slot until it is dropped"]
    pub fn reclaim(&self) -> Option<I> {
        lock(&self.ready).waiting.pop_front().map(|ready| ready.instance)
    }

    /// Closes the pool: from now on it keeps no instance. Returns those that waited; drop them.
    #[must_use = "the instances keep their slots until they are dropped"]
    pub fn close(&self) -> Vec<I> {
        let mut ready = lock(&self.ready);
        ready.closed = true;
        std::mem::take(&mut ready.waiting).into_iter().map(|ready| ready.instance).collect()
    }

    /// Keeps at least one instance beyond the busy ones until `until`, however idle the version is. The last
    /// call counts.
    pub fn keep_until(&self, until: Duration) {
        lock(&self.sizer).keep_until(until);
    }

    /// Whether [`keep_until`](Self::keep_until) keeps an instance at `now`.
    pub fn is_kept(&self, now: Duration) -> bool {
        lock(&self.sizer).is_kept(now)
    }

    /// Whether the pool makes no instances ahead: requests start their own quickly.
    pub fn is_passive(&self) -> bool {
        self.is_quick.load(Relaxed) && self.ahead.load(Relaxed) == 0 && self.replaced.load(Relaxed) == 0
    }

    /// How many instances should be alive at most, including busy ones.
    pub fn target(&self) -> usize {
        self.target.load(Relaxed)
    }

    /// Instances alive: starting, ready or busy.
    pub fn live(&self) -> usize {
        self.live.count()
    }

    /// Instances that wait ready.
    pub fn ready(&self) -> usize {
        lock(&self.ready).waiting.len()
    }

    /// Requests that got a ready instance.
    pub fn warm_starts(&self) -> u64 {
        lock(&self.ready).warm_starts
    }

    /// Requests that had to start one.
    pub fn cold_starts(&self) -> u64 {
        let ready = lock(&self.ready);
        (ready.arrivals - ready.warm_starts).saturating_sub(self.refused.load(Relaxed))
    }
}

impl<I> ReadyInstances<I> {
    fn new() -> Self {
        Self { waiting: VecDeque::new(), closed: false, arrivals: 0, warm_starts: 0, arrivals_seen: 0 }
    }

    /// Takes an instance for a request on `thread`, and counts the request if there is one.
    fn take(&mut self, thread: u64, of_thread_only: bool) -> Option<I> {
        let ReadyInstance { instance, .. } = if self.waiting.back()?.thread == thread {
            self.waiting.pop_back()?
        } else {
            let own = self.waiting.iter().rposition(|ready| ready.thread == thread);
            let last = self.waiting.len().checked_sub(1).filter(|_| !of_thread_only);
            self.waiting.remove(own.or(last)?)?
        };
        self.arrivals += 1;
        self.warm_starts += 1;
        Some(instance)
    }

    fn has_room(&self, ceiling: usize) -> bool {
        !self.closed && self.waiting.len() < ceiling
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
