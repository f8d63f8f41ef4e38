//! Lets canaries that this node could not call when they were published have requests as soon as it can.

use std::{
    collections::HashSet,
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::task::JoinSet;
use wasm_fn_core::Digest;
use wasm_fn_store::Store;

use super::Control;
use crate::host::Host;

/// How long to wait before a component that could not be prepared is looked at again.
const RETRY: Duration = Duration::from_secs(2);

/// Waits for what is not prepared, until the control plane is gone.
pub(super) async fn prepare<H: Host, S: Store>(control: Weak<Control<H, S>>) {
    let Some(mut states) = control.upgrade().map(|control| control.follow()) else { return };
    let (mut waiting, mut awaited) = (JoinSet::new(), HashSet::new());
    loop {
        let Some(strong) = control.upgrade() else { return };
        let state = states.borrow_and_update().clone();
        let unprepared =
            strong.analyses.load().all().into_iter().filter(|(_, analysis)| analysis.is_unprepared());
        for (key, analysis) in unprepared {
            let Some(rollout) = state.rollout(&key) else { continue };
            let Some(canary) = strong.entry(&key, rollout.canary) else { continue };
            let function = state.function(&key.0).ok();
            let version = function.and_then(|function| function.versions.get(&rollout.canary));
            let Some(component) = version.map(|version| version.build.digest) else { continue };
            if strong.host.is_prepared(component) {
                tracing::info!(function = %key.0, stage = %key.1, "canary is prepared on this node");
                analysis.set_prepared(true);
            } else if awaited.insert(component) {
                waiting.spawn(wait(control.clone(), component, canary.target.clone()));
            }
        }
        drop((strong, state));
        tokio::select! {
            changed = states.changed() => if changed.is_err() { return },
            Some(ended) = waiting.join_next() => {
                if let Ok(component) = ended {
                    awaited.remove(&component);
                }
            }
        }
    }
}

/// Waits until `version`, of `component`, can be called, or should be looked at again.
async fn wait<H: Host, S: Store>(
    control: Weak<Control<H, S>>,
    component: Digest,
    version: H::Version,
) -> Digest {
    let Some(strong) = control.upgrade() else { return component };
    let host = Arc::clone(&strong.host);
    drop(strong);
    host.ready(&version).await;
    if !host.is_prepared(component) {
        tokio::time::sleep(RETRY).await;
    }
    component
}
