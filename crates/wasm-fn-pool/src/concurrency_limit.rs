//! Limits how many requests run at once, and queues a bounded number of others first come, first served.
//!
//! One atomic word counts both running and waiting requests. So an uncontended acquire or release is one
//! compare-and-swap, and neither side can miss the other: whoever queues changes the word that whoever
//! releases must change.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{
            AtomicU64,
            Ordering::{AcqRel, Acquire},
        },
    },
    time::Duration,
};

use crate::{lock, share};

/// Bounds on how long a refused client is asked to stay away.
const RETRY_AFTER: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(60);

/// A queued request, as the limit sees it.
pub trait Wake {
    /// Tells the request that it has a place now. Returns `false` when the request is gone; the next one gets
    /// the place then.
    ///
    /// After `true` the place belongs to the request, which must [`release`](ConcurrencyLimit::release) it
    /// even if it has given up meanwhile. `send` of a one-shot channel returns exactly this.
    fn wake(self) -> bool;
}

/// The result of [`ConcurrencyLimit::wait`].
#[must_use = "a place must be released, a ticket cancelled"]
#[derive(Debug)]
pub enum Wait<W> {
    /// A place was free.
    Acquired(W),
    /// The request queues and will be woken.
    Queued(QueueTicket),
    /// The queue is full.
    Full(W),
}

/// A position in the queue.
#[must_use = "whoever gives up cancels the ticket"]
#[derive(Debug, PartialEq, Eq)]
pub struct QueueTicket(u64);

/// Lets `limit` requests run and `queue_max` others wait.
///
/// Times count from an arbitrary start, the same for every call.
// The fields that every request touches lie together.
#[repr(C)]
#[derive(Debug)]
pub struct ConcurrencyLimit<W> {
    limit: u32,
    queue_max: u32,
    // Invariant: an `Occupancy`. `waiting` changes only under the lock and is the length of the queue; while
    // it is not zero, `running == limit`.
    occupancy: AtomicU64,
    queue: Mutex<Queue<W>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Occupancy {
    running: u32,
    waiting: u32,
}

#[derive(Debug)]
struct Queue<W> {
    /// By ticket: the first is the oldest, and any can be removed.
    waiters: BTreeMap<u64, Waiter<W>>,
    next_ticket: u64,
}

#[derive(Debug)]
struct Waiter<W> {
    deadline: Duration,
    wake: W,
}

impl Occupancy {
    fn from_bits(bits: u64) -> Self {
        let [a, b, c, d, e, f, g, h] = bits.to_le_bytes();
        Self { running: u32::from_le_bytes([a, b, c, d]), waiting: u32::from_le_bytes([e, f, g, h]) }
    }

    fn bits(self) -> u64 {
        u64::from(self.waiting) << 32 | u64::from(self.running)
    }
}

impl<W: Wake> ConcurrencyLimit<W> {
    /// A limit with every place free. A `limit` of 0 counts as 1: without a place, no waiter would ever be
    /// woken.
    pub fn new(limit: u32, queue_max: u32) -> Self {
        let queue = Queue { waiters: BTreeMap::new(), next_ticket: 0 };
        Self { limit: limit.max(1), queue_max, occupancy: AtomicU64::new(0), queue: Mutex::new(queue) }
    }

    /// Takes a place if one is free and nobody waits for it. Return it with [`release`](Self::release).
    #[must_use = "a place must be released"]
    pub fn try_acquire(&self) -> bool {
        self.update(|occupancy| self.acquired(occupancy)).is_some()
    }

    /// Takes a place, or queues `waiter` until `deadline`.
    ///
    /// The limit has no clock: the caller watches the deadline too, and [`cancel`](Self::cancel)s.
    pub fn wait(&self, deadline: Duration, waiter: W) -> Wait<W> {
        let mut queue = lock(&self.queue);
        let queued = |occupancy: Occupancy| {
            (occupancy.waiting < self.queue_max)
                .then(|| Occupancy { waiting: occupancy.waiting + 1, ..occupancy })
        };
        let before = self.update(|occupancy| self.acquired(occupancy).or_else(|| queued(occupancy)));
        match before {
            None => Wait::Full(waiter),
            Some(before) if self.acquired(before).is_some() => Wait::Acquired(waiter),
            Some(_) => {
                let ticket = queue.next_ticket;
                queue.next_ticket += 1;
                queue.waiters.insert(ticket, Waiter { deadline, wake: waiter });
                Wait::Queued(QueueTicket(ticket))
            }
        }
    }

    /// Returns a place if nobody waits for it; says whether it did.
    #[must_use = "a place must be released"]
    pub fn try_release(&self) -> bool {
        self.update(Self::released).is_some()
    }

    /// Returns a place. The first waiter that is still there and whose deadline has not passed at `now` gets
    /// it, or else whoever comes next. Waiters past their deadline are dropped unwoken.
    pub fn release(&self, now: Duration) {
        loop {
            if self.try_release() {
                return;
            }
            // Somebody waits, so the place is still ours to hand over.
            let Some(waiter) = self.pop_first() else { continue };
            if now <= waiter.deadline && waiter.wake.wake() {
                return;
            }
        }
    }

    /// Removes a waiter from the queue. Returns `false` when it is no longer there: it was woken or dropped,
    /// or is about to be.
    ///
    /// A waiter that gives up closes its end first, and [`release`](Self::release)s if it was woken before
    /// that.
    pub fn cancel(&self, ticket: QueueTicket) -> bool {
        self.remove(|queue| queue.waiters.remove(&ticket.0)).is_some()
    }

    /// Most requests that may run at once.
    pub fn limit(&self) -> u32 {
        self.limit
    }

    /// Whether a version with `own` places, including the one that it asks for now, is within its fair share.
    ///
    /// The first place always is; further ones are as long as they are at most seven times the places left
    /// free. A limit below eight places has none to spare, so every version is within its share.
    ///
    /// Use this for a limit that versions share. A version beyond its share must wait elsewhere: in this
    /// queue it would block the others.
    pub fn has_share(&self, own: u32) -> bool {
        let left = self.limit.saturating_sub(self.running()).saturating_sub(1);
        own <= 1 || self.limit < share::PLACES_MIN || share::has(own.into(), left.into())
    }

    /// Requests that run.
    pub fn running(&self) -> u32 {
        self.occupancy().running
    }

    /// Requests in the queue.
    pub fn waiting(&self) -> u32 {
        self.occupancy().waiting
    }

    /// When a refused request may find the queue empty, if each request takes `service`; 1 to 60 seconds.
    pub fn retry_after(&self, service: Duration) -> Duration {
        let ahead = self.waiting().saturating_add(1);
        let drained = service.saturating_mul(ahead) / self.limit;
        drained.clamp(*RETRY_AFTER.start(), *RETRY_AFTER.end())
    }

    fn occupancy(&self) -> Occupancy {
        Occupancy::from_bits(self.occupancy.load(Acquire))
    }

    /// Applies `next` and returns the occupancy before it; `None` when `next` returns `None`.
    fn update(&self, next: impl Fn(Occupancy) -> Option<Occupancy>) -> Option<Occupancy> {
        let next = |bits| next(Occupancy::from_bits(bits)).map(Occupancy::bits);
        self.occupancy.try_update(AcqRel, Acquire, next).ok().map(Occupancy::from_bits)
    }

    /// Newcomers never overtake: while somebody waits, no place is free.
    fn acquired(&self, occupancy: Occupancy) -> Option<Occupancy> {
        (occupancy.running < self.limit).then(|| Occupancy { running: occupancy.running + 1, ..occupancy })
    }

    fn released(occupancy: Occupancy) -> Option<Occupancy> {
        debug_assert!(occupancy.running > 0, "a place is released once");
        (occupancy.waiting == 0)
            .then(|| Occupancy { running: occupancy.running.saturating_sub(1), ..occupancy })
    }

    fn pop_first(&self) -> Option<Waiter<W>> {
        self.remove(|queue| queue.waiters.pop_first().map(|(_, waiter)| waiter))
    }

    fn remove(&self, take: impl FnOnce(&mut Queue<W>) -> Option<Waiter<W>>) -> Option<Waiter<W>> {
        let mut queue = lock(&self.queue);
        let waiter = take(&mut queue)?;
        self.update(|occupancy| Some(Occupancy { waiting: occupancy.waiting - 1, ..occupancy }));
        Some(waiter)
    }
}

#[cfg(test)]
mod tests;
