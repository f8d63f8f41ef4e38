//! Stores the traps that versions have had, so that a restarted node knows them.

use std::{sync::Weak, time::Duration};

use super::{Control, Writer};
use wasm_fn_store::{KnownTraps, Store};

use crate::host::Host;

/// How often new traps are stored. A node that is killed forgets the traps since the last time.
const EVERY: Duration = Duration::from_secs(5);

/// Stores new traps, and new uses of tokens, until the control plane is gone.
pub(super) async fn keep<H: Host, S: Store>(control: Weak<Control<H, S>>) {
    loop {
        tokio::time::sleep(EVERY).await;
        let Some(control) = control.upgrade() else { return };
        // With the writer's lock, this runs either before or after a handover of the state, never during one.
        let writer = control.writer.lock().await;
        if !writer.handed_over {
            control.keep_traps(&writer).await;
            control.keep_token_uses().await;
        }
    }
}

impl<H: Host, S: Store> Control<H, S> {
    /// Makes durable the traps that versions have had since the last time. If that fails, the next call tries
    /// again.
    pub(super) async fn keep_traps(&self, writer: &Writer<H>) {
        let news = writer.publisher.news();
        let versions = news.take();
        let table = self.table.load_full();
        let traps = versions.iter().filter_map(|(function, stage, no)| {
            // It may have been deleted.
            let version = table.stage(function, stage)?.version(*no)?;
            Some(((function.clone(), stage.clone(), *no), version.tally.traps()))
        });
        let traps: KnownTraps = traps.collect();
        if traps.is_empty() {
            return;
        }
        if let Err(error) = self.store.keep_traps(traps).await {
            tracing::warn!(%error, "new traps were not stored");
            news.put_back(versions);
        }
    }
}
