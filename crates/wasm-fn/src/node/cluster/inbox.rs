//! Where a node keeps its events: on its own disk alone, or with a cluster.

use std::{path::PathBuf, time::Duration};

use anyhow::Context as _;
use bytes::Bytes;
use tokio::sync::watch;
use wasm_fn_cluster::{InboxReplica, SharedInbox};
use wasm_fn_store::{
    DeadEvent, DeadLetters, EmbeddedInbox, EventKey, EventPage, EventState, Finish, Inbox, InboxError,
    InboxLimits, LogPlace, Mark, NewEvent, Put, Receipt, StoreError, StoredEvent, Take, TakenEvent,
    TriggerCounts,
};

use super::ClusterPeers;

/// The inbox of a node.
pub(crate) enum NodeInbox {
    /// The node is alone.
    Alone(EmbeddedInbox),
    /// The node is in a cluster.
    Member(SharedInbox),
}

impl NodeInbox {
    /// Opens the inbox in `data_dir`, with the other nodes if there are any.
    ///
    /// # Errors
    /// It cannot be opened; a node in a cluster has events of its own.
    pub(crate) async fn open(
        peers: Option<&ClusterPeers>,
        data_dir: PathBuf,
        limits: InboxLimits,
    ) -> anyhow::Result<Self> {
        let (folder, bounds) = (data_dir.clone(), limits.clone());
        let own = tokio::task::spawn_blocking(move || EmbeddedInbox::open(&folder, bounds)).await??;
        let Some(peers) = peers else { return Ok(Self::Alone(own)) };
        if own.applied().await? == LogPlace::default() {
            let counts = own.counts().await?;
            let unfinished: u64 = counts.iter().map(|of| of.waiting + of.in_flight + of.dead).sum();
            anyhow::ensure!(
                unfinished == 0,
                "{} has {unfinished} events of a node that was alone, expected none: take them into a new \
                 cluster with `wasm-fn cluster import`, or start the node alone until they are handled",
                data_dir.display(),
            );
        }
        let replica = InboxReplica { inbox: own, folder: data_dir, limits };
        let shared = peers.cluster().inbox(replica, true).await;
        Ok(Self::Member(shared.context("the inbox of the cluster")?))
    }
}

/// Calls the same method of the inbox that there is.
macro_rules! of_either {
    ($self:ident, $inbox:ident => $call:expr) => {
        match $self {
            Self::Alone($inbox) => $call,
            Self::Member($inbox) => $call,
        }
    };
}

impl Inbox for NodeInbox {
    async fn put(
        &self,
        now_ms: u64,
        events: Vec<NewEvent>,
        marks: Vec<Mark>,
    ) -> Result<Vec<Put>, InboxError> {
        of_either!(self, inbox => inbox.put(now_ms, events, marks).await)
    }

    async fn marks(&self, prefix: &str, limit: usize) -> Result<Vec<(String, Bytes)>, InboxError> {
        of_either!(self, inbox => inbox.marks(prefix, limit).await)
    }

    async fn take<A>(&self, now_ms: u64, take: Take<A>) -> Result<Vec<TakenEvent>, InboxError>
    where
        A: FnMut(&str, usize) -> bool + Send + 'static,
    {
        of_either!(self, inbox => inbox.take(now_ms, take).await)
    }

    fn next_due_ms(&self) -> Option<u64> {
        of_either!(self, inbox => inbox.next_due_ms())
    }

    async fn changed(&self) {
        of_either!(self, inbox => inbox.changed().await)
    }

    fn in_progress(&self, trigger: &str) -> (usize, usize) {
        of_either!(self, inbox => inbox.in_progress(trigger))
    }

    fn holds(&self, trigger: &str) -> bool {
        of_either!(self, inbox => inbox.holds(trigger))
    }

    fn holdings(&self) -> watch::Receiver<u64> {
        of_either!(self, inbox => inbox.holdings())
    }

    async fn lost(&self, receipt: Receipt) {
        of_either!(self, inbox => inbox.lost(receipt).await)
    }

    fn lag(&self) -> Duration {
        of_either!(self, inbox => inbox.lag())
    }

    async fn finish(&self, now_ms: u64, receipt: Receipt, finish: Finish) -> Result<(), InboxError> {
        of_either!(self, inbox => inbox.finish(now_ms, receipt, finish).await)
    }

    async fn bury(&self, now_ms: u64, event: DeadEvent) -> Result<Put, InboxError> {
        of_either!(self, inbox => inbox.bury(now_ms, event).await)
    }

    async fn waiting(&self, trigger: &str, page: EventPage) -> Result<Vec<StoredEvent>, InboxError> {
        of_either!(self, inbox => inbox.waiting(trigger, page).await)
    }

    async fn dead_letters(&self, trigger: &str, page: EventPage) -> Result<Vec<StoredEvent>, InboxError> {
        of_either!(self, inbox => inbox.dead_letters(trigger, page).await)
    }

    async fn show(&self, key: EventKey) -> Result<Option<(StoredEvent, Bytes)>, InboxError> {
        of_either!(self, inbox => inbox.show(key).await)
    }

    async fn state(&self, now_ms: u64, key: EventKey) -> Result<Option<EventState>, InboxError> {
        of_either!(self, inbox => inbox.state(now_ms, key).await)
    }

    async fn redrive(&self, now_ms: u64, trigger: &str, letters: DeadLetters) -> Result<u64, InboxError> {
        of_either!(self, inbox => inbox.redrive(now_ms, trigger, letters).await)
    }

    async fn discard(&self, now_ms: u64, trigger: &str, letters: DeadLetters) -> Result<u64, InboxError> {
        of_either!(self, inbox => inbox.discard(now_ms, trigger, letters).await)
    }

    async fn forget(&self, trigger: &str, last: u64) -> Result<bool, InboxError> {
        of_either!(self, inbox => inbox.forget(trigger, last).await)
    }

    async fn counts(&self) -> Result<Vec<TriggerCounts>, InboxError> {
        of_either!(self, inbox => inbox.counts().await)
    }

    async fn copy(&self, folder: PathBuf, begun: impl FnOnce() + Send + 'static) -> Result<(), StoreError> {
        of_either!(self, inbox => inbox.copy(folder, begun).await)
    }

    async fn release(&self) {
        of_either!(self, inbox => inbox.release().await)
    }

    async fn take_back(&self) -> Result<(), StoreError> {
        of_either!(self, inbox => inbox.take_back().await)
    }
}
