//! Tests with real brokers: nats-server, with what it keeps in a temporary directory.
//!
//! Where it is not installed, each test is skipped by name.

mod asking;
#[expect(dead_code, reason = "tests of queues use all of it")]
#[path = "../../../tests/nats_server.rs"]
mod broker;
mod collecting;
mod committing;
mod eventing;
mod keeping;
mod leasing;
mod sending;
mod setting_up;
mod surviving;
mod trimming;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tempfile::TempDir;
use wasm_fn_core::Revision;
use wasm_fn_queue::{BrokerCredentials, ClientConfig};
use wasm_fn_store::{Commit, EmbeddedStore, Followed, JournalRange, Record, Store as _, StoreError, Subject};

use self::broker::Server;
use crate::{
    Chain, Cluster, ClusterError, ClusterOptions, ContactState, InitOptions, InitReport, LEASE_DEFAULT,
    LOG_KEEP_DEFAULT, Monitors, ReplicatedStore, init,
};

/// Longer than anything a test waits for.
const PATIENCE: Duration = Duration::from_secs(60);

/// Follows where a record begins with the length and the last word of the one before.
struct Words;

impl Chain for Words {
    fn verify(&self, previous: Option<&Record>, next: &Record) -> Result<(), String> {
        let expected = begin(previous);
        match next.text.strip_prefix(&expected) {
            Some(_) => Ok(()),
            None => Err(format!("record is {:?}, expected one that begins with {expected:?}", next.text)),
        }
    }
}

fn begin(previous: Option<&Record>) -> String {
    let previous = previous.map_or("", |record| &*record.text);
    format!("{} {} ", previous.len(), previous.rsplit(' ').next().unwrap_or_default())
}

fn tls() -> Arc<ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    Arc::new(config.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth())
}

fn options(brokers: &[String], node: &str) -> ClusterOptions {
    ClusterOptions {
        brokers: brokers.iter().map(|url| url.parse().unwrap()).collect(),
        cluster: "test".parse().unwrap(),
        node: node.parse().unwrap(),
        program: "1.2.3".to_owned(),
        credentials: Arc::new(|| Ok(None)),
        tls: Arc::new(tls),
        addresses: Arc::new(|_: SocketAddr| Ok(())),
        lease: LEASE_DEFAULT,
        log_keep: LOG_KEEP_DEFAULT,
        cluster_id: None,
        key: None,
    }
}

fn with_credentials(options: ClusterOptions, text: &str) -> ClusterOptions {
    let parsed = BrokerCredentials::parse(text).unwrap();
    ClusterOptions { credentials: Arc::new(move || Ok(Some(parsed.clone()))), ..options }
}

fn plain(replicas: u8) -> InitOptions {
    InitOptions {
        replicas,
        key: None,
        base: None,
        inbox: None,
        components_bytes_max: None,
        monitors: Monitors::default(),
    }
}

/// Makes the cluster, as soon as the broker can.
async fn make(brokers: &[String], replicas: u8) -> InitReport {
    let options = options(brokers, "maker");
    let made = async {
        loop {
            match init(&options, &plain(replicas)).await {
                Ok(report) => return report,
                Err(error) => assert!(
                    matches!(error, ClusterError::Refused { .. } | ClusterError::Broker(_)),
                    "{error}"
                ),
            }
        }
    };
    tokio::time::timeout(PATIENCE, made).await.expect("the broker is ready at last")
}

/// A node of a test.
struct Node {
    cluster: Cluster,
    store: ReplicatedStore,
    folder: TempDir,
}

impl Node {
    async fn start(options: ClusterOptions) -> Self {
        Self::start_on(options, tempfile::tempdir().unwrap()).await
    }

    /// Starts on what `folder` holds.
    async fn start_on(options: ClusterOptions, folder: TempDir) -> Self {
        let cluster = Cluster::start(options).unwrap();
        let replica = EmbeddedStore::open(folder.path()).unwrap();
        let store = cluster.store(replica, Arc::new(Words)).await.unwrap();
        Self { cluster, store, folder }
    }

    /// Starts, and waits until it is in touch.
    async fn joined(options: ClusterOptions) -> Self {
        let node = Self::start(options).await;
        node.in_touch(true).await;
        node
    }

    /// Waits until it is in touch, or is not.
    async fn in_touch(&self, is_in: bool) -> ContactState {
        let mut states = self.cluster.contact().watch();
        let found = states.wait_for(|state| (*state == ContactState::In) == is_in);
        let found = tokio::time::timeout(PATIENCE, found).await;
        found.unwrap_or_else(|_| panic!("{:?}", self.cluster.fault())).unwrap().clone()
    }

    /// Ends it, and returns what it kept.
    async fn stop(self) -> TempDir {
        self.store.release().await;
        self.folder
    }

    /// The commit after what the node has.
    async fn next(&self, word: &str) -> Commit {
        let loaded = self.store.load().await.unwrap();
        Commit {
            revision: loaded.revision.next(),
            subject: Subject::Function("hello".parse().unwrap()),
            document: Some(format!("document of {word}")),
            record: format!("{}{word}", begin(loaded.last.as_ref())),
            forgets_traps: false,
        }
    }

    /// Commits `word`, after whatever others commit. Returns its revision.
    async fn commit(&self, word: &str) -> Result<Revision, StoreError> {
        loop {
            let commit = self.next(word).await;
            let revision = commit.revision;
            match self.store.commit(commit).await {
                Ok(()) => return Ok(revision),
                Err(StoreError::Conflict { found, .. }) => self.reach(found).await,
                Err(error) => return Err(error),
            }
        }
    }

    /// Waits until the node has `revision`.
    async fn reach(&self, revision: Revision) {
        let reached = async {
            let mut at = self.store.revision();
            while at < revision {
                match self.store.follow(at).await.unwrap() {
                    Followed::Commit(commit) => {
                        assert_eq!(commit.revision, at.next());
                        at = commit.revision;
                    }
                    Followed::Reload => at = self.store.load().await.unwrap().revision,
                }
            }
        };
        let waited = tokio::time::timeout(PATIENCE, reached).await;
        waited.unwrap_or_else(|_| panic!("{revision} at {} {:?}", self.store.revision(), self.store.fault()));
    }

    /// The last words of all records, oldest first.
    async fn words(&self) -> Vec<String> {
        let range = JournalRange { function: None, before: None, limit: usize::MAX };
        let records = self.store.journal(range).await.unwrap();
        let word = |record: &Record| record.text.rsplit(' ').next().unwrap().to_owned();
        records.iter().rev().map(word).collect()
    }
}
