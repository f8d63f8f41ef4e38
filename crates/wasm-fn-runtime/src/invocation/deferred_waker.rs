//! Defers a guest's wake-ups until its task waits.
//!
//! A guest with asynchronous functions wakes itself while it runs, and has usually gone on by itself before
//! its task would look again. A wake-up without need costs one more poll without need.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    task::{Context, Wake, Waker},
};

use futures_util::task::AtomicWaker;

/// Receives the wake-ups of a guest.
#[derive(Default)]
pub(super) struct DeferredWaker {
    /// Whether there was a wake-up since the guest last began to run.
    woken: AtomicBool,
    /// The task to wake next; absent while it does not wait.
    task: AtomicWaker,
}

impl DeferredWaker {
    /// The waker for one more poll of the guest. The poll does what earlier wake-ups asked for.
    pub(super) fn waker(self: &Arc<Self>) -> Waker {
        drop(self.task.take());
        self.woken.store(false, SeqCst);
        Waker::from(Arc::clone(self))
    }

    /// Lets the task wait. The next wake-up wakes it, or at once one that came since the guest began to run.
    pub(super) fn wait(&self, cx: &Context<'_>) {
        self.task.register(cx.waker());
        if self.woken.swap(false, SeqCst) {
            self.task.wake();
        }
    }
}

impl Wake for DeferredWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.store(true, SeqCst);
        self.task.wake();
    }
}

#[cfg(test)]
mod tests;
