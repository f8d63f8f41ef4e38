//! Changes that wait to be sent, those that may wait apart from those that may not.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot},
    time::{Instant, sleep_until},
};
use wasm_fn_store::{ChangeOutcome, Delivery, InboxChange, InboxError, Receipt};

use super::message;

/// Changes of one message at most.
const BATCH_MAX: usize = 512;

/// How long changes wait that may, for others to go along with.
const DEFERRED_FOR: Duration = Duration::from_millis(50);

/// Units of all that wait and that are on their way, 1 KiB each.
const UNITS: u32 = 64 << 10;

/// The units of the smallest change, so that at most 8,192 of them wait.
const UNITS_MIN: u32 = 8;

/// A change that is to be sent.
pub(super) struct Queued {
    pub(super) change: InboxChange,
    /// What it ends.
    pub(super) ends: Option<(Receipt, Delivery)>,
    /// Who waits for what it leads to; `None` if nobody does, and it is sent until it leads to something.
    pub(super) reply: Option<oneshot::Sender<Result<ChangeOutcome, InboxError>>>,
    pub(super) _room: OwnedSemaphorePermit,
}

/// Changes that wait to be sent.
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    rang: Notify,
    room: Arc<Semaphore>,
}

#[derive(Default)]
struct Waiting {
    urgent: VecDeque<Queued>,
    deferred: VecDeque<Queued>,
    /// When those are to be sent that may wait; `Some` while there are any.
    deferred_until: Option<Instant>,
}

impl Queue {
    pub(super) fn new() -> Self {
        let room = Arc::new(Semaphore::new(UNITS as usize));
        Self { waiting: Mutex::default(), rang: Notify::new(), room }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // Nothing panics while holding the lock.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until there is room for `change`.
    pub(super) async fn room(&self, change: &InboxChange) -> OwnedSemaphorePermit {
        let units = u32::try_from(message::size(change) >> 10).unwrap_or(UNITS);
        let units = units.saturating_add(UNITS_MIN).min(UNITS);
        let room = Arc::clone(&self.room).acquire_many_owned(units).await;
        room.expect("the semaphore is never closed")
    }

    /// Adds a change that is sent at once.
    pub(super) fn push(&self, queued: Queued) {
        self.waiting().urgent.push_back(queued);
        self.rang.notify_one();
    }

    /// Adds a change that is sent soon.
    pub(super) fn defer(&self, queued: Queued) {
        let mut waiting = self.waiting();
        waiting.deferred.push_back(queued);
        waiting.deferred_until.get_or_insert_with(|| Instant::now() + DEFERRED_FOR);
        drop(waiting);
        self.rang.notify_one();
    }

    /// Has what may wait be sent at once.
    pub(super) fn hurry(&self) {
        let mut waiting = self.waiting();
        if waiting.deferred_until.is_some() {
            waiting.deferred_until = Some(Instant::now());
        }
        drop(waiting);
        self.rang.notify_one();
    }

    /// Waits until nothing is queued, and nothing is on its way.
    pub(super) async fn idle(&self) {
        // Whatever is queued has its room until it has led to something.
        let _all = self.room.acquire_many(UNITS).await;
    }

    /// Waits until something is to be sent, and takes it: some changes, at least one.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub(super) async fn take(&self) -> Vec<Queued> {
        loop {
            let until = {
                let mut waiting = self.waiting();
                let batch = waiting.take(Instant::now());
                if !batch.is_empty() {
                    return batch;
                }
                waiting.deferred_until
            };
            tokio::select! {
                () = self.rang.notified() => {}
                () = sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() => {}
            }
        }
    }

    /// Takes out everything.
    pub(super) fn clear(&self) {
        *self.waiting() = Waiting::default();
    }
}

impl Waiting {
    fn take(&mut self, now: Instant) -> Vec<Queued> {
        if self.urgent.is_empty() && self.deferred_until.is_none_or(|until| until > now) {
            return Vec::new();
        }
        let (mut batch, mut bytes) = (Vec::new(), 0);
        for queue in [&mut self.urgent, &mut self.deferred] {
            // One whose caller has gone need not be sent.
            while let Some(next) = queue.front() {
                if next.reply.as_ref().is_some_and(oneshot::Sender::is_closed) {
                    queue.pop_front();
                    continue;
                }
                let size = message::size(&next.change);
                if !batch.is_empty() && (batch.len() >= BATCH_MAX || bytes + size > message::BATCH_BYTES) {
                    break;
                }
                bytes += size;
                batch.extend(queue.pop_front());
            }
        }
        self.deferred_until = if self.deferred.is_empty() { None } else { Some(now) };
        batch
    }
}
