//! After a start: compiles in the background what has traffic and no artefact, so that after an upgrade that brings
//! another engine users do not wait for it. Loads nothing that the cache has.

use std::{collections::HashSet, sync::Arc};

use arc_swap::ArcSwap;
use wasm_fn_router::RouteTable;

use super::hosted::Hosted;

/// Compiles the components of versions with weight, one after the other; the data plane serves meanwhile.
pub(crate) async fn prefetch(tables: Arc<ArcSwap<RouteTable<Hosted>>>) {
    let table = tables.load_full();
    let mut seen = HashSet::new();
    for stage in table.stages() {
        for &(no, _) in stage.split().shares() {
            let Some(entry) = stage.version(no) else { continue };
            if !seen.insert(entry.target.0.component()) {
                continue;
            }
            if let Err(error) = entry.target.0.compile().await {
                tracing::warn!(function = %stage.function(), version = %no, %error, "version cannot be compiled");
            }
        }
    }
}
