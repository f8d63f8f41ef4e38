//! Where a node keeps its state: on its own disk alone, or with a cluster.

use std::path::PathBuf;

use wasm_fn_cluster::{Cluster, ReplicatedStore};
use wasm_fn_core::Revision;
use wasm_fn_store::{
    Commit, EmbeddedStore, Followed, JournalRange, KnownTraps, Loaded, Record, Store, StoreError, TokenUses,
};

/// The store of a node.
pub(crate) enum NodeStore {
    /// The node is alone.
    Alone(EmbeddedStore),
    /// The node is in a cluster.
    Member(ReplicatedStore, Cluster),
}

/// Calls the same method of the store that there is.
macro_rules! of_either {
    ($self:ident, $store:ident => $call:expr) => {
        match $self {
            Self::Alone($store) => $call,
            Self::Member($store, _) => $call,
        }
    };
}

impl Store for NodeStore {
    async fn load(&self) -> Result<Loaded, StoreError> {
        of_either!(self, store => store.load().await)
    }

    async fn commit(&self, commit: Commit) -> Result<(), StoreError> {
        of_either!(self, store => store.commit(commit).await)
    }

    async fn follow(&self, after: Revision) -> Result<Followed, StoreError> {
        of_either!(self, store => store.follow(after).await)
    }

    async fn keep_traps(&self, traps: KnownTraps) -> Result<(), StoreError> {
        of_either!(self, store => store.keep_traps(traps).await)
    }

    async fn keep_token_uses(&self, uses: TokenUses) -> Result<(), StoreError> {
        of_either!(self, store => store.keep_token_uses(uses).await)
    }

    async fn journal(&self, range: JournalRange) -> Result<Vec<Record>, StoreError> {
        of_either!(self, store => store.journal(range).await)
    }

    async fn journal_after(&self, after: Revision, limit: usize) -> Result<Vec<Record>, StoreError> {
        of_either!(self, store => store.journal_after(after, limit).await)
    }

    async fn copy(&self, folder: PathBuf, begun: impl FnOnce() + Send + 'static) -> Result<(), StoreError> {
        of_either!(self, store => store.copy(folder, begun).await)
    }

    /// Another process of this node takes its place in the cluster, too.
    async fn release(&self) {
        match self {
            Self::Alone(store) => store.release().await,
            Self::Member(store, cluster) => {
                store.release().await;
                cluster.leave().await;
            }
        }
    }

    async fn take_back(&self) -> Result<(), StoreError> {
        match self {
            Self::Alone(store) => store.take_back().await,
            Self::Member(store, cluster) => {
                cluster.rejoin().await;
                store.take_back().await
            }
        }
    }
}
