//! After a start: loads what has traffic, in the background, so that a changed engine recompiles
//! before users wait for it.

use std::sync::Arc;

use arc_swap::ArcSwap;
use wasm_fn_router::RouteTable;

use super::hosted::Hosted;

/// Loads every version with weight, one after the other; the data plane serves meanwhile.
pub(crate) async fn prefetch(tables: Arc<ArcSwap<RouteTable<Hosted>>>) {
    let table = tables.load_full();
    for stage in table.stages() {
        for &(no, _) in stage.split().shares() {
            let Some(entry) = stage.versions().iter().find(|entry| entry.no == no) else { continue };
            if let Err(error) = entry.target.0.load().await {
                tracing::warn!(function = %stage.function(), version = %no, %error, "version cannot be loaded");
            }
        }
    }
}
