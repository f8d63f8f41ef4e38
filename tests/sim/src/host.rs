//! The host and the store that the control plane is given.

use std::{path::PathBuf, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::{sync::watch, time::sleep};
use wasm_fn_control::{
    host::{Host, LogPage, Prepared, ProgressSink, Rejection, Wanted},
    journal::Entry,
    state::Action,
};
use wasm_fn_core::{Digest, FunctionConfig, FunctionName, Revision, StageName, VersionNo};
use wasm_fn_secrets::SecretSet;
use wasm_fn_store::{
    Commit, JournalRange, KnownTraps, Loaded, MemoryStore, Record, Store, StoreError, TokenUses,
};

use crate::{
    guest::{Guest, Node},
    scenario::Disk,
    world::World,
};

/// Makes guests that pretend.
pub(crate) struct SimHost {
    node: Arc<Node>,
    changes: watch::Sender<u64>,
}

impl SimHost {
    pub(crate) fn new(node: Arc<Node>) -> Self {
        Self { node, changes: watch::Sender::new(0) }
    }
}

impl Host for SimHost {
    type Version = Arc<Guest>;

    async fn imports(&self, _: Digest, _: PathBuf) -> Result<Vec<String>, Rejection> {
        Ok(Vec::new())
    }

    async fn prepare(
        &self,
        _: Digest,
        _: PathBuf,
        _: FunctionConfig,
        _: Arc<SecretSet>,
        _: Wanted,
        _: ProgressSink,
    ) -> Result<Prepared, Rejection> {
        let takes_ms = self.node.world.lock().dice.within(0..=2000);
        sleep(Duration::from_millis(takes_ms)).await;
        Ok(Prepared { kind: "cgi".to_owned(), is_optimising: false })
    }

    fn version(
        &self,
        function: &FunctionName,
        _: &StageName,
        no: VersionNo,
        digest: Digest,
        config: &FunctionConfig,
        _: Arc<SecretSet>,
    ) -> Arc<Guest> {
        self.node.guest(function, no, digest, &config.limits)
    }

    fn fresh_version(
        &self,
        function: &FunctionName,
        _: &StageName,
        no: VersionNo,
        digest: Digest,
        config: &FunctionConfig,
        _: Arc<SecretSet>,
    ) -> Arc<Guest> {
        self.node.guest(function, no, digest, &config.limits)
    }

    /// Stages do not differ in what they log: nothing is logged.
    fn in_stage(&self, version: &Arc<Guest>, _: &StageName) -> Arc<Guest> {
        Arc::clone(version)
    }

    async fn call(
        &self,
        version: Arc<Guest>,
        _: http::Request<Bytes>,
    ) -> Result<http::Response<Bytes>, String> {
        let takes_ms = self.node.world.lock().dice.within(1..=1500);
        sleep(Duration::from_millis(takes_ms)).await;
        let status = version.check_status();
        let mut inner = self.node.world.lock();
        inner.say(format_args!("check of {}: {status}", version.no));
        inner.model.checked(&version.function, version.no, status.is_success());
        let mut answer = http::Response::new(Bytes::new());
        *answer.status_mut() = status;
        Ok(answer)
    }

    fn keep_ready(&self, version: &Arc<Guest>, time: Duration) {
        self.node.world.say(format_args!("keep {} ready for {time:?}", version.no));
    }

    fn logs(&self, _: &FunctionName, _: u64) -> LogPage {
        LogPage::default()
    }

    fn log_changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}

/// A disk that survives the node, and that can be slow, fail, or be what the node dies of.
#[derive(Clone)]
pub(crate) struct SimStore {
    pub(crate) kept: Arc<MemoryStore>,
    pub(crate) world: Arc<World>,
    /// It never fails, nor does the node die of it.
    pub(crate) healthy: bool,
}

/// What a commit meets.
enum Fate {
    Fine,
    Fails,
    CrashBefore,
    CrashAfter,
}

impl SimStore {
    fn fate(&self) -> (Fate, Duration) {
        let disk = if self.healthy { Disk::default() } else { self.world.scenario.disk };
        let dice = &mut self.world.lock().dice;
        let wait_ms = if dice.chance(disk.slow) { dice.within(1..=3000) } else { 0 };
        let fate = if dice.chance(disk.fails) {
            Fate::Fails
        } else if dice.chance(disk.crash_before) {
            Fate::CrashBefore
        } else if dice.chance(disk.crash_after) {
            Fate::CrashAfter
        } else {
            Fate::Fine
        };
        (fate, Duration::from_millis(wait_ms))
    }

    /// The node dies, and whoever waits for the disk waits for ever.
    async fn crash(&self, when: &'static str) -> ! {
        self.world.happened(when);
        self.world.say(format_args!("{when}"));
        self.world.kill();
        std::future::pending().await
    }
}

impl Store for SimStore {
    async fn load(&self) -> Result<Loaded, StoreError> {
        self.kept.load().await
    }

    async fn commit(&self, commit: Commit) -> Result<(), StoreError> {
        let entry = Entry::parse(&commit.record).expect("the control plane writes records that it can read");
        let (fate, wait) = self.fate();
        {
            let mut inner = self.world.lock();
            let now_ms = inner.now();
            let planned = inner.model.planned(&entry, now_ms);
            inner.held(planned);
        }
        if !wait.is_zero() {
            self.world.happened("slow commit");
            sleep(wait).await;
        }
        match fate {
            Fate::Fine | Fate::CrashAfter => self.kept.commit(commit).await?,
            Fate::CrashBefore => self.crash("crash before a commit").await,
            Fate::Fails => {
                self.world.happened("failed commit");
                let mut inner = self.world.lock();
                inner.say(format_args!("commit of r{} fails", entry.revision.0));
                let now_ms = inner.now();
                inner.model.trouble(now_ms);
                let reason = "the disk is full".to_owned();
                return Err(StoreError::Database { path: PathBuf::from("state.redb"), reason });
            }
        }
        self.world.happened(entry.change.as_str());
        {
            let mut inner = self.world.lock();
            let action = entry.change.as_str();
            let after = entry.change.action().and_then(Action::after);
            let split = after.map(|after| after.split.shares().to_vec());
            let phase = after.and_then(|after| Some(&after.rollout.as_ref()?.phase));
            inner.say(format_args!(
                "r{} {} {action} of {} by {}: {split:?} {phase:?}",
                entry.revision.0,
                entry.change.function().map_or("-", FunctionName::as_str),
                entry
                    .change
                    .action()
                    .and_then(Action::version)
                    .map_or("-".to_owned(), |version| version.to_string()),
                entry.actor
            ));
            let now_ms = inner.now();
            let planned_ms = now_ms - u64::try_from(wait.as_millis()).unwrap_or(0);
            let committed = inner.model.committed(&entry, planned_ms, now_ms, &self.world.scenario);
            inner.held(committed);
        }
        if matches!(fate, Fate::CrashAfter) {
            self.crash("crash after a commit").await;
        }
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
