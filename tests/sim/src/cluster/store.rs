//! A node's own disk, and the store that its control plane has: they tell the truth what is planned and what
//! is durable.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::time::sleep;
use wasm_fn_cluster::{Chain, Replica};
use wasm_fn_control::journal::Entry;
use wasm_fn_core::Revision;
use wasm_fn_store::{
    Commit, EmbeddedStore, Followed, JournalRange, KnownTraps, Loaded, MemoryStore, Record, Store,
    StoreError, TokenUses,
};

use super::truth::Truth;
use crate::{scenario::Disk, world::World};

/// Checks the journal's chain, as a node does.
pub(super) struct JournalChain;

impl Chain for JournalChain {
    fn verify(&self, previous: Option<&Record>, next: &Record) -> Result<(), String> {
        let previous = previous.map(|record| &*record.text);
        Entry::verify_next(previous, &next.text).map_err(|error| error.to_string())
    }
}

/// A disk that survives the node, and that can be slow or full.
#[derive(Clone)]
pub(super) struct SimReplica {
    pub(super) kept: Arc<MemoryStore>,
    pub(super) world: Arc<World>,
    pub(super) truth: Arc<Truth>,
    pub(super) disk: Disk,
}

/// The store of a control plane, which is made of `store`.
pub(super) struct ToldStore<S> {
    pub(super) store: S,
    pub(super) world: Arc<World>,
    pub(super) truth: Arc<Truth>,
}

/// No snapshot is ever due.
impl Replica for SimReplica {
    fn folder(&self) -> &Path {
        Path::new("")
    }

    async fn advance_to(&self, _: &EmbeddedStore) -> Result<(), StoreError> {
        Err(StoreError::Database { path: PathBuf::new(), reason: "it takes no snapshot".to_owned() })
    }
}

impl Store for SimReplica {
    async fn load(&self) -> Result<Loaded, StoreError> {
        self.kept.load().await
    }

    async fn commit(&self, commit: Commit) -> Result<(), StoreError> {
        self.commit_all(vec![commit]).await
    }

    async fn commit_all(&self, commits: Vec<Commit>) -> Result<(), StoreError> {
        let (is_full, wait_ms) = {
            let dice = &mut self.world.lock().dice;
            (
                dice.chance(self.disk.fails),
                if dice.chance(self.disk.slow) { dice.within(1..=3000) } else { 0 },
            )
        };
        if is_full {
            self.world.happened("full disk");
            let (path, reason) = (PathBuf::from("state.redb"), "the disk is full".to_owned());
            return Err(StoreError::DiskFull { path, reason });
        }
        if wait_ms > 0 {
            sleep(Duration::from_millis(wait_ms)).await;
        }
        self.kept.commit_all(commits.clone()).await?;
        self.truth.durable(&self.world, &commits);
        Ok(())
    }

    async fn keep_traps(&self, traps: KnownTraps) -> Result<(), StoreError> {
        self.kept.keep_traps(traps).await
    }

    async fn keep_token_uses(&self, uses: TokenUses) -> Result<(), StoreError> {
        self.kept.keep_token_uses(uses).await
    }

    async fn journal(&self, range: JournalRange) -> Result<Vec<Record>, StoreError> {
        self.kept.journal(range).await
    }

    async fn journal_after(&self, after: Revision, limit: usize) -> Result<Vec<Record>, StoreError> {
        self.kept.journal_after(after, limit).await
    }

    async fn copy(&self, folder: PathBuf, begun: impl FnOnce() + Send + 'static) -> Result<(), StoreError> {
        self.kept.copy(folder, begun).await
    }

    async fn release(&self) {
        self.kept.release().await;
    }

    async fn take_back(&self) -> Result<(), StoreError> {
        self.kept.take_back().await
    }
}

impl<S: Store> Store for ToldStore<S> {
    async fn load(&self) -> Result<Loaded, StoreError> {
        self.store.load().await
    }

    async fn commit(&self, commit: Commit) -> Result<(), StoreError> {
        let revision = commit.revision.0;
        self.truth.planned(&commit, self.world.now_ms());
        let made = self.store.commit(commit).await;
        let what = match &made {
            Ok(()) => "acknowledged change",
            Err(StoreError::Conflict { .. }) => "conflict",
            Err(StoreError::OutOfTouch { .. }) => "change refused out of touch",
            Err(StoreError::Unknown { .. }) => "change with an unknown outcome",
            Err(StoreError::Diverged { .. }) => "change refused because the log differs",
            Err(_) => "failed commit",
        };
        self.world.happened(what);
        self.world.say(format_args!("r{revision}: {what}"));
        made
    }

    async fn follow(&self, after: Revision) -> Result<Followed, StoreError> {
        self.store.follow(after).await
    }

    async fn keep_traps(&self, traps: KnownTraps) -> Result<(), StoreError> {
        self.store.keep_traps(traps).await
    }

    async fn keep_token_uses(&self, uses: TokenUses) -> Result<(), StoreError> {
        self.store.keep_token_uses(uses).await
    }

    async fn journal(&self, range: JournalRange) -> Result<Vec<Record>, StoreError> {
        self.store.journal(range).await
    }

    async fn journal_after(&self, after: Revision, limit: usize) -> Result<Vec<Record>, StoreError> {
        self.store.journal_after(after, limit).await
    }

    async fn copy(&self, folder: PathBuf, begun: impl FnOnce() + Send + 'static) -> Result<(), StoreError> {
        self.store.copy(folder, begun).await
    }

    async fn release(&self) {
        self.store.release().await;
    }

    async fn take_back(&self) -> Result<(), StoreError> {
        self.store.take_back().await
    }
}
