//! Messages that were sent, until it is known what they led to.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use wasm_fn_store::{Delivery, InboxChange};

use super::queue::Queued;

/// Messages that are on their way, by their ids.
#[derive(Default)]
pub(super) struct Sent {
    batches: Mutex<HashMap<String, Batch>>,
}

/// A message on its way.
pub(super) struct Batch {
    pub(super) payload: Bytes,
    pub(super) now_ms: u64,
    pub(super) changes: Vec<Queued>,
}

impl Batch {
    /// What is to be applied.
    pub(super) fn to_apply(&self) -> Vec<(InboxChange, Option<Delivery>)> {
        let of = |queued: &Queued| {
            let delivery = queued.ends.as_ref().map(|(_, delivery)| delivery.clone());
            (queued.change.clone(), delivery)
        };
        self.changes.iter().map(of).collect()
    }
}

impl Sent {
    /// Adds a message.
    pub(super) fn put(&self, id: String, batch: Batch) {
        self.batches().insert(id, batch);
    }

    fn batches(&self) -> MutexGuard<'_, HashMap<String, Batch>> {
        // Nothing panics while holding the lock.
        self.batches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes out a message that the log is known to have.
    pub(super) fn take(&self, id: &str) -> Option<Batch> {
        self.batches().remove(id)
    }

    /// Whether a message is on its way.
    pub(super) fn has(&self, id: &str) -> bool {
        self.batches().contains_key(id)
    }

    pub(super) fn payload(&self, id: &str) -> Option<Bytes> {
        self.batches().get(id).map(|batch| batch.payload.clone())
    }

    pub(super) fn clear(&self) {
        self.batches().clear();
    }
}
