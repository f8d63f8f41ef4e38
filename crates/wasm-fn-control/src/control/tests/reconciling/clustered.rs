//! Tests of nodes that share a store: each publishes what the others commit, and one decides.

use std::collections::BTreeSet;

use super::*;
use crate::{fake::FakePeers, peers::Touch};

/// The lease of the rollout in these tests.
const LEASE: &str = "rollout.hello.live";

/// An hour, in milliseconds.
const HOUR_MS: u64 = 3_600_000;

struct Pair {
    first: Node,
    first_peers: Arc<FakePeers>,
    second: Node,
    second_peers: Arc<FakePeers>,
}

/// Two nodes of a cluster; the clock of the second is this far ahead.
async fn pair(ahead_ms: u64) -> Pair {
    let (first_peers, second_peers) = (FakePeers::of("first"), FakePeers::of("second"));
    let first = Node::founding(Arc::clone(&first_peers)).await;
    let now_ms = first.control.now().0 + ahead_ms;
    let second = first.joining(now_ms, Arc::clone(&second_peers)).await;
    Pair { first, first_peers, second, second_peers }
}

impl Pair {
    /// The same, with a canary under way.
    async fn rolling(ahead_ms: u64) -> Self {
        let pair = pair(ahead_ms).await;
        pair.first.deploy("hello", b"1", ReleaseStrategy::AllAtOnce).await.unwrap();
        pair.first.deploy("hello", b"2", canary_with(|_, _| ())).await.unwrap();
        pair.first.settle().await;
        pair
    }
}

fn give(peers: &FakePeers, lease: &str) {
    peers.leases.send_replace(BTreeSet::from([lease.to_owned()]));
}

fn take(peers: &FakePeers) {
    peers.leases.send_replace(BTreeSet::new());
}

#[tokio::test]
async fn change_by_one_node_is_published_by_the_other() {
    let Pair { first, second, .. } = pair(0).await;
    first.deploy("hello", b"1", ReleaseStrategy::AllAtOnce).await.unwrap();
    first.deploy("other", b"2", ReleaseStrategy::AllAtOnce).await.unwrap();
    second.settle().await;
    assert_eq!(&*second.stage("hello").versions()[0].target, "hello v1");
    assert_eq!(second.control.tables().load().revision(), Revision(2));
    second.control.delete(name("hello"), note()).await.unwrap();
    first.settle().await;
    assert!(first.control.tables().load().find(None, "/hello").is_none());
    assert_eq!(first.control.journal_head(), second.control.journal_head());
    assert_eq!(*first.control.state(), *second.control.state());
}

#[tokio::test]
async fn changes_by_both_nodes_at_once_are_all_made() {
    let Pair { first, second, .. } = pair(0).await;
    let deploys = (0..8).map(|at| {
        let node = if at % 2 == 0 { &first } else { &second };
        async move { node.deploy(&format!("hello-{at}"), b"1", ReleaseStrategy::AllAtOnce).await }
    });
    for done in futures_util::future::join_all(deploys).await {
        done.unwrap();
    }
    first.settle().await;
    second.settle().await;
    let last = first.control.verify_journal(None).await.unwrap();
    assert_eq!(last.revision, Revision(8), "each of them is one entry");
    assert_eq!(last, first.control.journal_head());
    assert_eq!(last, second.control.journal_head());
    assert_eq!(*first.control.state(), *second.control.state());
}

#[tokio::test]
async fn node_that_was_away_for_long_loads_everything_anew() {
    let first = Node::founding(FakePeers::of("first")).await;
    let peers = FakePeers::of("second");
    let second = first.joining(1_000_000, Arc::clone(&peers)).await;
    // The other node's task does not run in between, and falls behind what the store tells one by one.
    for at in 0..100 {
        let deployed = first.deploy(&format!("hello-{at}"), b"1", ReleaseStrategy::AllAtOnce).now_or_never();
        if deployed.is_none() {
            tokio::task::yield_now().await;
        }
    }
    first.deploy("last", b"1", ReleaseStrategy::AllAtOnce).await.unwrap();
    second.settle().await;
    assert_eq!(*first.control.state(), *second.control.state());
    assert_eq!(*peers.published.borrow(), first.control.state().revision(), "it says what it has published");
}

#[tokio::test(start_paused = true)]
async fn only_the_node_with_the_lease_decides() {
    let Pair { first, first_peers, second, second_peers } = Pair::rolling(0).await;
    assert_eq!(*first_peers.wanted.borrow(), BTreeSet::from([LEASE.to_owned()]));
    assert_eq!(*second_peers.wanted.borrow(), BTreeSet::from([LEASE.to_owned()]));
    first.hundred(&GOOD);
    second.hundred(&GOOD);
    first.wait(100).await;
    assert_eq!(second.place(), Some(Place::Step(0)), "nobody has the lease");
    give(&second_peers, LEASE);
    second.settle().await;
    assert_eq!((first.place(), second.place()), (Some(Place::Step(1)), Some(Place::Step(1))));
    take(&second_peers);
    give(&first_peers, LEASE);
    first.hundred(&GOOD);
    first.wait(50).await;
    assert_eq!(first.place(), Some(Place::Step(1)), "the step takes as long as with one node");
    first.wait(11).await;
    assert_eq!((first.place(), second.place()), (Some(Place::Watch), Some(Place::Watch)));
    for peers in [&first_peers, &second_peers] {
        assert_eq!(*peers.published.borrow(), first.control.state().revision());
    }
}

#[tokio::test(start_paused = true)]
async fn step_is_as_long_by_the_clock_of_another_node() {
    for ahead_ms in [0, HOUR_MS] {
        let Pair { first, first_peers, second, second_peers } = Pair::rolling(ahead_ms).await;
        for (peers, node) in [(&second_peers, &second), (&first_peers, &first)] {
            give(peers, LEASE);
            let place = node.place();
            node.hundred(&GOOD);
            node.wait(59).await;
            assert_eq!(node.place(), place);
            node.wait(2).await;
            assert_ne!(node.place(), place);
            take(peers);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn node_out_of_touch_sends_nobody_to_a_canary() {
    let Pair { first, second, second_peers, .. } = Pair::rolling(0).await;
    let canaries =
        |node: &Node| node.hundred(&GOOD).iter().filter(|version| version.to_string() == "v2").count();
    assert_eq!(canaries(&second), 10);
    let out = Touch::Out { since_ms: 1, reason: "the broker is silent".to_owned() };
    second_peers.touch.send_replace(out.clone());
    second.settle().await;
    assert_eq!((canaries(&first), canaries(&second)), (10, 0));
    second_peers.touch.send_replace(Touch::In);
    second.settle().await;
    assert_eq!(canaries(&second), 10, "nothing has happened meanwhile");
    second_peers.touch.send_replace(out);
    second.settle().await;
    first.control.command(name("hello"), live(), Command::Abort, note()).await.unwrap();
    second_peers.touch.send_replace(Touch::In);
    second.settle().await;
    assert_eq!((canaries(&first), canaries(&second)), (0, 0));
    // A canary that is new to a node that is out of touch is one that it knows nothing of.
    second_peers.touch.send_replace(Touch::Out { since_ms: 1, reason: String::new() });
    second.settle().await;
    first.deploy("hello", b"3", canary_with(|_, _| ())).await.unwrap();
    second.settle().await;
    assert_eq!((second.live().rollout.is_some(), second.hundred(&GOOD).len()), (true, 100));
    let on_canary = second.hundred(&GOOD).iter().filter(|version| version.to_string() == "v3").count();
    assert_eq!(on_canary, 0);
}

#[tokio::test(start_paused = true)]
async fn node_that_has_not_prepared_a_canary_sends_its_users_to_stable() {
    let Pair { first, second, second_peers, .. } = pair(0).await;
    first.deploy("hello", b"1", ReleaseStrategy::AllAtOnce).await.unwrap();
    second.host.lags.send_replace(true);
    first.deploy("hello", b"2", canary_with(|_, _| ())).await.unwrap();
    second.settle().await;
    let canaries =
        |node: &Node| node.hundred(&GOOD).iter().filter(|version| version.to_string() == "v2").count();
    assert_eq!((canaries(&first), canaries(&second)), (10, 0));
    // Being out of touch in between changes nothing about it.
    for touch in [Touch::Out { since_ms: 1, reason: String::new() }, Touch::In] {
        second_peers.touch.send_replace(touch);
        second.settle().await;
        assert_eq!(canaries(&second), 0);
    }
    second.host.lags.send_replace(false);
    second.settle().await;
    assert_eq!(canaries(&second), 10);
}

#[tokio::test(start_paused = true)]
async fn secret_set_on_one_node_can_be_read_on_the_other() {
    let Pair { first, second, .. } = pair(0).await;
    let secret = SecretId { function: name("hello"), stage: live(), name: "KEY".parse().unwrap() };
    let value = |text: &str| wasm_fn_secrets::SecretValue::new(text.as_bytes().to_vec().into()).unwrap();
    first.control.set_secret(secret.clone(), value("one"), note()).await.unwrap();
    second.control.set_secret(secret.clone(), value("two"), note()).await.unwrap();
    first.settle().await;
    let newest = first.control.newest_secret(&secret).unwrap().unwrap();
    assert_eq!(newest.expose(), "two");
    second.control.rotate_data_key(note()).await.unwrap();
    first.settle().await;
    assert_eq!(first.control.newest_secret(&secret).unwrap().unwrap().expose(), "two");
    assert_eq!(*first.control.state(), *second.control.state());
}

#[tokio::test(start_paused = true)]
async fn abort_keeps_everybody_off_the_canary_before_it_is_committed() {
    let Pair { first, .. } = Pair::rolling(0).await;
    let on_canary = || first.hundred(&GOOD).iter().filter(|version| version.to_string() == "v2").count();
    assert_eq!(on_canary(), 10);
    first.store.fails.store(true, SeqCst);
    let refused = first.control.command(name("hello"), live(), Command::Abort, note()).await;
    assert!(matches!(refused, Err(ControlError::Store(_))), "{refused:?}");
    assert_eq!((first.place(), on_canary()), (Some(Place::Step(0)), 0), "the journal and the table follow");
    first.store.fails.store(false, SeqCst);
    first.control.command(name("hello"), live(), Command::Abort, note()).await.unwrap();
    assert_eq!((first.place(), on_canary()), (None, 0));
}
