//! What a thread does for several tasks at once, behind all that are ready.
//!
//! Code that runs for one task after the other stays in the processor's caches; code that runs between each two of
//! them evicts what these need. So what can wait for a moment is gathered on its thread and done together.
//!
//! This crate owns when that is. It does not know what is done.
//!
//! Invariants: what was gathered is handed over once, or dropped when the runtime ends before; batches are handed over
//! in the order in which they were begun, on the thread where that was, unless it is busy for so long that another
//! takes them over.

use std::{
    cell::RefCell,
    mem,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

/// Items that are gathered at most before they are handed over: then none waits for more than as many tasks.
pub const ITEMS_MAX: usize = 32;

/// Gathers what one thread does together. To be kept in a `thread_local!`.
#[derive(Debug)]
pub struct Gathering<T> {
    batch: RefCell<Option<Arc<Batch<T>>>>,
}

/// Items of one thread; `None` once they were handed over.
#[derive(Debug)]
struct Batch<T>(Mutex<Option<Vec<T>>>);

/// The task that hands a batch over.
struct Finisher<T> {
    batch: Arc<Batch<T>>,
    finish: fn(Vec<T>),
    is_behind: bool,
}

impl<T: Send + 'static> Gathering<T> {
    /// Nothing is gathered yet.
    #[expect(clippy::new_without_default, reason = "thread-locals are made by constant functions")]
    pub const fn new() -> Self {
        Self { batch: RefCell::new(None) }
    }

    /// Has `finish` called on this and what is added with it, once all tasks were polled that are ready on this
    /// thread now. Must be called within a tokio runtime, with the same `finish` each time.
    ///
    /// A batch that is begun in the same poll before another is finished before it, and so is one that the tasks
    /// begin which were ready.
    pub fn add(&self, item: T, finish: fn(Vec<T>)) {
        let mut batch = self.batch.borrow_mut();
        let late = match &*batch {
            Some(batch) => batch.add(item).err(),
            None => Some(item),
        };
        if let Some(first) = late {
            let begun = Arc::new(Batch::of(first));
            *batch = Some(Arc::clone(&begun));
            drop(batch);
            tokio::spawn(Finisher { batch: begun, finish, is_behind: false });
        }
    }
}

impl<T> Batch<T> {
    fn of(first: T) -> Self {
        let mut items = Vec::with_capacity(ITEMS_MAX);
        items.push(first);
        Self(Mutex::new(Some(items)))
    }

    /// Gives `item` back when it comes too late.
    fn add(&self, item: T) -> Result<(), T> {
        match &mut *self.lock() {
            Some(items) if items.len() < ITEMS_MAX => items.push(item),
            _ => return Err(item),
        }
        Ok(())
    }

    fn take(&self) -> Vec<T> {
        mem::take(&mut *self.lock()).unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Vec<T>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Future for Finisher<T> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_behind {
            (self.finish)(self.batch.take());
            return Poll::Ready(());
        }
        // A task that wakes itself goes behind all others; a new one would go before them.
        self.is_behind = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<T> Drop for Finisher<T> {
    fn drop(&mut self) {
        // Nobody may add to what nobody finishes.
        drop(self.batch.take());
    }
}

#[cfg(test)]
mod tests;
