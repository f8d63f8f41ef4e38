//! Holds answers until their thread has polled the connections that were ready.
//!
//! What ready connections send then leaves in one go. A client on this machine, as a proxy is, is woken once for all
//! of it instead of for each answer, and the processor's caches hold first what answers requests and then what sends,
//! instead of both by turns. When nobody else is ready nothing waits.
//!
//! An answer waits so for the requests behind it, so these must not take long: threads whose polls do hold nothing.
//! When a thread is busy for long after all, another sends what it holds.

use std::{cell::Cell, sync::Arc, time::Duration};

use wasm_fn_thread::TaskBatch;

use crate::outbox::Outbox;

/// How long a thread's polls may take on average, nanoseconds, for it to hold what they send.
const POLL_NS_MAX: u64 = 50_000;

/// Answers that a thread holds at most: none waits for more than as many requests.
const HELD_MAX: usize = 32;

thread_local! {
    static AVERAGE: Cell<Average> = const { Cell::new(Average { ns: 0 }) };
    static HELD: TaskBatch<Held> = const { TaskBatch::new(HELD_MAX) };
}

/// How long the connections' polls take on a thread: an average in which each weighs an eighth.
#[derive(Clone, Copy, Debug)]
struct Average {
    ns: u64,
}

impl Average {
    fn and(self, took: Duration) -> Self {
        let ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        Self { ns: self.ns - self.ns / 8 + ns / 8 }
    }
}

/// Counts a poll of a connection on this thread.
pub(crate) fn polled(took: Duration) {
    AVERAGE.set(AVERAGE.get().and(took));
}

/// Whether an answer may wait for the polls of this thread.
pub(crate) fn may_wait() -> bool {
    AVERAGE.get().ns <= POLL_NS_MAX
}

/// Has what `outbox` holds sent, once all connections were polled that are ready on this thread.
pub(crate) fn join(outbox: Arc<Outbox>) {
    HELD.with(|held| held.add(Held(outbox), drop));
}

/// A connection that holds an answer, and sends it in the end.
struct Held(Arc<Outbox>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.send();
    }
}

#[cfg(test)]
pub(crate) mod tests;
