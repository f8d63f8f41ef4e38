//! Decides which guests compute when there are more of them than threads.
//!
//! Most requests end before they are ever asked to yield. A guest that computes longer in one go ([`Burst`])
//! needs a turn from then on. The [`RunQueue`] has as many turns as there are threads. A turn lasts one time
//! slice; then the guest passes it to the first that waits. So a short request waits at most one slice for a
//! thread, however many guests compute, and no thread is idle while a guest could use it.

use std::time::Duration;

use crate::{ConcurrencyLimit, QueueTicket, Wait, Wake};

/// CPU time that a guest used in one go. Waiting reduces it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Burst(Duration);

impl Burst {
    /// Below this, a guest never yields.
    pub const SHORT: Duration = Duration::from_micros(500);

    /// Up to this, a guest needs no turn. Interpreters answer simple requests within it.
    pub const FREE: Duration = Duration::from_millis(5);

    /// The most that is remembered, so that a guest that starts to wait soon counts as short again.
    pub const MAX: Duration = Duration::from_millis(20);

    /// Adds time that the guest computed.
    pub fn add(&mut self, cpu: Duration) {
        self.0 = self.0.saturating_add(cpu).min(Self::MAX);
    }

    /// Records that the guest waited for something other than a thread.
    pub fn rest(&mut self) {
        self.0 /= 2;
    }

    /// Whether the guest may go on without yielding.
    pub fn is_short(self) -> bool {
        self.0 < Self::SHORT
    }

    /// Whether the guest may go on only with a turn.
    pub fn needs_turn(self) -> bool {
        self.0 > Self::FREE
    }
}

/// Hands out turns in the order in which guests ask for them.
#[derive(Debug)]
pub struct RunQueue<W> {
    limit: ConcurrencyLimit<W>,
}

impl<W: Wake> RunQueue<W> {
    /// A queue with `turns` turns, at least one, for which at most `waiting_max` guests may wait.
    pub fn new(turns: u32, waiting_max: u32) -> Self {
        Self { limit: ConcurrencyLimit::new(turns, waiting_max) }
    }

    /// Takes a turn if one is free and nobody waits for it. [`release`](Self::release) it, or
    /// [`pass`](Self::pass) it on.
    #[must_use = "a turn must be released"]
    pub fn try_take(&self) -> bool {
        self.limit.try_acquire()
    }

    /// Takes a turn, or waits for one.
    pub fn wait(&self, waiter: W) -> Wait<W> {
        self.limit.wait(Duration::MAX, waiter)
    }

    /// Whether a guest waits, so that a used turn should be passed on.
    pub fn is_contended(&self) -> bool {
        self.limit.waiting() > 0
    }

    /// Passes a used turn to the first guest that waits, and queues `waiter` behind all others.
    ///
    /// Returns `None` when the guest keeps its turn: nobody waits any more, or the queue is full.
    #[must_use = "whoever gives up cancels the ticket"]
    pub fn pass(&self, waiter: W) -> Option<QueueTicket> {
        match self.limit.wait(Duration::MAX, waiter) {
            Wait::Queued(ticket) => {
                self.release();
                Some(ticket)
            }
            // That was a second turn; one is enough.
            Wait::Acquired(_) => {
                self.release();
                None
            }
            Wait::Full(_) => None,
        }
    }

    /// Returns a turn.
    pub fn release(&self) {
        self.limit.release(Duration::ZERO);
    }

    /// Removes a waiter from the queue. Returns `false` when it got a turn, or is about to. The guest then
    /// [`release`](Self::release)s that turn if it was woken before it closed its end.
    pub fn cancel(&self, ticket: QueueTicket) -> bool {
        self.limit.cancel(ticket)
    }

    /// Guests that wait for a turn.
    pub fn waiting(&self) -> u32 {
        self.limit.waiting()
    }

    /// Turns that are taken.
    pub fn taken(&self) -> u32 {
        self.limit.running()
    }
}

#[cfg(test)]
mod tests;
