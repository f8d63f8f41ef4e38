//! A fake host, a fake store, and a node made of them.

use std::{
    collections::{BTreeSet, HashMap},
    future::Future,
    path::PathBuf,
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::stream;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use tokio::sync::{Notify, watch};
use wasm_fn_core::{Digest, FunctionConfig, FunctionName, NodeName, Revision, StageName, VersionNo};
use wasm_fn_router::Stage;
use wasm_fn_secrets::{NodeKey, SecretSet};
use zeroize::Zeroizing;

// Named by its crate, because the tests of the admin crate include this file.
use wasm_fn_control::{
    Access, Clock, Control, ControlOptions,
    host::{Host, LogLine, LogPage, Prepared, Progress, ProgressSink, Rejection, Wanted},
    peers::{PeerFuture, PeerMessage, Peers, Touch},
    salt_at_random,
};
use wasm_fn_store::{
    Blobs, Commit, Followed, JournalRange, KnownTraps, Loaded, MemoryStore, Record, Store, StoreError,
    TokenUses,
};

/// A host whose handles are texts. It tells components apart by their bytes: it refuses `bad…`, and waits on
/// `slow…` until it is told to go on.
pub(crate) struct FakeHost {
    pub(crate) go: Notify,
    pub(crate) preparing: watch::Sender<usize>,
    /// Whether other nodes prepare what this one cannot call yet.
    pub(crate) lags: watch::Sender<bool>,
    pub(crate) handles: AtomicUsize,
    pub(crate) answers: Mutex<HashMap<&'static str, (u16, &'static [u8])>>,
    pub(crate) kept: Mutex<Vec<(String, Duration)>>,
    /// What was forgotten, such as `hello` or `hello@staging`.
    pub(crate) forgotten: Mutex<Vec<String>>,
    /// Every fresh handle so far.
    pub(crate) fresh: Mutex<Vec<Weak<str>>>,
    pub(crate) lines: Mutex<Vec<LogLine>>,
    pub(crate) changes: watch::Sender<u64>,
}

impl FakeHost {
    pub(crate) fn new() -> Self {
        Self {
            go: Notify::new(),
            preparing: watch::Sender::new(0),
            lags: watch::Sender::new(false),
            handles: AtomicUsize::new(0),
            answers: Mutex::default(),
            kept: Mutex::default(),
            forgotten: Mutex::default(),
            fresh: Mutex::default(),
            lines: Mutex::default(),
            changes: watch::Sender::new(0),
        }
    }
}

impl Host for FakeHost {
    type Version = Arc<str>;

    /// What follows `imports ` in its bytes.
    async fn imports(&self, _: Digest, component: PathBuf) -> Result<Vec<String>, Rejection> {
        let text = String::from_utf8_lossy(&std::fs::read(component).unwrap()).into_owned();
        let imports = text.strip_prefix("imports ").unwrap_or_default();
        Ok(imports.split_whitespace().map(str::to_owned).collect())
    }

    async fn prepare(
        &self,
        _: Digest,
        component: PathBuf,
        _: FunctionConfig,
        _: Arc<SecretSet>,
        _: Wanted,
        progress: ProgressSink,
    ) -> Result<Prepared, Rejection> {
        let bytes = std::fs::read(component).unwrap();
        progress(Progress { stage: "checking", done: 0, total: 0 });
        if bytes.starts_with(b"bad") {
            let (message, help) = ("it imports the moon".to_owned(), Some("do not".to_owned()));
            return Err(Rejection { code: "component-invalid", message, help });
        }
        progress(Progress { stage: "compiling", done: 1, total: 2 });
        if bytes.starts_with(b"slow") {
            let gone_on = self.go.notified();
            self.preparing.send_modify(|preparing| *preparing += 1);
            gone_on.await;
        }
        Ok(Prepared { kind: "cgi".to_owned(), is_optimising: false })
    }

    fn is_prepared(&self, _: Digest) -> bool {
        !*self.lags.borrow()
    }

    async fn ready(&self, _: &Arc<str>) {
        // The sender is in the host.
        let _ = self.lags.subscribe().wait_for(|lags| !lags).await;
    }

    fn version(
        &self,
        function: &FunctionName,
        stage: &StageName,
        no: VersionNo,
        _: Digest,
        config: &FunctionConfig,
        secrets: Arc<SecretSet>,
    ) -> Arc<str> {
        self.handles.fetch_add(1, SeqCst);
        format!("{function} {no}{}", told(config, stage, &secrets)).into()
    }

    fn fresh_version(
        &self,
        function: &FunctionName,
        stage: &StageName,
        no: VersionNo,
        _: Digest,
        config: &FunctionConfig,
        secrets: Arc<SecretSet>,
    ) -> Arc<str> {
        let handle: Arc<str> = format!("{function} {no} fresh{}", told(config, stage, &secrets)).into();
        self.fresh.lock().unwrap().push(Arc::downgrade(&handle));
        handle
    }

    /// What a stage does to a handle is not seen here.
    fn in_stage(&self, version: &Arc<str>, _: &StageName) -> Arc<str> {
        Arc::clone(version)
    }

    async fn forget(&self, function: &FunctionName, stage: Option<&StageName>, _: Revision) {
        let stage = stage.map(|stage| format!("@{stage}")).unwrap_or_default();
        self.forgotten.lock().unwrap().push(format!("{function}{stage}"));
    }

    /// Answers with the entry in [`answers`](FakeHost::answers) for the path. Never answers if there is none.
    async fn call(
        &self,
        _: Arc<str>,
        request: http::Request<Bytes>,
    ) -> Result<http::Response<Bytes>, String> {
        let answer = self.answers.lock().unwrap().get(request.uri().path()).copied();
        let Some((status, body)) = answer else { return std::future::pending().await };
        Ok(http::Response::builder().status(status).body(Bytes::from_static(body)).unwrap())
    }

    fn keep_ready(&self, version: &Arc<str>, time: Duration) {
        self.kept.lock().unwrap().push((version.to_string(), time));
    }

    /// Two lines a page, whatever the function.
    fn logs(&self, _: &FunctionName, after: u64) -> LogPage {
        let lines = self.lines.lock().unwrap();
        let newest = lines.last().map_or(0, |line| line.seq);
        let page: Vec<_> = lines.iter().filter(|line| line.seq > after).take(2).cloned().collect();
        let lost = page.first().map_or(0, |first| first.seq - after - 1);
        LogPage { lines: page, lost, newest }
    }

    fn log_changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}

/// What a fake version tells of its secrets and buckets: ` NAME=value` or ` NAME@STAGE` for each.
fn told(config: &FunctionConfig, stage: &StageName, secrets: &SecretSet) -> String {
    let buckets = config.buckets.keys().map(|name| format!(" {name}@{stage}"));
    let variables = buckets.chain(config.env.iter().map(|(name, value)| format!(" {name}={value}")));
    variables.chain(secrets.iter().map(|(name, value)| format!(" {name}={}", value.expose()))).collect()
}

/// The key of every node in these tests.
fn node_key() -> NodeKey {
    NodeKey::new(Zeroizing::new([7; 32]))
}

/// A store that can be told to fail.
#[derive(Clone, Default)]
pub(crate) struct FakeStore {
    kept: Arc<MemoryStore>,
    pub(crate) fails: Arc<AtomicBool>,
}

impl Store for FakeStore {
    fn load(&self) -> impl Future<Output = Result<Loaded, StoreError>> + Send {
        self.kept.load()
    }

    async fn commit(&self, commit: Commit) -> Result<(), StoreError> {
        if self.fails.load(SeqCst) {
            let reason = "the disk is full".to_owned();
            return Err(StoreError::Database { path: PathBuf::from("state.redb"), reason });
        }
        self.kept.commit(commit).await
    }

    fn follow(&self, after: Revision) -> impl Future<Output = Result<Followed, StoreError>> + Send {
        self.kept.follow(after)
    }

    fn keep_traps(&self, traps: KnownTraps) -> impl Future<Output = Result<(), StoreError>> + Send {
        self.kept.keep_traps(traps)
    }

    fn keep_token_uses(&self, uses: TokenUses) -> impl Future<Output = Result<(), StoreError>> + Send {
        self.kept.keep_token_uses(uses)
    }

    fn journal(&self, range: JournalRange) -> impl Future<Output = Result<Vec<Record>, StoreError>> + Send {
        self.kept.journal(range)
    }

    fn journal_after(
        &self,
        after: Revision,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<Record>, StoreError>> + Send {
        self.kept.journal_after(after, limit)
    }

    fn copy(
        &self,
        folder: PathBuf,
        begun: impl FnOnce() + Send + 'static,
    ) -> impl Future<Output = Result<(), StoreError>> + Send {
        self.kept.copy(folder, begun)
    }

    fn release(&self) -> impl Future<Output = ()> + Send {
        self.kept.release()
    }

    fn take_back(&self) -> impl Future<Output = Result<(), StoreError>> + Send {
        self.kept.take_back()
    }
}

/// What a node is told of its cluster by a test.
pub(crate) struct FakePeers {
    name: NodeName,
    pub(crate) touch: watch::Sender<Touch>,
    pub(crate) leases: watch::Sender<BTreeSet<String>>,
    pub(crate) wanted: watch::Sender<BTreeSet<String>>,
    /// What this node told the others.
    pub(crate) told: Mutex<Vec<Bytes>>,
    pub(crate) published: watch::Sender<Revision>,
}

impl FakePeers {
    /// The peers of the node called `name`, which is in touch with them, and has no lease.
    pub(crate) fn of(name: &str) -> Arc<Self> {
        Arc::new(Self {
            name: name.parse().unwrap(),
            touch: watch::Sender::new(Touch::In),
            leases: watch::Sender::default(),
            wanted: watch::Sender::default(),
            told: Mutex::default(),
            published: watch::Sender::default(),
        })
    }
}

impl Peers for FakePeers {
    fn name(&self) -> &NodeName {
        &self.name
    }

    fn tell(&self, body: Bytes) {
        self.told.lock().unwrap().push(body);
    }

    fn hear(&self) -> PeerFuture<'_, PeerMessage> {
        Box::pin(std::future::pending())
    }

    fn published(&self, revision: Revision) {
        self.published.send_replace(revision);
    }

    fn is_in_touch(&self) -> bool {
        *self.touch.borrow() == Touch::In
    }

    fn touch(&self) -> watch::Receiver<Touch> {
        self.touch.subscribe()
    }

    fn contend(&self, leases: BTreeSet<String>) {
        self.wanted.send_replace(leases);
    }

    fn has(&self, name: &str) -> bool {
        self.leases.borrow().contains(name)
    }

    fn leases(&self) -> watch::Receiver<BTreeSet<String>> {
        self.leases.subscribe()
    }
}

/// The token of every node in these tests.
pub(crate) const TOKEN: &str = "wfn_test";

/// Largest component in these tests, in bytes.
pub(crate) const COMPONENT_BYTES_MAX: u64 = 64 << 10;

/// A node without HTTP.
pub(crate) struct Node {
    pub(crate) control: Arc<Control<FakeHost, FakeStore>>,
    pub(crate) host: Arc<FakeHost>,
    pub(crate) store: FakeStore,
    folder: Arc<TempDir>,
}

impl Node {
    pub(crate) async fn start() -> Self {
        Self::over(FakeStore::default(), Arc::new(tempfile::tempdir().unwrap()), 1_000_000, None).await
    }

    async fn over(
        store: FakeStore,
        folder: Arc<TempDir>,
        now_ms: u64,
        peers: Option<Arc<dyn Peers>>,
    ) -> Self {
        let host = Arc::new(FakeHost::new());
        let options = ControlOptions {
            host: Arc::clone(&host),
            store: store.clone(),
            blobs: Arc::new(Blobs::open(folder.path(), COMPONENT_BYTES_MAX).unwrap()),
            access: Access::only(TOKEN.to_owned()),
            secrets_key: node_key(),
            clock: Clock::showing(now_ms),
            stage_rules: wasm_fn_control::state::StageRules::new(),
            salt: Box::new(salt_at_random),
            peers,
        };
        Self { control: Control::open(options).await.unwrap(), host, store, folder }
    }

    /// Another node with the same store and components.
    pub(crate) async fn restarted(&self) -> Self {
        let now_ms = self.control.now().0;
        Self::over(self.store.clone(), Arc::clone(&self.folder), now_ms, None).await
    }

    /// Another node of the cluster whose store is `store`, with a clock that shows `now_ms`. The nodes have
    /// their components in common.
    pub(crate) async fn joining(&self, now_ms: u64, peers: Arc<FakePeers>) -> Self {
        Self::over(self.store.clone(), Arc::clone(&self.folder), now_ms, Some(peers)).await
    }

    /// The first node of a cluster.
    pub(crate) async fn founding(peers: Arc<FakePeers>) -> Self {
        let folder = Arc::new(tempfile::tempdir().unwrap());
        Self::over(FakeStore::default(), folder, 1_000_000, Some(peers)).await
    }

    pub(crate) async fn upload(&self, bytes: &'static [u8]) -> Digest {
        let digest = Digest(Sha256::digest(bytes).into());
        let chunks = stream::iter([Ok::<_, String>(Bytes::from_static(bytes))]);
        self.control.blobs().put(digest, chunks).await.unwrap();
        digest
    }

    /// The stage that answers at `/function`.
    pub(crate) fn stage(&self, function: &str) -> Arc<Stage<Arc<str>>> {
        let table = self.control.tables().load_full();
        Arc::clone(table.find(None, &format!("/{function}")).unwrap())
    }

    pub(crate) fn components(&self) -> usize {
        std::fs::read_dir(self.folder.path().join("blobs")).unwrap().count()
    }
}
