//! Measures how long a connection's task waited for a thread: from being woken to being polled.
//!
//! A guest that only computes answers before it ever waits, so no concurrency limit sees the requests behind
//! it: they queue for a thread. A request that queued for too long is refused instead of being served too
//! late.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Wake, Waker},
    time::{Duration, Instant},
};

use crate::clock;

/// A waker that records when it woke its task.
pub(crate) struct ScheduleDelay {
    task: Waker,
    origin: Instant,
    /// When the task was first woken since its last poll: nanoseconds after `origin`, at least 1; 0 is never.
    woken: AtomicU64,
}

impl ScheduleDelay {
    /// Wraps the waker of the task that is polled at `origin`. A task of the runtime has only one waker.
    pub(crate) fn new(task: Waker, origin: Instant) -> Arc<Self> {
        Arc::new(Self { task, origin, woken: AtomicU64::new(0) })
    }

    /// Notes that the task is polled with `waker`. Returns how long it waited. Call this at the start of each
    /// poll.
    pub(crate) fn begin(&self, waker: &Waker, now: Instant) -> Duration {
        debug_assert!(self.task.will_wake(waker), "a task has one waker");
        match self.woken.swap(0, Relaxed) {
            0 => Duration::ZERO,
            woken => Duration::from_nanos(self.stamp(now).saturating_sub(woken)),
        }
    }

    fn woken_at(&self, now: Instant) {
        // The first one counts. This fails if there was one already.
        let _ = self.woken.compare_exchange(0, self.stamp(now), Relaxed, Relaxed);
    }

    fn stamp(&self, now: Instant) -> u64 {
        let nanos = now.saturating_duration_since(self.origin).as_nanos();
        u64::try_from(nanos).unwrap_or(u64::MAX).max(1)
    }
}

impl Wake for ScheduleDelay {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken_at(clock::now());
        self.task.wake_by_ref();
    }
}

#[cfg(test)]
mod tests;
