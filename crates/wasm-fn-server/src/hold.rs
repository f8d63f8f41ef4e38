//! Holds answers until their thread has polled the connections that were ready.
//!
//! What ready connections send then leaves in one go. A client on this machine, as a proxy is, is woken once for all
//! of it instead of for each answer, and the processor's caches hold first what answers requests and then what sends,
//! instead of both by turns. When nobody else is ready nothing waits.
//!
//! An answer waits so for the requests behind it, so these must not take long: threads whose polls do hold nothing.
//! A task sends, behind all that were ready when the first answer was held; when its thread is busy for long after
//! all, another takes it over.

use std::{
    cell::{Cell, RefCell},
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use crate::outbox::Outbox;

/// How long a thread's polls may take on average, nanoseconds, for it to hold what they send.
const POLL_NS_MAX: u64 = 50_000;

/// Answers that leave together at most: then none waits for more than as many polls.
const BATCH_MAX: usize = 32;

thread_local! {
    static AVERAGE: Cell<Average> = const { Cell::new(Average { ns: 0 }) };
    static BATCH: RefCell<Option<Arc<Batch>>> = const { RefCell::new(None) };
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
    BATCH.with_borrow_mut(|batch| {
        let late = match batch {
            Some(batch) => batch.add(outbox).err(),
            None => Some(outbox),
        };
        if let Some(first) = late {
            let sender = Sender::of(first);
            *batch = Some(Arc::clone(&sender.batch));
            tokio::spawn(sender);
        }
    });
}

/// Connections that hold an answer; `None` once they were told to send it.
struct Batch(Mutex<Option<Vec<Arc<Outbox>>>>);

impl Batch {
    /// Gives `outbox` back when it comes too late.
    fn add(&self, outbox: Arc<Outbox>) -> Result<(), Arc<Outbox>> {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *waiting {
            Some(outboxes) if outboxes.len() < BATCH_MAX => outboxes.push(outbox),
            _ => return Err(outbox),
        }
        Ok(())
    }

    fn send(&self) {
        let outboxes = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        outboxes.into_iter().flatten().for_each(|outbox| outbox.send());
    }
}

/// The task that has a batch sent, also when its runtime ends before.
struct Sender {
    batch: Arc<Batch>,
    is_behind: bool,
}

impl Sender {
    fn of(first: Arc<Outbox>) -> Self {
        let mut outboxes = Vec::with_capacity(BATCH_MAX);
        outboxes.push(first);
        Self { batch: Arc::new(Batch(Mutex::new(Some(outboxes)))), is_behind: false }
    }
}

impl Future for Sender {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_behind {
            self.batch.send();
            return Poll::Ready(());
        }
        // A task that wakes itself goes behind all others; a new one would go before them.
        self.is_behind = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.batch.send();
    }
}

#[cfg(test)]
pub(crate) mod tests;
