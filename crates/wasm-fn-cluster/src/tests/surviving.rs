//! Brokers that are killed, stopped, or lose what they acknowledged.

use std::time::Duration;

use rustix::process::Signal;
use wasm_fn_core::Revision;
use wasm_fn_store::{Store as _, StoreError};

use super::{Node, Server, make, options};
use crate::{ClusterOptions, ContactState};

/// A short lease, for what is waited for.
fn brief(options: ClusterOptions) -> ClusterOptions {
    ClusterOptions { lease: Duration::from_secs(2), ..options }
}

/// Commits `word`, however long the broker is away. What is not known to be made is looked for.
async fn commit_at_last(node: &Node, word: &str) {
    loop {
        match node.commit(word).await {
            Ok(_) => return,
            Err(StoreError::Unknown { .. } | StoreError::OutOfTouch { .. }) => {
                node.in_touch(true).await;
                if node.words().await.iter().any(|found| found == word) {
                    return;
                }
            }
            Err(error) => panic!("{error}"),
        }
    }
}

/// Waits until every server has everything: one that has not cannot stand in for another.
async fn all_current(node: &Node) {
    let current = async {
        loop {
            let health = node.cluster.health().await.unwrap_or_default();
            let mut servers = health.iter().flat_map(|stream| &stream.servers);
            if health.len() == 5 && servers.all(|server| server.is_current && !server.is_offline) {
                return;
            }
        }
    };
    tokio::time::timeout(super::PATIENCE, current).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn no_commit_is_lost_when_the_broker_is_killed() {
    let Some(mut server) = Server::start("no_commit_is_lost_when_the_broker_is_killed") else { return };
    let brokers = [server.url()];
    make(&brokers, 1).await;
    let (a, b) = (Node::joined(options(&brokers, "a")).await, Node::joined(options(&brokers, "b")).await);
    let commit_all = async |node: &Node, name: &str| {
        for number in 0..60 {
            commit_at_last(node, &format!("{name}{number}")).await;
        }
    };
    let kill = async {
        for revision in [20, 50, 90] {
            a.reach(Revision(revision)).await;
            server.restart();
        }
    };
    tokio::join!(commit_all(&a, "a"), commit_all(&b, "b"), kill);
    a.reach(Revision(120)).await;
    b.reach(Revision(120)).await;
    let mut words = a.words().await;
    assert_eq!(words, b.words().await);
    words.sort();
    words.dedup();
    assert_eq!(words.len(), 120);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_of_three_goes_on_without_one() {
    let Some(mut servers) = Server::three("a_broker_of_three_goes_on_without_one") else { return };
    let brokers: Vec<_> = servers.iter().map(Server::url).collect();
    make(&brokers, 3).await;
    let (a, b) = (Node::joined(options(&brokers, "a")).await, Node::joined(options(&brokers, "b")).await);
    for (round, server) in servers.iter_mut().enumerate() {
        commit_at_last(&a, &format!("a{round}")).await;
        let began = tokio::time::Instant::now();
        if round == 1 {
            server.end();
        } else {
            server.kill();
        }
        // Whichever of them led, the others do.
        commit_at_last(&b, &format!("b{round}")).await;
        println!("round {round}: committed {:?} after a server was killed", began.elapsed());
        commit_at_last(&a, &format!("c{round}")).await;
        server.start_again();
        a.in_touch(true).await;
        b.in_touch(true).await;
        all_current(&a).await;
    }
    let health = a.cluster.health().await.unwrap();
    let last: Vec<_> = health.iter().map(|stream| (&*stream.stream, stream.servers.len())).collect();
    let streams = [
        "WASM_FN_TEST",
        "WASM_FN-TEST-COORDINATION",
        "WASM_FN-TEST-EVENTS",
        "OBJ_wasm-fn-test-components",
        "WASM_FN-TEST-BUCKETS",
    ];
    assert_eq!(last, streams.map(|stream| (stream, 3)));
    assert_eq!(health[0].last, 9);
    a.reach(Revision(9)).await;
    b.reach(Revision(9)).await;
    assert_eq!(a.words().await, ["a0", "b0", "c0", "a1", "b1", "c1", "a2", "b2", "c2"]);
    assert_eq!(a.words().await, b.words().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_lost_what_it_acknowledged_is_named_and_not_obeyed() {
    let test = "a_broker_that_lost_what_it_acknowledged_is_named_and_not_obeyed";
    let Some(mut server) = Server::start(test) else { return };
    let brokers = [server.url()];
    make(&brokers, 1).await;
    let a = Node::joined(options(&brokers, "a")).await;
    a.commit("x").await.unwrap();
    server.kill();
    let saved = server.save();
    server.start_again();
    a.in_touch(true).await;
    commit_at_last(&a, "y").await;
    let found = a.next("never").await;
    server.kill();
    server.put_back(&saved);
    server.start_again();

    let text = "the cluster's log differs from this node's state at revision 2: log ends with revision 1, \
                expected 2 or a later one";
    let error = a.store.follow(Revision(2)).await.unwrap_err();
    assert_eq!(error.to_string(), text);
    assert_eq!(a.store.commit(found).await.unwrap_err().to_string(), text);
    let ContactState::Out { reason, .. } = a.in_touch(false).await else { panic!("it is out of touch") };
    assert!(reason == text || reason.contains("broker"), "{reason}");
    // It serves what it has.
    assert_eq!(a.words().await, ["x", "y"]);
    assert_eq!(a.store.load().await.unwrap().revision, Revision(2));

    // A node that never heard of the lost commit makes another, and so the first one differs when it starts.
    let folder = a.stop().await;
    let b = Node::joined(options(&brokers, "b")).await;
    b.commit("z").await.unwrap();
    b.commit("zz").await.unwrap();
    let a = Node::start_on(options(&brokers, "a"), folder).await;
    let error = a.store.follow(Revision(2)).await.unwrap_err();
    let text = "the cluster's log differs from this node's state at revision 2: log has another record of that \
                revision than this node has";
    assert_eq!(error.to_string(), text);
    assert_eq!(a.words().await, ["x", "y"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_adds_nothing_to_a_log_that_lost_what_another_node_has() {
    let test = "a_node_adds_nothing_to_a_log_that_lost_what_another_node_has";
    let Some(mut server) = Server::start(test) else { return };
    let brokers = [server.url()];
    make(&brokers, 1).await;
    let (a, b) = (Node::joined(options(&brokers, "a")).await, Node::joined(options(&brokers, "b")).await);
    a.commit("x").await.unwrap();
    b.reach(Revision(1)).await;
    server.kill();
    let saved = server.save();
    server.start_again();
    commit_at_last(&b, "y").await;
    a.reach(Revision(2)).await;
    // This node does not get the next one.
    b.store.release().await;
    commit_at_last(&a, "z").await;
    let heard = async {
        while b.cluster.messages().members().iter().all(|member| member.head != Revision(3)) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(super::PATIENCE, heard).await.unwrap();
    server.kill();
    server.put_back(&saved);
    server.start_again();
    // Somebody puts back what this node has.
    let client = async_nats::connect(server.url()).await.unwrap();
    let range = wasm_fn_store::JournalRange { function: None, before: None, limit: 1 };
    let of_a = a.store.journal_after(Revision(1), 1).await.unwrap();
    let y = wasm_fn_store::Commit {
        revision: Revision(2),
        subject: wasm_fn_store::Subject::Access,
        document: None,
        record: of_a[0].text.clone(),
        forgets_traps: false,
    };
    client.request("wasm-fn.test.log", crate::log::write(&y)).await.unwrap();
    b.store.take_back().await.unwrap();
    assert_eq!(b.store.journal(range).await.unwrap(), of_a);
    b.in_touch(false).await;
    let next = b.next("never").await;
    let error = b.store.commit(next).await.unwrap_err().to_string();
    assert!(error.ends_with("log ends with revision 2, and the node a has 3"), "{error}");
    assert_eq!(a.store.follow(Revision(3)).await.unwrap_err().to_string().split(':').count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_starts_hears_first_what_a_broker_has_lost() {
    let test = "a_node_that_starts_hears_first_what_a_broker_has_lost";
    let Some(mut server) = Server::start(test) else { return };
    let brokers = [server.url()];
    make(&brokers, 1).await;
    let a = Node::joined(options(&brokers, "a")).await;
    a.commit("x").await.unwrap();
    server.kill();
    let saved = server.save();
    server.start_again();
    commit_at_last(&a, "y").await;
    server.kill();
    server.put_back(&saved);
    server.start_again();
    assert!(a.store.follow(Revision(2)).await.is_err());
    // It has nothing, and never heard of anybody.
    let b = Node::start(options(&brokers, "b")).await;
    let contact = b.cluster.contact();
    let doubts = async {
        loop {
            match contact.state() {
                ContactState::In => panic!("it is in touch with a log that lost what another node has"),
                ContactState::Out { reason, .. } if reason.contains("and the node a has 2") => return,
                ContactState::Out { .. } => tokio::task::yield_now().await,
            }
        }
    };
    tokio::time::timeout(super::PATIENCE, doubts).await.unwrap();
    assert_eq!(b.store.revision(), Revision(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_does_not_follow_is_named_and_not_obeyed() {
    let test = "a_record_that_does_not_follow_is_named_and_not_obeyed";
    let Some(server) = Server::start(test) else { return };
    let brokers = [server.url()];
    make(&brokers, 1).await;
    let a = Node::joined(options(&brokers, "a")).await;
    a.commit("x").await.unwrap();
    let forged = wasm_fn_store::Commit { record: "0  forged".to_owned(), ..a.next("").await };
    let client = async_nats::connect(server.url()).await.unwrap();
    client.request("wasm-fn.test.log", crate::log::write(&forged)).await.unwrap();
    let error = a.store.follow(Revision(1)).await.unwrap_err();
    let text = "the cluster's log differs from this node's state at revision 2: record is \"0  forged\", \
                expected one that begins with \"4 x \"";
    assert_eq!(error.to_string(), text);
    assert_eq!(a.words().await, ["x"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_hangs_puts_nodes_out_of_touch() {
    let Some(server) = Server::start("a_broker_that_hangs_puts_nodes_out_of_touch") else { return };
    let brokers = [server.url()];
    make(&brokers, 1).await;
    let a = Node::joined(brief(options(&brokers, "a"))).await;
    a.commit("x").await.unwrap();
    let next = a.next("y").await;
    let began = tokio::time::Instant::now();
    server.signal(Signal::STOP);
    let (made, out) = tokio::join!(a.store.commit(next.clone()), a.in_touch(false));
    let took = began.elapsed();
    assert!(matches!(made, Err(StoreError::Unknown { .. })), "{made:?}");
    assert!(matches!(out, ContactState::Out { .. }));
    assert!(took < Duration::from_secs(6), "{took:?}");
    let refused = a.store.commit(next).await.unwrap_err();
    let text = refused.to_string();
    assert!(text.starts_with("no change can be made: this node is out of touch"), "{text}");
    server.signal(Signal::CONT);
    a.in_touch(true).await;
    // The one that was not known about was on its way: it comes before whatever follows, or never.
    commit_at_last(&a, "z").await;
    commit_at_last(&a, "zz").await;
    let words = a.words().await;
    assert!(words == ["x", "y", "z", "zz"] || words == ["x", "z", "zz"], "{words:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_starts_without_a_broker_and_catches_up() {
    let Some(mut server) = Server::start("a_node_starts_without_a_broker_and_catches_up") else { return };
    let brokers = [server.url()];
    make(&brokers, 1).await;
    let a = Node::joined(options(&brokers, "a")).await;
    a.commit("x").await.unwrap();
    let b = Node::joined(options(&brokers, "b")).await;
    b.reach(Revision(1)).await;
    let folder = b.stop().await;
    a.commit("y").await.unwrap();
    server.kill();
    let b = Node::start_on(options(&brokers, "b"), folder).await;
    assert_eq!(b.words().await, ["x"]);
    let next = b.next("never").await;
    assert!(matches!(b.store.commit(next).await, Err(StoreError::OutOfTouch { .. })));
    server.start_again();
    b.reach(Revision(2)).await;
    b.in_touch(true).await;
    assert_eq!(b.commit("z").await.unwrap(), Revision(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_without_room_refuses_changes_by_name() {
    let config = "jetstream { store_dir: STORE, sync_interval: always, max_file: 2MB }";
    let Some(server) = Server::configured("a_broker_without_room_refuses_changes_by_name", config) else {
        return;
    };
    let brokers = [server.url()];
    make(&brokers, 1).await;
    let a = Node::joined(options(&brokers, "a")).await;
    let error = loop {
        if let Err(error) = a.commit(&"x".repeat(100_000)).await {
            break error;
        }
    };
    let made = a.words().await.len() as u64;
    assert!(made > 1, "{made}");
    let text = error.to_string();
    assert!(text.contains("no space for WASM_FN_TEST: ") || text.contains("table of leases: "), "{text}");
    assert!(text.contains("resources") || text.contains("storage"), "{text}");
    assert_eq!(a.store.load().await.unwrap().revision, Revision(made));
    assert!(a.store.fault().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_whose_disk_is_full_refuses_changes_by_name_and_nothing_is_lost() {
    let test = "a_broker_whose_disk_is_full_refuses_changes_by_name_and_nothing_is_lost";
    let Some(server) = Server::cramped(test, 8) else { return };
    let brokers = [server.url()];
    make(&brokers, 1).await;
    let a = Node::joined(ClusterOptions { lease: Duration::from_secs(1), ..options(&brokers, "a") }).await;
    let error = loop {
        if let Err(error) = a.commit(&"x".repeat(100_000)).await {
            break error;
        }
    };
    let made = a.words().await.len() as u64;
    assert!(made > 1, "{made}");
    // A server that finds no room stops its JetStream, and then nobody answers.
    let is_named = matches!(
        error,
        StoreError::DiskFull { .. } | StoreError::OutOfTouch { .. } | StoreError::Unknown { .. }
    );
    assert!(is_named, "{error}");
    a.in_touch(false).await;
    let error = a.commit("later").await.unwrap_err();
    assert!(matches!(error, StoreError::OutOfTouch { .. }), "{error}");
    assert!(error.to_string().contains("broker"), "{error}");
    assert_eq!(a.store.load().await.unwrap().revision, Revision(made), "it serves what it has");
    assert!(a.store.fault().is_none());
}
