//! Queues between those who have something to tell and the thread that sends it.

use std::sync::{
    Arc,
    atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
};

use tokio::{
    sync::{mpsc, watch},
    time::{Instant, timeout_at},
};

use crate::settings::QueueSettings;

/// Something that waits to be sent.
pub(crate) trait Item {
    /// How many items it stands for.
    fn count(&self) -> usize;
}

/// What became of the items of a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueCounts {
    /// The receiver has them.
    pub sent: u64,
    /// The queue was full.
    pub dropped: u64,
    /// The receiver did not take them.
    pub failed: u64,
}

#[derive(Debug, Default)]
struct Counts {
    /// Items that wait.
    waiting: AtomicUsize,
    sent: AtomicU64,
    dropped: AtomicU64,
    failed: AtomicU64,
}

/// The end of a queue that takes items.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    sender: mpsc::Sender<T>,
    counts: Arc<Counts>,
    items_max: usize,
}

/// The end of a queue that gives batches.
pub(crate) struct Batches<T> {
    receiver: mpsc::Receiver<T>,
    counts: Arc<Counts>,
    settings: QueueSettings,
    /// Turns true, or its sender is gone, when what waits is to be sent without waiting for more.
    stop: watch::Receiver<bool>,
    is_stopping: bool,
}

/// A batch, and how many items it stands for.
pub(crate) struct Batch<T> {
    pub(crate) items: Vec<T>,
    pub(crate) count: usize,
}

/// A queue with these `settings`.
pub(crate) fn queue<T>(settings: QueueSettings, stop: watch::Receiver<bool>) -> (Queue<T>, Batches<T>) {
    let (sender, receiver) = mpsc::channel(settings.items_max);
    let counts = Arc::<Counts>::default();
    let batches = Batches { receiver, counts: counts.clone(), settings, stop, is_stopping: false };
    (Queue { sender, counts, items_max: settings.items_max }, batches)
}

impl<T: Item> Queue<T> {
    /// Adds `item`, or drops it if the queue is full. Never waits.
    pub(crate) fn offer(&self, item: T) {
        let (count, counts) = (item.count(), &*self.counts);
        let fits = counts.waiting.fetch_add(count, Relaxed) + count <= self.items_max;
        if !(fits && self.sender.try_send(item).is_ok()) {
            counts.waiting.fetch_sub(count, Relaxed);
            counts.dropped.fetch_add(count as u64, Relaxed);
        }
    }

    /// What became of the items so far.
    pub(crate) fn counts(&self) -> QueueCounts {
        let Counts { sent, dropped, failed, .. } = &*self.counts;
        let read = |count: &AtomicU64| count.load(Relaxed);
        QueueCounts { sent: read(sent), dropped: read(dropped), failed: read(failed) }
    }
}

impl<T: Item> Batches<T> {
    /// The next batch: a full one, or what came within the delay. `None` once the queue was stopped and is
    /// empty.
    pub(crate) async fn next(&mut self) -> Option<Batch<T>> {
        let mut batch = Batch { items: Vec::new(), count: 0 };
        let mut due = None;
        while batch.count < self.settings.batch_max {
            let Some(item) = self.item(due).await else { break };
            // The delay counts from the first item.
            due.get_or_insert_with(|| Instant::now() + self.settings.delay);
            batch.count += item.count();
            batch.items.push(item);
        }
        self.counts.waiting.fetch_sub(batch.count, Relaxed);
        (!batch.items.is_empty()).then_some(batch)
    }

    /// The next item, unless it comes after `due`.
    async fn item(&mut self, due: Option<Instant>) -> Option<T> {
        let Self { receiver, stop, is_stopping, .. } = self;
        if !*is_stopping {
            let next = async {
                match due {
                    None => receiver.recv().await,
                    Some(due) => timeout_at(due, receiver.recv()).await.ok().flatten(),
                }
            };
            tokio::select! {
                item = next => return item,
                _ = stop.wait_for(|&stop| stop) => {}
            }
            *is_stopping = true;
            receiver.close();
        }
        receiver.try_recv().ok()
    }

    /// Notes that `count` items were sent, or failed to be.
    pub(crate) fn note(&self, count: usize, is_sent: bool) {
        let counter = if is_sent { &self.counts.sent } else { &self.counts.failed };
        counter.fetch_add(count as u64, Relaxed);
    }
}
