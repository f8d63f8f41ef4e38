//! Commits of several nodes: none is lost, none is made twice, and all nodes have the same.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use wasm_fn_core::Revision;
use wasm_fn_store::{EmbeddedStore, Followed, Store as _, StoreError};

use super::{Node, PATIENCE, Server, Words, make, options};
use crate::{Cluster, link::EXPECTED_LAST};

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_commit_one_after_the_other() {
    let Some(server) = Server::start("two_nodes_commit_one_after_the_other") else { return };
    let brokers = [server.url()];
    make(&brokers, 1).await;
    let (a, b) = (Node::joined(options(&brokers, "a")).await, Node::joined(options(&brokers, "b")).await);
    const EACH: u64 = 40;
    let commit_all = async |node: &Node, name: &str| {
        for number in 0..EACH {
            node.commit(&format!("{name}{number}")).await.unwrap();
        }
    };
    tokio::join!(commit_all(&a, "a"), commit_all(&b, "b"));
    let last = Revision(2 * EACH);
    a.reach(last).await;
    b.reach(last).await;
    let (of_a, of_b) = (a.words().await, b.words().await);
    assert_eq!(of_a, of_b);
    assert_eq!(of_a.len() as u64, 2 * EACH);
    assert_eq!(of_a.iter().collect::<BTreeSet<_>>().len() as u64, 2 * EACH, "each is there once");
    assert_eq!(a.store.load().await.unwrap(), b.store.load().await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_of_another_node_is_told_with_its_document() {
    let Some(server) = Server::start("a_commit_of_another_node_is_told_with_its_document") else { return };
    let brokers = [server.url()];
    make(&brokers, 1).await;
    let (a, b) = (Node::joined(options(&brokers, "a")).await, Node::joined(options(&brokers, "b")).await);
    let commit = a.next("x").await;
    let followed = b.store.follow(Revision(0));
    let (committed, followed) = tokio::join!(a.store.commit(commit.clone()), followed);
    committed.unwrap();
    assert_eq!(followed.unwrap(), Followed::Commit(commit.clone()));
    assert_eq!(a.store.follow(Revision(0)).await.unwrap(), Followed::Commit(commit));
    // Who is too far behind is told to load everything.
    for number in 0..300 {
        a.commit(&number.to_string()).await.unwrap();
    }
    b.reach(Revision(301)).await;
    assert_eq!(b.store.follow(Revision(0)).await.unwrap(), Followed::Reload);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_a_newer_release_is_named_and_not_obeyed() {
    let Some(server) = Server::start("a_change_of_a_newer_release_is_named_and_not_obeyed") else { return };
    let brokers = [server.url()];
    make(&brokers, 1).await;
    let a = Node::joined(options(&brokers, "a")).await;
    a.commit("1").await.unwrap();
    let client = async_nats::connect(server.url()).await.unwrap();
    let newer = r#"{"format":2,"what":"nobody knows yet"}"#;
    client.request("wasm-fn.test.log", newer.into()).await.unwrap();
    let error = a.store.follow(Revision(1)).await.unwrap_err();
    let text = "state in WASM_FN_TEST has format 2, expected at most 1, the newest that this program knows";
    assert_eq!(error.to_string(), text);
    assert_eq!(a.store.fault().unwrap().to_string(), text);
    // It has what it had, and adds nothing to what it does not understand.
    assert_eq!(a.words().await, ["1"]);
    assert_eq!(a.commit("2").await.unwrap_err().to_string(), text);
    // So does one that comes later.
    let b = Node::start(options(&brokers, "b")).await;
    let followed = async {
        loop {
            match b.store.follow(b.store.revision()).await {
                Ok(_) => {}
                Err(error) => return error,
            }
        }
    };
    let error = tokio::time::timeout(PATIENCE, followed).await.expect("it says so at last");
    assert_eq!(error.to_string(), text);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_is_not_the_next_one_is_refused_with_what_there_is() {
    let test = "a_commit_that_is_not_the_next_one_is_refused_with_what_there_is";
    let Some(server) = Server::start(test) else { return };
    let brokers = [server.url()];
    make(&brokers, 1).await;
    let a = Node::joined(options(&brokers, "a")).await;
    let old = a.next("old").await;
    a.commit("x").await.unwrap();
    let error = a.store.commit(old).await.unwrap_err();
    let expected = (Revision(0), Revision(1));
    assert!(matches!(error, StoreError::Conflict { expected: e, found: f } if (e, f) == expected), "{error}");
    let large = "x".repeat(2 << 20);
    let error = a.commit(&large).await.unwrap_err();
    assert!(error.to_string().contains("is too large: it has 4194"), "{error}");
    assert_eq!(a.commit("y").await.unwrap(), Revision(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_released_store_goes_on_when_it_is_taken_back() {
    let Some(server) = Server::start("a_released_store_goes_on_when_it_is_taken_back") else { return };
    let brokers = [server.url()];
    make(&brokers, 1).await;
    let (a, b) = (Node::joined(options(&brokers, "a")).await, Node::joined(options(&brokers, "b")).await);
    a.commit("x").await.unwrap();
    b.reach(Revision(1)).await;
    let next = b.next("not made").await;
    b.store.release().await;
    assert!(matches!(b.store.commit(next).await, Err(StoreError::Released(_))));
    a.commit("y").await.unwrap();
    {
        // Another process goes on with it, and back.
        let cluster = Cluster::start(options(&brokers, "b2")).unwrap();
        let replica = EmbeddedStore::open(b.folder.path()).unwrap();
        let other = cluster.store(replica, Arc::new(Words)).await.unwrap();
        assert!(matches!(other.follow(Revision(1)).await, Ok(Followed::Commit(_))));
        other.release().await;
    }
    b.store.take_back().await.unwrap();
    assert_eq!(b.store.revision(), Revision(2));
    a.commit("z").await.unwrap();
    b.reach(Revision(3)).await;
    b.in_touch(true).await;
    assert_eq!(b.commit("b").await.unwrap(), Revision(4));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_commits_are_caught_up_soon() {
    let Some(server) = Server::configured(
        "many_commits_are_caught_up_soon",
        // The messages are only to be read.
        "jetstream { store_dir: STORE }",
    ) else {
        return;
    };
    let brokers = [server.url()];
    make(&brokers, 1).await;
    const COMMITS: u64 = 10_000;
    write_log(&server.url(), COMMITS).await;
    let began = tokio::time::Instant::now();
    let a = Node::start(options(&brokers, "a")).await;
    a.reach(Revision(COMMITS)).await;
    let took = began.elapsed();
    println!("{COMMITS} commits are caught up in {took:?}");
    assert!(took < Duration::from_secs(20), "{took:?}");
    a.in_touch(true).await;
    assert_eq!(a.store.load().await.unwrap().functions.len(), 10_000);
}

/// Writes a log as nodes would, many messages at a time.
async fn write_log(url: &str, commits: u64) {
    let client = async_nats::connect(url).await.unwrap();
    let jetstream = async_nats::jetstream::new(client);
    let (mut previous, mut acks) = (None, Vec::new());
    for revision in 1..=commits {
        let text = format!("{}{revision}", super::begin(previous.as_ref()));
        let commit = wasm_fn_store::Commit {
            revision: Revision(revision),
            subject: wasm_fn_store::Subject::Function(format!("f{revision}").parse().unwrap()),
            document: Some("{}".repeat(300)),
            record: text.clone(),
            forgets_traps: false,
        };
        previous = Some(wasm_fn_store::Record { revision: Revision(revision), text });
        let mut headers = async_nats::HeaderMap::new();
        headers.insert(EXPECTED_LAST, (revision - 1).to_string());
        let subject = "wasm-fn.test.log".to_owned();
        acks.push(
            jetstream.publish_with_headers(subject, headers, crate::log::write(&commit)).await.unwrap(),
        );
        if acks.len() >= 500 {
            for ack in acks.drain(..) {
                tokio::time::timeout(PATIENCE, ack.into_future()).await.unwrap().unwrap();
            }
        }
    }
    for ack in acks {
        tokio::time::timeout(PATIENCE, ack.into_future()).await.unwrap().unwrap();
    }
}
