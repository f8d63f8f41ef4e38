//! Keeps a guest's knocking from its task until the task waits.
//!
//! Guests with asynchronous functions wake themselves while they run, and have mostly gone on by themselves
//! before their task would look again. A task that was woken for nothing is polled once more for nothing.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    task::{Context, Wake, Waker},
};

use futures_util::task::AtomicWaker;

/// What a guest wakes.
#[derive(Default)]
pub(super) struct Knock {
    /// Whether the guest knocked since it was last let run.
    knocked: AtomicBool,
    /// Woken by the next knock; absent while nobody waits.
    task: AtomicWaker,
}

impl Knock {
    /// The waker for one more poll of the guest: what it knocked for before is being done.
    pub(super) fn waker(self: &Arc<Self>) -> Waker {
        drop(self.task.take());
        self.knocked.store(false, SeqCst);
        Waker::from(Arc::clone(self))
    }

    /// The task waits from now on: it is woken by the next knock, or at once by one that came since the guest was
    /// let run.
    pub(super) fn wait(&self, cx: &Context<'_>) {
        self.task.register(cx.waker());
        if self.knocked.swap(false, SeqCst) {
            self.task.wake();
        }
    }
}

impl Wake for Knock {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.knocked.store(true, SeqCst);
        self.task.wake();
    }
}

#[cfg(test)]
mod tests;
