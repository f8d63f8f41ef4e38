//! The lane: which guests compute, when more of them have much to compute than there are threads.
//!
//! Most requests end before anybody could ask them to stand back, and know nothing of this. A guest that
//! computes longer in one go ([`Burst`]) needs a turn ([`Lane`]) from then on: there are as many turns as
//! threads, a turn is good for one slice, and whoever has used it passes it to the first who waits. So a
//! short request finds at most one slice between itself and a thread, however many guests compute, and no
//! thread is idle while one of them could use it.

use std::time::Duration;

use crate::{Gate, Ticket, Wait, Wake};

/// CPU time that a guest used in one go: since it began, less what it made up for by waiting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Burst(Duration);

impl Burst {
    /// What nobody has to stand back for, whoever waits.
    pub const SHORT: Duration = Duration::from_micros(500);

    /// What needs no turn: enough for interpreters to answer a simple request.
    pub const FREE: Duration = Duration::from_millis(5);

    /// More than this is not remembered, so that a guest that begins to wait for others is soon one of the
    /// short ones again.
    pub const MAX: Duration = Duration::from_millis(20);

    /// It computed.
    pub fn add(&mut self, cpu: Duration) {
        self.0 = self.0.saturating_add(cpu).min(Self::MAX);
    }

    /// It waited for something other than a thread.
    pub fn rest(&mut self) {
        self.0 /= 2;
    }

    /// Whether it may go on without letting others go first.
    pub fn is_short(self) -> bool {
        self.0 < Self::SHORT
    }

    /// Whether it computes on in turns only.
    pub fn needs_turn(self) -> bool {
        self.0 > Self::FREE
    }
}

/// Turns at computing, handed out in the order in which they are asked for.
#[derive(Debug)]
pub struct Lane<W> {
    gate: Gate<W>,
}

impl<W: Wake> Lane<W> {
    /// A lane of so many turns at a time, at least one, for which at most `waiting_max` may wait.
    pub fn new(turns: u32, waiting_max: u32) -> Self {
        Self { gate: Gate::new(turns, waiting_max) }
    }

    /// Takes a turn if one is free and nobody waits for it. Give it back with [`leave`](Self::leave), or
    /// [`pass`](Self::pass) it on.
    #[must_use = "a turn must be given back"]
    pub fn try_take(&self) -> bool {
        self.gate.try_enter()
    }

    /// Takes a turn, or waits for one.
    pub fn wait(&self, waiter: W) -> Wait<W> {
        self.gate.wait(Duration::MAX, waiter)
    }

    /// Whether somebody waits, so that a turn that has been used should be passed on.
    pub fn is_contended(&self) -> bool {
        self.gate.waiting() > 0
    }

    /// Gives a turn that has been used to the first who waits, and waits for the next behind all others.
    ///
    /// `None` keeps the turn: nobody waits any more, or as many as may.
    #[must_use = "whoever gives up cancels the ticket"]
    pub fn pass(&self, waiter: W) -> Option<Ticket> {
        match self.gate.wait(Duration::MAX, waiter) {
            Wait::Queued(ticket) => {
                self.leave();
                Some(ticket)
            }
            // A second turn, of which one is enough.
            Wait::Entered(_) => {
                self.leave();
                None
            }
            Wait::Full(_) => None,
        }
    }

    /// Gives a turn back.
    pub fn leave(&self) {
        self.gate.leave(Duration::ZERO);
    }

    /// Gives up waiting; `false` when a turn was, or is just being, given to the waiter, who then
    /// [`leave`](Self::leave)s if it was woken before it closed its end.
    pub fn cancel(&self, ticket: Ticket) -> bool {
        self.gate.cancel(ticket)
    }

    /// Guests that wait for a turn.
    pub fn waiting(&self) -> u32 {
        self.gate.waiting()
    }

    /// Turns that are taken.
    pub fn taken(&self) -> u32 {
        self.gate.running()
    }
}

#[cfg(test)]
mod tests;
