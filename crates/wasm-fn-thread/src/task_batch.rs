//! A batch of items that one thread handles together, after it has polled all tasks that were ready.
//!
//! Invariants: an item is handed over once, or dropped when the runtime ends before that. Batches are handed
//! over in the order in which they were begun, unless one is full earlier, and on the thread that began them,
//! unless that thread is busy for so long that another takes them over.

use std::{
    cell::RefCell,
    mem,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

/// Collects the items of one thread. Keep it in a `thread_local!`.
#[derive(Debug)]
pub struct TaskBatch<T> {
    items_max: usize,
    open: RefCell<Option<Arc<OpenBatch<T>>>>,
}

/// The items so far; `None` once they were handed over.
#[derive(Debug)]
struct OpenBatch<T>(Mutex<Option<Vec<T>>>);

/// The task that hands a batch over.
struct Flush<T> {
    batch: Arc<OpenBatch<T>>,
    finish: fn(Vec<T>),
    /// Whether this task stands behind those that were ready when the batch began.
    is_last: bool,
}

impl<T: Send + 'static> TaskBatch<T> {
    /// An empty batch. It is handed over at once, without waiting for more, when it holds `items_max` items;
    /// at least 2.
    pub const fn new(items_max: usize) -> Self {
        Self { items_max, open: RefCell::new(None) }
    }

    /// Adds `item`. The batch goes to `finish` once the thread has polled all tasks that are ready now, or
    /// before this returns when it is full. Call it within a tokio runtime, with the same `finish` each time.
    ///
    /// Of two batches that begin in the same poll, the first is finished first. Tasks that were ready add to
    /// the same batch.
    pub fn add(&self, item: T, finish: fn(Vec<T>)) {
        if let Some(full) = self.push(item, finish) {
            finish(full);
        }
    }

    /// Adds to the open batch, or begins one; returns a batch that is full.
    fn push(&self, item: T, finish: fn(Vec<T>)) -> Option<Vec<T>> {
        let mut open = self.open.borrow_mut();
        let first = match &*open {
            Some(batch) => match batch.add(item, self.items_max) {
                Ok(full) => return full,
                Err(rejected) => rejected,
            },
            None => item,
        };
        let begun = Arc::new(OpenBatch::of(first, self.items_max));
        *open = Some(Arc::clone(&begun));
        drop(open);
        tokio::spawn(Flush { batch: begun, finish, is_last: false });
        None
    }
}

impl<T> OpenBatch<T> {
    fn of(first: T, items_max: usize) -> Self {
        let mut items = Vec::with_capacity(items_max);
        items.push(first);
        Self(Mutex::new(Some(items)))
    }

    /// Adds `item`; returns all items when there are `items_max`, and `item` itself when the batch was handed
    /// over.
    fn add(&self, item: T, items_max: usize) -> Result<Option<Vec<T>>, T> {
        let mut items = self.lock();
        let Some(items) = &mut *items else { return Err(item) };
        items.push(item);
        Ok((items.len() >= items_max).then(|| mem::replace(items, Vec::with_capacity(items_max))))
    }

    /// Closes the batch and returns its items.
    fn take(&self) -> Vec<T> {
        mem::take(&mut *self.lock()).unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Vec<T>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Future for Flush<T> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_last {
            let items = self.batch.take();
            if !items.is_empty() {
                (self.finish)(items);
            }
            return Poll::Ready(());
        }
        // A task that wakes itself goes behind all others; a new one would go before them.
        self.is_last = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<T> Drop for Flush<T> {
    fn drop(&mut self) {
        // Items added from now on would never be finished: `add` has to begin another batch.
        drop(self.batch.take());
    }
}

#[cfg(test)]
mod tests;
