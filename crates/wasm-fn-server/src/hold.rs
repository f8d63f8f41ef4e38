//! Holds what a connection sends until its thread has polled the others that were ready.
//!
//! What ready connections send then leaves in one go. A client on this machine, as a proxy is, is woken once for all
//! of it instead of for each answer, and the processor's caches hold first what answers requests and then what sends,
//! instead of both by turns. When nobody else is ready nothing waits.
//!
//! An answer waits so for the requests behind it, which pays where answering takes neither so short that the client is
//! still awake from the answer before, nor so long that the wait would be noticed. And only whole answers wait: the
//! head of one whose body may yet fail must be under way by then.

use std::{
    cell::Cell,
    ops::RangeInclusive,
    sync::atomic::{AtomicBool, AtomicU8, Ordering::Relaxed},
    task::{Context, Poll},
    time::Duration,
};

/// How long a thread's polls may take on average, nanoseconds, for it to hold what they send.
const PAYS_NS: RangeInclusive<u64> = 8_000..=50_000;

thread_local! {
    static POLLS: Cell<Polls> = const { Cell::new(Polls { average_ns: 0 }) };
}

/// How long the connections' polls take on a thread until they send: an average in which each weighs an eighth.
#[derive(Clone, Copy, Debug)]
struct Polls {
    average_ns: u64,
}

impl Polls {
    fn and(self, took: Duration) -> Self {
        let ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        Self { average_ns: self.average_ns - self.average_ns / 8 + ns / 8 }
    }

    fn holding_pays(self) -> bool {
        PAYS_NS.contains(&self.average_ns)
    }
}

/// What a connection holds.
#[derive(Debug, Default)]
pub(crate) struct Hold {
    sending: AtomicU8,
    /// Whether the answer that is sent is whole.
    whole: AtomicBool,
}

/// Nothing was sent in this poll.
const NOTHING: u8 = 0;
/// Something was sent in this poll.
const SENT: u8 = 1;
/// Something is held since this poll: the next one sends it.
const HELD: u8 = 2;
/// What was held is sent in this poll, and what comes after it.
const DUE: u8 = 3;

impl Hold {
    /// A poll of the connection's task begins.
    pub(crate) fn begin(&self) {
        let next = if self.sending.load(Relaxed) == HELD { DUE } else { NOTHING };
        self.sending.store(next, Relaxed);
    }

    /// The poll ends, and `took` so long; asked unless it was when something was sent.
    pub(crate) fn end(&self, took: impl FnOnce() -> Duration) {
        if self.sending.load(Relaxed) == NOTHING {
            measure(took());
        }
    }

    /// What is sent from now on belongs to an answer that is there as a whole, or is not.
    pub(crate) fn answer(&self, whole: bool) {
        self.whole.store(whole, Relaxed);
    }

    /// Ready when the connection may send. Otherwise its task is polled again once its thread has polled those that
    /// are ready now. `took` says how long this poll took until now.
    pub(crate) fn poll_send(&self, cx: &Context<'_>, took: impl FnOnce() -> Duration) -> Poll<()> {
        match self.sending.load(Relaxed) {
            HELD => Poll::Pending,
            NOTHING if measure(took()).holding_pays() && self.whole.load(Relaxed) => {
                self.sending.store(HELD, Relaxed);
                // A task that wakes itself goes behind all others.
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            NOTHING => {
                self.sending.store(SENT, Relaxed);
                Poll::Ready(())
            }
            _ => Poll::Ready(()),
        }
    }
}

/// Counts a poll of this thread.
fn measure(took: Duration) -> Polls {
    let polls = POLLS.get().and(took);
    POLLS.set(polls);
    polls
}

#[cfg(test)]
pub(crate) mod tests;
