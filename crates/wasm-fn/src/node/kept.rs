//! A node's data on disk.

use std::{os::unix::fs::DirBuilderExt as _, sync::Arc, time::Duration};

use anyhow::Context as _;
use wasm_fn_control::Access;
use wasm_fn_secrets::NodeKey;
use wasm_fn_store::{Blobs, EmbeddedBuckets, EmbeddedStore, FunctionBuckets, InboxLimits};

use super::{
    NodeOptions,
    buckets::NodeBuckets,
    cluster::{self, Asking, ClusterKey, ClusterPeers, NodeInbox, NodeStore},
    secrets_key::{self, NewKeyFile},
};

/// Bounds of the inbox: one trigger has as many as the control plane allows, and asynchronous requests of
/// each stage beside them.
const INBOX_LIMITS: InboxLimits = InboxLimits {
    triggers_max: 50_000,
    // A body of 1 MiB, with the head of its request.
    event_bytes_max: (1 << 20) + (128 << 10),
    ..InboxLimits::STANDARD
};

/// Maximum time that operations on buckets wait for those of a predecessor to end.
const BUCKETS_PATIENCE: Duration = Duration::from_secs(60);

/// A node's data on disk, opened.
pub(super) struct Kept {
    pub(super) store: NodeStore,
    /// The other nodes, if the node is in a cluster.
    pub(super) peers: Option<Arc<ClusterPeers>>,
    /// What asks them, and answers them.
    pub(super) asking: Option<Arc<Asking>>,
    pub(super) access: Access,
    pub(super) secrets_key: NodeKey,
    /// The file of that key, if it is still to be written.
    pub(super) new_key: Option<NewKeyFile>,
    pub(super) blobs: Arc<Blobs>,
    pub(super) inbox: NodeInbox,
    pub(super) buckets: NodeBuckets,
}

/// Who has the data on disk before this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Before {
    Nobody,
    /// A predecessor, which still serves with its buckets.
    Predecessor,
}

impl Kept {
    /// Opens the data of a node, and takes the node's place in its cluster if it is in one.
    ///
    /// # Errors
    /// Some of it cannot be opened, or the cluster refuses the node.
    pub(super) async fn open(options: &NodeOptions, before: Before) -> anyhow::Result<Self> {
        let data_dir = options.data_dir.clone();
        let component_bytes_max = options.component_bytes_max;
        let key_command = options.secrets_key_command.clone();
        let shown = data_dir.display().to_string();
        let folder = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&data_dir);
        folder.with_context(|| format!("data directory {shown} cannot be created"))?;
        // The store's lock comes first: it keeps two nodes from sharing a directory.
        let inbox_dir = data_dir.clone();
        let (store, member, shared) = match &options.cluster {
            None => {
                let dir = data_dir.clone();
                let store = tokio::task::spawn_blocking(move || EmbeddedStore::open(&dir)).await??;
                (NodeStore::Alone(store), None, None)
            }
            Some(place) => {
                let has_own_key = key_command.is_some() || std::env::var_os(secrets_key::VARIABLE).is_some();
                let key = ClusterKey::read(&place.membership.key)?;
                key.check(&data_dir, has_own_key)?;
                let joined = cluster::join(place, &key, &data_dir).await?;
                // The cluster has said that it is its key.
                key.install(&data_dir, has_own_key)?;
                let shared = joined.cluster.buckets();
                let asking = Asking::new(joined.cluster.clone(), key.messages());
                let member = (ClusterPeers::of(place, joined.cluster), asking);
                (joined.store, Some(member), Some(shared))
            }
        };
        let (peers, asking) = member.unzip();
        let inbox = NodeInbox::open(peers.as_deref(), inbox_dir, INBOX_LIMITS).await?;
        let opened = tokio::task::spawn_blocking(move || -> anyhow::Result<_> {
            let access = Access::open(&data_dir)?;
            // A key that cannot be had is an error of the start, and not of the first secret.
            let (secrets_key, new_key) = secrets_key::find(&data_dir, key_command.as_ref())?;
            tracing::info!(key = %secrets_key.id(), "key of the node's secrets");
            let blobs = Blobs::open(&data_dir, component_bytes_max)
                .with_context(|| format!("components in {shown} cannot be opened"))?;
            let alone = |buckets| NodeBuckets::Alone(Arc::new(FunctionBuckets::new(buckets)));
            let buckets = match (shared, before) {
                (Some(shared), _) => NodeBuckets::Member(Arc::new(FunctionBuckets::new(shared))),
                (None, Before::Nobody) => alone(EmbeddedBuckets::open(&data_dir)?),
                (None, Before::Predecessor) => {
                    alone(EmbeddedBuckets::open_once_free(&data_dir, BUCKETS_PATIENCE))
                }
            };
            let blobs = Arc::new(blobs);
            Ok(Self { store, peers, asking, access, secrets_key, new_key, blobs, inbox, buckets })
        });
        opened.await?
    }
}
