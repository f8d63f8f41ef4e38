//! What is heard of the log before it is read.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;

/// What is known of the log's end, and which of its last messages are this node's own.
pub(super) struct News {
    target: watch::Sender<u64>,
    own: Mutex<BTreeMap<u64, String>>,
}

impl News {
    pub(super) fn new() -> Self {
        Self { target: watch::channel(0).0, own: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, String>> {
        // Nothing panics while holding the lock.
        self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn watch(&self) -> watch::Receiver<u64> {
        self.target.subscribe()
    }

    pub(super) fn target(&self) -> u64 {
        *self.target.borrow()
    }

    /// The log has a message `sequence`, which has the id `id`.
    pub(super) fn heard(&self, sequence: u64, id: Option<String>) {
        if let Some(id) = id {
            self.lock().insert(sequence, id);
        }
        self.target.send_if_modified(|target| {
            let is_new = *target < sequence;
            *target = (*target).max(sequence);
            is_new
        });
    }

    pub(super) fn own(&self, from: u64, to: u64) -> BTreeMap<u64, String> {
        self.lock().range(from..=to).map(|(sequence, id)| (*sequence, id.clone())).collect()
    }

    pub(super) fn forget(&self, sequence: u64) {
        self.lock().remove(&sequence);
    }

    pub(super) fn applied(&self, sequence: u64) {
        let mut own = self.lock();
        *own = own.split_off(&(sequence + 1));
    }

    /// Forgets the end: the log may be another.
    pub(super) fn reset(&self) {
        self.lock().clear();
        self.target.send_replace(0);
    }
}
