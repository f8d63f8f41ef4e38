//! How long a connection's task waited for a thread: from when it was woken to when it was polled.
//!
//! Guests that compute answer before they ever wait, so no gate sees how many requests are behind them: they
//! queue for the threads. Whoever queued there for too long is refused instead of served too late.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Wake, Waker},
    time::{Duration, Instant},
};

use crate::clock;

/// Stands between a task and what wakes it.
pub(crate) struct Turn {
    task: Waker,
    origin: Instant,
    /// When the task was woken first since it was polled: nanoseconds after `origin`, at least 1; 0 is never.
    woken: AtomicU64,
}

impl Turn {
    /// Of the task that `task` wakes for as long as it lives, as the runtime's tasks have but one waker. It is being
    /// polled, at `origin`.
    pub(crate) fn new(task: Waker, origin: Instant) -> Arc<Self> {
        Arc::new(Self { task, origin, woken: AtomicU64::new(0) })
    }

    /// The task is polled, with `waker`: how long it has waited for that. To be called at each poll, before
    /// anything that wakes it is asked.
    pub(crate) fn begin(&self, waker: &Waker, now: Instant) -> Duration {
        debug_assert!(self.task.will_wake(waker), "a task has one waker");
        match self.woken.swap(0, Relaxed) {
            0 => Duration::ZERO,
            woken => Duration::from_nanos(self.stamp(now).saturating_sub(woken)),
        }
    }

    fn woken_at(&self, now: Instant) {
        // The first one counts; a failure means that there was one.
        let _ = self.woken.compare_exchange(0, self.stamp(now), Relaxed, Relaxed);
    }

    fn stamp(&self, now: Instant) -> u64 {
        let nanos = now.saturating_duration_since(self.origin).as_nanos();
        u64::try_from(nanos).unwrap_or(u64::MAX).max(1)
    }
}

impl Wake for Turn {
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
