//! The gate: how many requests run at once, and a bounded first-come-first-served queue before it.
//!
//! Running and waiting are one atomic word, so that entering and leaving an uncontended gate is one
//! compare-and-swap, and so that neither can miss the other: whoever queues changes the word that
//! whoever leaves must change.

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

/// A queued request, as the gate sees it.
pub trait Wake {
    /// Tells the request that it has a place now; `false` when it is gone, and the place goes to the
    /// next.
    ///
    /// After `true` the place is the request's, who must [`leave`](Gate::leave) even if it has given up
    /// meanwhile. A one-shot channel's `send` says precisely this.
    fn wake(self) -> bool;
}

/// What became of a request that could not enter at once.
#[must_use = "a place or a ticket must be given back"]
#[derive(Debug)]
pub enum Wait<W> {
    /// A place was free after all.
    Entered(W),
    /// It queues, and will be woken.
    Queued(Ticket),
    /// As many wait as may.
    Full(W),
}

/// A place in the queue.
#[must_use = "whoever gives up cancels the ticket"]
#[derive(Debug, PartialEq, Eq)]
pub struct Ticket(u64);

/// Lets `limit` requests run and `queue_max` wait.
///
/// Times are since an arbitrary start, the same for every call.
// In this order, so that what every request touches lies together.
#[repr(C)]
#[derive(Debug)]
pub struct Gate<W> {
    limit: u32,
    queue_max: u32,
    // Invariant: a `State`; `waiting` changes only under the lock and is the queue's length; while
    // anybody waits, `running == limit`.
    state: AtomicU64,
    queue: Mutex<Queue<W>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct State {
    running: u32,
    waiting: u32,
}

#[derive(Debug)]
struct Queue<W> {
    /// By ticket, so that the first is the oldest and any can be removed.
    waiters: BTreeMap<u64, Waiter<W>>,
    next_ticket: u64,
}

#[derive(Debug)]
struct Waiter<W> {
    deadline: Duration,
    wake: W,
}

impl State {
    fn from_bits(bits: u64) -> Self {
        let [a, b, c, d, e, f, g, h] = bits.to_le_bytes();
        Self { running: u32::from_le_bytes([a, b, c, d]), waiting: u32::from_le_bytes([e, f, g, h]) }
    }

    fn bits(self) -> u64 {
        u64::from(self.waiting) << 32 | u64::from(self.running)
    }
}

impl<W: Wake> Gate<W> {
    /// An open gate. A `limit` of 0 counts as 1: a gate that nobody passes would never wake anybody.
    pub fn new(limit: u32, queue_max: u32) -> Self {
        let queue = Queue { waiters: BTreeMap::new(), next_ticket: 0 };
        Self { limit: limit.max(1), queue_max, state: AtomicU64::new(0), queue: Mutex::new(queue) }
    }

    /// Enters if a place is free and nobody waits for one. Give the place back with
    /// [`leave`](Self::leave).
    #[must_use = "a place must be given back"]
    pub fn try_enter(&self) -> bool {
        self.update(|state| self.entered(state)).is_some()
    }

    /// Enters, or queues `waiter` until `deadline`.
    ///
    /// The gate has no clock: the caller watches the deadline too, and [`cancel`](Self::cancel)s.
    pub fn wait(&self, deadline: Duration, waiter: W) -> Wait<W> {
        let mut queue = lock(&self.queue);
        let queued = |state: State| {
            (state.waiting < self.queue_max).then(|| State { waiting: state.waiting + 1, ..state })
        };
        let before = self.update(|state| self.entered(state).or_else(|| queued(state)));
        match before {
            None => Wait::Full(waiter),
            Some(before) if self.entered(before).is_some() => Wait::Entered(waiter),
            Some(_) => {
                let ticket = queue.next_ticket;
                queue.next_ticket += 1;
                queue.waiters.insert(ticket, Waiter { deadline, wake: waiter });
                Wait::Queued(Ticket(ticket))
            }
        }
    }

    /// Gives a place back if nobody waits for one; whether it did.
    #[must_use = "a place must be given back"]
    pub fn try_leave(&self) -> bool {
        self.update(Self::left).is_some()
    }

    /// Gives a place back: to the first waiter whose deadline has not passed at `now` and who is still
    /// there, or to whoever comes next. Waiters whose deadline has passed are dropped unwoken.
    pub fn leave(&self, now: Duration) {
        loop {
            if self.try_leave() {
                return;
            }
            // Somebody waits, so the place is still ours to hand over.
            let Some(waiter) = self.pop_first() else { continue };
            if now <= waiter.deadline && waiter.wake.wake() {
                return;
            }
        }
    }

    /// Takes a waiter out of the queue; `false` when it is no longer there.
    ///
    /// Then it was, or is just being, woken or dropped: whoever gave up closes its end first and, when
    /// it was woken before that, [`leave`](Self::leave)s.
    pub fn cancel(&self, ticket: Ticket) -> bool {
        self.remove(|queue| queue.waiters.remove(&ticket.0)).is_some()
    }

    /// Most requests with a place.
    pub fn limit(&self) -> u32 {
        self.limit
    }

    /// Whether one who holds `own` places, the one it is about to ask for included, is within its fair
    /// share of this gate: a first place always is, further ones up to seven times what is left free
    /// then. A gate of fewer than eight places has none to spare, and everybody is.
    ///
    /// For a gate that several share: whoever is beyond its share waits elsewhere, for in this queue it would be
    /// in the way of those who are not.
    pub fn has_share(&self, own: u32) -> bool {
        let left = self.limit.saturating_sub(self.running()).saturating_sub(1);
        own <= 1 || self.limit < share::PLACES_MIN || share::has(own.into(), left.into())
    }

    /// Requests with a place.
    pub fn running(&self) -> u32 {
        self.state().running
    }

    /// Requests in the queue.
    pub fn waiting(&self) -> u32 {
        self.state().waiting
    }

    /// When a refused request may find the queue empty, if every request is served for `service`:
    /// 1 to 60 seconds.
    pub fn retry_after(&self, service: Duration) -> Duration {
        let ahead = self.waiting().saturating_add(1);
        let drained = service.saturating_mul(ahead) / self.limit;
        drained.clamp(*RETRY_AFTER.start(), *RETRY_AFTER.end())
    }

    fn state(&self) -> State {
        State::from_bits(self.state.load(Acquire))
    }

    /// Replaces the state by what `next` makes of it and returns the one before; `None` when `next`
    /// refuses.
    fn update(&self, next: impl Fn(State) -> Option<State>) -> Option<State> {
        let next = |bits| next(State::from_bits(bits)).map(State::bits);
        self.state.try_update(AcqRel, Acquire, next).ok().map(State::from_bits)
    }

    /// Nobody is overtaken: while somebody waits, no place is free.
    fn entered(&self, state: State) -> Option<State> {
        (state.running < self.limit).then(|| State { running: state.running + 1, ..state })
    }

    fn left(state: State) -> Option<State> {
        debug_assert!(state.running > 0, "whoever leaves has entered");
        (state.waiting == 0).then(|| State { running: state.running.saturating_sub(1), ..state })
    }

    fn pop_first(&self) -> Option<Waiter<W>> {
        self.remove(|queue| queue.waiters.pop_first().map(|(_, waiter)| waiter))
    }

    fn remove(&self, take: impl FnOnce(&mut Queue<W>) -> Option<Waiter<W>>) -> Option<Waiter<W>> {
        let mut queue = lock(&self.queue);
        let waiter = take(&mut queue)?;
        self.update(|state| Some(State { waiting: state.waiting - 1, ..state }));
        Some(waiter)
    }
}

#[cfg(test)]
mod tests;
