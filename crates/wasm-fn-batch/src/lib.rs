//! What a thread does for several tasks at once, behind all that are ready.
//!
//! Code that runs for one task after the other stays in the processor's caches; code that runs between each two of
//! them evicts what these need. So what can wait for a moment is gathered on its thread and done together.
//!
//! This crate owns when that is. It does not know what is done.
//!
//! Invariants: what was gathered is handed over once, or dropped when the runtime ends before; batches are handed over
//! in the order in which they were begun, unless they are full before, and on the thread where that was, unless it is
//! busy for so long that another takes them over.

use std::{
    cell::RefCell,
    mem,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

/// Gathers what one thread does together. To be kept in a `thread_local!`.
#[derive(Debug)]
pub struct Gathering<T> {
    items_max: usize,
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
    /// Nothing is gathered yet. So many items, two or more, are handed over at once, without a wait for others.
    pub const fn new(items_max: usize) -> Self {
        Self { items_max, batch: RefCell::new(None) }
    }

    /// Has `finish` called on this and what is added with it, once all tasks were polled that are ready on this
    /// thread now, or before this returns when there are as many as may be. Must be called within a tokio runtime,
    /// with the same `finish` each time.
    ///
    /// A batch that is begun in the same poll before another is finished before it, and so is one that the tasks
    /// begin which were ready.
    pub fn add(&self, item: T, finish: fn(Vec<T>)) {
        if let Some(full) = self.push(item, finish) {
            finish(full);
        }
    }

    /// Adds to the batch that is open, or begins one; what has to be finished at once.
    fn push(&self, item: T, finish: fn(Vec<T>)) -> Option<Vec<T>> {
        let mut batch = self.batch.borrow_mut();
        let first = match &*batch {
            Some(batch) => match batch.add(item, self.items_max) {
                Ok(full) => return full,
                Err(late) => late,
            },
            None => item,
        };
        let begun = Arc::new(Batch::of(first, self.items_max));
        *batch = Some(Arc::clone(&begun));
        drop(batch);
        tokio::spawn(Finisher { batch: begun, finish, is_behind: false });
        None
    }
}

impl<T> Batch<T> {
    fn of(first: T, items_max: usize) -> Self {
        let mut items = Vec::with_capacity(items_max);
        items.push(first);
        Self(Mutex::new(Some(items)))
    }

    /// Adds `item` and returns all of them when there are `items_max`; gives it back when it comes too late.
    fn add(&self, item: T, items_max: usize) -> Result<Option<Vec<T>>, T> {
        let mut items = self.lock();
        let Some(items) = &mut *items else { return Err(item) };
        items.push(item);
        Ok((items.len() >= items_max).then(|| mem::replace(items, Vec::with_capacity(items_max))))
    }

    /// Closes it; what is in it.
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
            let items = self.batch.take();
            if !items.is_empty() {
                (self.finish)(items);
            }
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
