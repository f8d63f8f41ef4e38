//! The record of refused requests: in the journal, at a bounded rate.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use tokio::sync::Notify;
use wasm_fn_store::Store;

use super::{Control, Note};
use crate::{
    host::Host,
    state::{AccessChange, Refusals},
};

/// Shortest time between two entries. A flood of refusals costs the disk no more than this.
const EVERY: Duration = Duration::from_mins(1);

/// How many refusals one entry tells apart.
const ROWS_MAX: usize = 64;

/// Refusals that are not in the journal yet.
#[derive(Default)]
pub(super) struct RefusalLog {
    pending: Mutex<Pending>,
    news: Arc<Notify>,
}

#[derive(Default)]
struct Pending {
    rows: BTreeMap<(Option<String>, String, String), u64>,
    others: u64,
}

impl Pending {
    fn add(&mut self, actor: Option<String>, address: String, reason: String) {
        let key = (actor, address, reason);
        if let Some(times) = self.rows.get_mut(&key) {
            *times += 1;
        } else if self.rows.len() < ROWS_MAX {
            self.rows.insert(key, 1);
        } else {
            self.others += 1;
        }
    }

    /// Everything so far; `None` if there is nothing.
    fn take(&mut self) -> Option<AccessChange> {
        if self.rows.is_empty() {
            return None;
        }
        let Self { rows, others } = std::mem::take(self);
        let refusals = rows.into_iter().map(|((actor, address, reason), times)| Refusals {
            actor,
            address,
            reason,
            times,
        });
        Some(AccessChange::Refuse { refusals: refusals.collect(), others })
    }
}

impl RefusalLog {
    /// Wakes the task that records refusals.
    pub(super) fn wake(&self) {
        self.news.notify_one();
    }

    fn pending(&self) -> MutexGuard<'_, Pending> {
        // Nothing panics while holding the lock.
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<H: Host, S: Store> Control<H, S> {
    /// Records in the journal that a request of `actor` from `address` was refused. At most one entry is
    /// written a minute; it tells how many there were of each.
    pub fn refused(&self, actor: Option<String>, address: String, reason: String) {
        self.refusals.pending().add(actor, address, reason);
        self.refusals.news.notify_one();
    }

    /// Writes the refusals so far to the journal.
    async fn keep_refusals(self: &Arc<Self>) {
        let Some(change) = self.refusals.pending().take() else { return };
        let note = Note {
            actor: "node".to_owned(),
            token: None,
            origin: "node".to_owned(),
            message: None,
            expected_revision: None,
        };
        if let Err(error) = self.mutate_access(note, move |_| Ok(change.clone())).await {
            tracing::warn!(%error, "refused requests were not recorded");
        }
    }
}

/// Records refusals until the control plane is gone.
pub(super) async fn keep<H: Host, S: Store>(control: Weak<Control<H, S>>) {
    let Some(news) = control.upgrade().map(|control| Arc::clone(&control.refusals.news)) else { return };
    loop {
        news.notified().await;
        let Some(control) = control.upgrade() else { return };
        control.keep_refusals().await;
        drop(control);
        tokio::time::sleep(EVERY).await;
    }
}

#[cfg(test)]
mod tests;
