//! Collects components of the cluster that no version uses any more, on the node with the lease of
//! housekeeping.

use std::{sync::Arc, time::Duration};

use wasm_fn_cluster::{Collected, Collection, HOUSEKEEPING};
use wasm_fn_control::peers::Peers as _;

use super::{super::host::NodeControl, sharing::Sharing};

/// For how long a component is kept that no version uses: longer than a deployment takes from when it puts
/// the component until it is committed.
const GRACE: Duration = Duration::from_hours(1);

/// How often it is looked for them.
const LOOK_EVERY: Duration = Duration::from_mins(10);

/// Collects components until the control plane is gone.
pub(in crate::node) async fn collect(sharing: Arc<Sharing>, control: Arc<NodeControl>) {
    let mut collection = Collection::default();
    let (peers, control) = (Arc::clone(sharing.peers()), Arc::downgrade(&control));
    drop(sharing);
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let Some(state) = control.upgrade().map(|control| control.state()) else { return };
        if !peers.has(HOUSEKEEPING) || !peers.is_in_touch() {
            collection = Collection::default();
            continue;
        }
        let versions = state.functions().flat_map(|(_, function)| function.versions.values());
        let needed = versions.map(|version| version.build.digest).collect();
        match peers.cluster().collect(&mut collection, needed, GRACE).await {
            Ok(Collected { components: 0, remains: 0 }) => {}
            Ok(Collected { components, remains }) => {
                tracing::info!(components, remains, "components that no version uses were deleted");
            }
            Err(error) => tracing::warn!(%error, "unused components were not deleted"),
        }
    }
}
