//! Writes a data directory for a node that is alone, from the state of a cluster.

use std::{
    fs::{self, DirBuilder},
    os::unix::fs::DirBuilderExt as _,
    path::Path,
    sync::Arc,
    time::Duration,
};

use serde::Serialize;
use wasm_fn_cluster::{Cluster, ClusterOptions, ContactState, InboxReplica};
use wasm_fn_control::{stored_state, verify_journal};
use wasm_fn_store::{
    Blobs, EmbeddedBuckets, EmbeddedInbox, EmbeddedStore, Inbox as _, InboxLimits, Store as _, StoreError,
};

use super::{super::DONE, values};
use crate::{
    args,
    config::Membership,
    fault::Fault,
    node::{ClusterKey, JournalChain, cluster_options},
    output::Output,
};

const ERROR: &str = "the state was not exported";

/// What was written.
#[derive(Debug, Serialize)]
struct Exported {
    data_dir: String,
    revision: u64,
    functions: usize,
    components: usize,
    /// Keys of buckets.
    keys: u64,
}

/// For how long nothing may come from the broker. The election of a leader takes up to nine seconds.
const BROKER_WAIT: Duration = Duration::from_secs(20);

/// The fault where a majority of the broker is not there.
fn silent(cluster: &Cluster) -> Fault {
    let reason = match (cluster.fault(), cluster.contact().state()) {
        (Some(fault), _) => fault.to_string(),
        (None, ContactState::Out { reason, .. }) => reason,
        (None, ContactState::In) => "it does not answer".to_owned(),
    };
    let cause = format!("no majority of the broker answered for {BROKER_WAIT:?}: {reason}");
    let help = "start its servers, or take the data directory of a node: `wasm-fn cluster import --from DIR`";
    Fault::new("export", ERROR, cause).help(help)
}

pub(super) async fn run(args: args::ClusterExport, output: Output) -> Result<u8, Fault> {
    let args::ClusterExport { membership, to, data_dir, .. } = args;
    let failed = |cause: String| Fault::new("export", ERROR, cause);
    let membership = Membership::resolve(membership, Default::default(), &data_dir);
    let membership = membership.map_err(|cause| Fault::new("invalid-config", ERROR, cause))?;
    let membership = membership.ok_or_else(|| {
        Fault::new("invalid-config", ERROR, "found no broker, expected --cluster nats://HOST:PORT")
    })?;
    if fs::read_dir(&to).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(failed(format!("{} is not empty, expected a directory that is", to.display())));
    }
    let key = ClusterKey::read(&membership.key).map_err(|cause| failed(cause.to_string()))?;
    let folder = DirBuilder::new().recursive(true).mode(0o700).create(&to);
    folder.map_err(|cause| failed(cause.to_string()))?;
    let reader = format!("export-{:08x}", rand::random::<u32>()).parse().expect("it is a name");
    let options = cluster_options(&membership, reader, None).map_err(|cause| failed(format!("{cause:#}")))?;
    let options = ClusterOptions { key: Some(key.fingerprint()), ..options };
    let cluster = Cluster::start(options).map_err(|cause| failed(cause.to_string()))?;
    // Without a majority of the broker, nobody knows what the state is.
    let joined = tokio::time::timeout(BROKER_WAIT, cluster.joined()).await;
    joined.map_err(|_| silent(&cluster))?.map_err(|cause| failed(cause.to_string()))?;
    cluster.restore(&to, &JournalChain).await.map_err(|cause| failed(cause.to_string()))?;
    let replica = EmbeddedStore::open(&to).map_err(|cause| failed(cause.to_string()))?;
    let store = cluster.store(replica, Arc::new(JournalChain)).await;
    let store = store.map_err(|cause| failed(cause.to_string()))?;
    let mut contact = cluster.contact().watch();
    loop {
        let before = store.revision();
        let caught_up = contact.wait_for(|state| *state == ContactState::In);
        // The sender is in the cluster.
        match tokio::time::timeout(BROKER_WAIT, caught_up).await {
            Ok(_) => break,
            // There is much to read.
            Err(_) if store.revision() > before => {}
            Err(_) => {
                return Err(store
                    .fault()
                    .map_or_else(|| silent(&cluster), |cause| failed(cause.to_string())));
            }
        }
    }
    store.release().await;
    export_events(&cluster, &to).await.map_err(|cause| failed(format!("events: {cause}")))?;
    let store = EmbeddedStore::open(&to).map_err(|cause| failed(cause.to_string()))?;
    let head = verify_journal(&store, None).await.map_err(|cause| failed(cause.to_string()))?;
    let state = stored_state(&store).await.map_err(|cause| failed(cause.to_string()))?;
    let versions = state.functions().flat_map(|(_, function)| function.versions.values());
    let components: std::collections::BTreeSet<_> = versions.map(|version| version.build.digest).collect();
    let blobs = to.join(Blobs::FOLDER);
    fs::create_dir_all(&blobs).map_err(|cause| failed(cause.to_string()))?;
    for component in &components {
        let got = cluster.components().get(*component, &blobs.join(component.to_string())).await;
        got.map_err(|cause| failed(format!("component {component}: {cause}")))?;
    }
    let dir = to.clone();
    let buckets = tokio::task::spawn_blocking(move || EmbeddedBuckets::open(&dir)).await;
    let buckets = buckets.expect("opening does not panic").map_err(|cause| failed(cause.to_string()))?;
    let keys = values::copy(&cluster.buckets_without_state(), &buckets).await;
    let keys = keys.map_err(|cause| failed(format!("buckets: {cause}")))?;
    buckets.release().await;
    cluster.leave().await;
    key.install(&to, false).map_err(|cause| failed(cause.to_string()))?;
    let exported = Exported {
        data_dir: to.display().to_string(),
        revision: head.revision.0,
        functions: state.functions().count(),
        components: components.len(),
        keys,
    };
    output.data(&exported, |exported| {
        let Exported { data_dir, revision, functions, components, keys } = exported;
        format!(
            "{data_dir}: revision {revision}, functions {functions}, components {components}, keys {keys}"
        )
    })?;
    output
        .next(&[(format!("wasm-fn serve --data-dir {}", to.display()), "start a node that is alone on it")]);
    Ok(DONE)
}

/// Writes the events of `cluster` into `folder`, as those of a node that is alone.
async fn export_events(cluster: &Cluster, folder: &Path) -> Result<(), StoreError> {
    let limits = InboxLimits::STANDARD;
    let inbox = EmbeddedInbox::open(folder, limits.clone())?;
    let replica = InboxReplica { inbox, folder: folder.to_owned(), limits };
    let inbox = cluster.inbox(replica, false).await?;
    inbox.caught_up().await;
    inbox.release().await;
    let alone = EmbeddedInbox::open(folder, InboxLimits::STANDARD)?;
    alone.leave_log().await?;
    alone.release().await;
    Ok(())
}
