//! The log is kept short, and nobody loses anything by it.

use std::{collections::BTreeSet, sync::Arc};

use tempfile::TempDir;
use wasm_fn_core::Revision;
use wasm_fn_store::{EmbeddedStore, Store as _, StoreError};

use super::{Node, PATIENCE, Server, Words, make, options};
use crate::{Cluster, ClusterOptions, HOUSEKEEPING, ReplicatedStore};

/// How many changes the log keeps in these tests.
const KEEP: u64 = 20;

fn short(brokers: &[String], node: &str) -> ClusterOptions {
    ClusterOptions { log_keep: KEEP, ..options(brokers, node) }
}

/// A node that keeps the log short.
async fn keeper(brokers: &[String], node: &str) -> Node {
    let node = Node::joined(short(brokers, node)).await;
    node.cluster.leases().contend(BTreeSet::from([HOUSEKEEPING.to_owned()]));
    node
}

impl Node {
    /// Commits until the log begins with a later revision than `revision`.
    async fn trim_beyond(&self, revision: u64) {
        let trimmed = async {
            loop {
                let word = (self.store.revision().0 + 1).to_string();
                self.commit(&word).await.unwrap();
                let link = self.cluster.link();
                let log =
                    link.session_after(0).await.stream("WASM_FN_TEST", PATIENCE).await.unwrap().unwrap();
                assert!(log.state.last - log.state.first.max(1) < 1000, "it is trimmed at last");
                if log.state.first > revision {
                    return;
                }
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, trimmed).await.expect("the log is trimmed");
    }
}

fn numbers(last: Revision) -> Vec<String> {
    (1..=last.0).map(|number| number.to_string()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn node_that_was_away_goes_on_from_a_snapshot_with_the_whole_journal() {
    let test = "node_that_was_away_goes_on_from_a_snapshot_with_the_whole_journal";
    let Some(servers) = Server::three(test) else { return };
    let brokers: Vec<_> = servers.iter().map(Server::url).collect();
    make(&brokers, 3).await;
    let a = keeper(&brokers, "a").await;
    let b = Node::joined(short(&brokers, "b")).await;
    for number in 1..=5 {
        a.commit(&number.to_string()).await.unwrap();
    }
    b.reach(Revision(5)).await;
    let away = b.stop().await;
    a.trim_beyond(6).await;
    let last = a.store.revision();

    // One that was away, and one that is new.
    let b = Node::start_on(short(&brokers, "b"), away).await;
    b.reach(last).await;
    b.in_touch(true).await;
    let folder = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(short(&brokers, "c")).unwrap();
    cluster.restore(folder.path(), &Words).await.unwrap();
    drop(cluster);
    let c = Node::start_on(short(&brokers, "c"), folder).await;
    c.reach(last).await;
    for node in [&a, &b, &c] {
        assert_eq!(node.words().await, numbers(last));
    }
    assert_eq!(b.store.load().await.unwrap(), a.store.load().await.unwrap());
    let next = b.commit("after").await.unwrap();
    assert_eq!(next, last.next(), "numbers of messages are revisions");
    c.reach(next).await;
    a.reach(next).await;

    // One that is stopped while it follows finds the same.
    let Node { cluster, store, folder } = b;
    store.release().await;
    a.trim_beyond(last.0 + 10).await;
    store.take_back().await.unwrap();
    let b = Node { cluster, store, folder };
    b.reach(a.store.revision()).await;
    assert_eq!(b.words().await, a.words().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn node_whose_past_is_another_does_not_go_on_from_a_snapshot() {
    let test = "node_whose_past_is_another_does_not_go_on_from_a_snapshot";
    let Some(server) = Server::start(test) else { return };
    let brokers = [server.url()];
    make(&brokers, 1).await;
    let a = keeper(&brokers, "a").await;
    a.trim_beyond(6).await;
    // The state of another cluster, of which there is no record any more.
    let other = tempfile::tempdir().unwrap();
    let alone = EmbeddedStore::open(other.path()).unwrap();
    let mut last: Option<wasm_fn_store::Record> = None;
    for revision in 1..=3 {
        let text = format!("{}other", super::begin(last.as_ref()));
        let record = wasm_fn_store::Record { revision: Revision(revision), text: text.clone() };
        let subject = wasm_fn_store::Subject::Access;
        let commit = wasm_fn_store::Commit {
            revision: Revision(revision),
            subject,
            document: None,
            record: text,
            forgets_traps: false,
        };
        alone.commit(commit).await.unwrap();
        last = Some(record);
    }
    alone.release().await;
    let error = fault(short(&brokers, "b"), other).await;
    let text = "the cluster's log differs from this node's state at revision 3: it has another record than this \
                node";
    assert_eq!(error.to_string(), text);
}

/// Why a node does not go on from what `folder` holds.
async fn fault(options: ClusterOptions, folder: TempDir) -> StoreError {
    let cluster = Cluster::start(options).unwrap();
    let replica = EmbeddedStore::open(folder.path()).unwrap();
    let revision = replica.load().await.unwrap().revision;
    let store: ReplicatedStore = cluster.store(replica, Arc::new(Words)).await.unwrap();
    tokio::time::timeout(PATIENCE, store.follow(revision)).await.unwrap().unwrap_err()
}

#[tokio::test(flavor = "multi_thread")]
async fn log_of_an_earlier_release_grows_and_is_obeyed() {
    let test = "log_of_an_earlier_release_grows_and_is_obeyed";
    let Some(server) = Server::start(test) else { return };
    let brokers = [server.url()];
    let client = async_nats::connect(&brokers[0]).await.unwrap();
    let context = async_nats::jetstream::new(client);
    make(&brokers, 1).await;
    let mut config = context.get_stream("WASM_FN_TEST").await.unwrap().cached_info().config.clone();
    config.deny_purge = true;
    context.update_stream(config).await.unwrap();
    let a = keeper(&brokers, "a").await;
    for number in 1..=3 * KEEP {
        a.commit(&number.to_string()).await.unwrap();
    }
    // A new node still begins with a snapshot.
    let restored = async {
        loop {
            let folder = tempfile::tempdir().unwrap();
            let cluster = Cluster::start(short(&brokers, "b")).unwrap();
            cluster.restore(folder.path(), &Words).await.unwrap();
            let found = EmbeddedStore::open(folder.path()).unwrap().load().await.unwrap().revision;
            if found.0 >= KEEP {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, restored).await.unwrap();
    let first = context.get_stream("WASM_FN_TEST").await.unwrap().cached_info().state.first_sequence;
    assert_eq!(first, 1);
}
