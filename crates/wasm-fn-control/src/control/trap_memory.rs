//! Keeping what versions have shown, so that a node that starts again knows it.

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

/// How often new traps are looked for. A node that is killed forgets those of so long.
const EVERY: Duration = Duration::from_secs(5);

/// What the store has of traps.
pub(super) struct Memory {
    /// Counts the traps that are new in this process.
    news: Arc<AtomicU64>,
    /// How many of them are kept.
    heard: u64,
    kept: KnownTraps,
}

impl Memory {
    /// What the store has when a process begins.
    pub(super) fn of(news: Arc<AtomicU64>, kept: KnownTraps) -> Self {
        let heard = news.load(Relaxed);
        Self { news, heard, kept }
    }
}

/// Keeps new traps until the control plane is gone.
pub(super) async fn keep<H: Host, S: Store>(control: Weak<Control<H, S>>) {
    loop {
        tokio::time::sleep(EVERY).await;
        let Some(control) = control.upgrade() else { return };
        // Under the writer's lock: whoever hands the state over does so after this, or before.
        let writer = control.writer.lock().await;
        if !writer.handed_over {
            control.keep_traps().await;
        }
    }
}

impl<H: Host, S: Store> Control<H, S> {
    /// Makes durable which traps versions have shown since the last time. What cannot be kept is tried again.
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
            tracing::warn!(%error, "traps that versions have shown are not kept");
            return;
        }
        memory.heard = news;
        memory.kept.extend(changed);
    }
}
