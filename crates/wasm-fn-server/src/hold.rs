//! Holds what a connection sends until its thread has polled the others that were ready.
//!
//! What ready connections send then leaves in one go. A client on this machine is woken once for all of it, and
//! the processor's caches hold first what answers requests and then what sends, instead of both by turns: up to a
//! quarter less CPU per request. When nobody else is ready nothing waits.
//!
//! An answer waits so for the requests behind it. That is a good trade only where these take microseconds, so a
//! thread holds nothing while its polls take longer. And only whole answers wait: the head of one whose body may
//! yet fail must be under way by then.

use std::{
    cell::Cell,
    sync::atomic::{AtomicBool, AtomicU8, Ordering::Relaxed},
    task::{Context, Poll},
    time::Duration,
};

/// Average length of a thread's polls up to which it holds what they send.
const SHORT: Duration = Duration::from_micros(50);

thread_local! {
    static POLLS: Cell<Polls> = const { Cell::new(Polls { average_ns: 0 }) };
}

/// How long the connections' polls take on a thread: an average in which each weighs an eighth.
#[derive(Clone, Copy, Debug)]
struct Polls {
    average_ns: u64,
}

impl Polls {
    fn and(self, time: Duration) -> Self {
        let ns = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        Self { average_ns: self.average_ns - self.average_ns / 8 + ns / 8 }
    }

    fn are_short(self) -> bool {
        u128::from(self.average_ns) <= SHORT.as_nanos()
    }
}

/// A connection was polled on this thread for so long.
pub(crate) fn polled(time: Duration) {
    POLLS.set(POLLS.get().and(time));
}

/// What a connection holds.
#[derive(Debug, Default)]
pub(crate) struct Hold {
    sending: AtomicU8,
    /// Whether the answer that is sent is whole.
    whole: AtomicBool,
}

const NOTHING: u8 = 0;
/// Something since this poll of its task: the next one sends it.
const HELD: u8 = 1;
/// What was held is sent in this poll, and what comes after it.
const DUE: u8 = 2;

impl Hold {
    /// A poll of the connection's task begins.
    pub(crate) fn begin(&self) {
        let next = if self.sending.load(Relaxed) == HELD { DUE } else { NOTHING };
        self.sending.store(next, Relaxed);
    }

    /// What is sent from now on belongs to an answer that is there as a whole, or is not.
    pub(crate) fn answer(&self, whole: bool) {
        self.whole.store(whole, Relaxed);
    }

    /// Ready when the connection may send. Otherwise its task is polled again once its thread has polled those that
    /// are ready now.
    pub(crate) fn poll_send(&self, cx: &Context<'_>) -> Poll<()> {
        match self.sending.load(Relaxed) {
            HELD => Poll::Pending,
            NOTHING if self.whole.load(Relaxed) && POLLS.get().are_short() => {
                self.sending.store(HELD, Relaxed);
                // A task that wakes itself goes behind all others.
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            _ => Poll::Ready(()),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
