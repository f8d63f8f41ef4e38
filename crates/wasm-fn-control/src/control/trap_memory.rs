//! Stores the traps that versions have had, so that a restarted node knows them.

use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use super::Control;
use wasm_fn_store::{KnownTraps, Store};

use crate::host::Host;

/// How often new traps are stored. A node that is killed forgets the traps since the last time.
const EVERY: Duration = Duration::from_secs(5);

/// What is stored about traps.
pub(super) struct Memory {
    /// Counts the traps that are new in this process.
    news: Arc<AtomicU64>,
    /// How many of them are stored.
    heard: u64,
    kept: KnownTraps,
}

impl Memory {
    /// The traps that are stored when a process begins.
    pub(super) fn of(news: Arc<AtomicU64>, kept: KnownTraps) -> Self {
        let heard = news.load(Relaxed);
        Self { news, heard, kept }
    }
}

/// Stores new traps, and new uses of tokens, until the control plane is gone.
pub(super) async fn keep<H: Host, S: Store>(control: Weak<Control<H, S>>) {
    loop {
        tokio::time::sleep(EVERY).await;
        let Some(control) = control.upgrade() else { return };
        // With the writer's lock, this runs either before or after a handover of the state, never during one.
        let writer = control.writer.lock().await;
        if !writer.handed_over {
            control.keep_traps().await;
            control.keep_token_uses().await;
        }
    }
}

impl<H: Host, S: Store> Control<H, S> {
    /// Makes durable the traps that versions have had since the last time. If that fails, the next call tries
    /// again.
    pub(super) async fn keep_traps(&self) {
        let mut memory = self.memory.lock().await;
        let news = memory.news.load(Relaxed);
        if news == memory.heard {
            return;
        }
        let table = self.table.load_full();
        let shown = table.stages().iter().flat_map(|stage| {
            let key = move |version| (stage.function().clone(), stage.name().clone(), version);
            stage.versions().iter().map(move |entry| (key(entry.no), entry.tally.traps()))
        });
        let changed: KnownTraps =
            shown.filter(|(key, traps)| !traps.is_empty() && memory.kept.get(key) != Some(traps)).collect();
        if let Err(error) = self.store.keep_traps(changed.clone()).await {
            tracing::warn!(%error, "new traps were not stored");
            return;
        }
        memory.heard = news;
        memory.kept.extend(changed);
    }
}
