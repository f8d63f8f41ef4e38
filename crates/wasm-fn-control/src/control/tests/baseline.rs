//! Tests of the handle on stable that is as fresh as a canary's. It is created once for a rollout, and
//! dropped after it.

use wasm_fn_router::KEY_HEADER;

use super::*;

impl Node {
    /// The handle that serves the last point: the baseline's, if it has any share.
    fn last(&self) -> (Arc<str>, Option<Assignment>) {
        let stage = self.stage("hello");
        let traits =
            RequestAttributes { headers: &HeaderMap::new(), query: None, client: [127, 0, 0, 1].into() };
        let chosen = stage.choose(&traits, None, || Point::new(9999).unwrap()).unwrap();
        (Arc::clone(&chosen.version.target), chosen.assignment)
    }

    /// How many fresh handles were created, and how many of them are still held.
    fn fresh(&self) -> (usize, usize) {
        let fresh = self.host.fresh.lock().unwrap();
        (fresh.len(), fresh.iter().filter(|handle| handle.strong_count() > 0).count())
    }

    async fn does(&self, command: Command) {
        self.control.command(name("hello"), live(), command, note()).await.unwrap();
    }
}

/// v1 with v2 at 10 %, then at 50 %.
async fn stepping() -> Node {
    let node = Node::start().await;
    node.deploy("hello", b"1", ReleaseStrategy::AllAtOnce).await.unwrap();
    assert_eq!(node.fresh(), (0, 0));
    let steps = ["10%", "50%"].map(|step| step.parse().unwrap()).to_vec();
    node.deploy("hello", b"2", rollout_by(rollout::Strategy::Canary { steps })).await.unwrap();
    node
}

#[tokio::test]
async fn steps_of_a_rollout_have_one_handle_beside_stable_s() {
    let node = stepping().await;
    let (target, part) = node.last();
    assert_eq!((&*target, part.unwrap().side), ("hello v1 fresh", Side::Baseline));
    assert_eq!(&*node.stage("hello").stable().target, "hello v1");
    node.does(Command::Promote).await;
    assert_eq!(node.stage("hello").split().weight(node.stage("hello").stable().no).to_string(), "50%");
    assert!(Arc::ptr_eq(&target, &node.last().0), "the same in every step");
    node.does(Command::Pause).await;
    node.does(Command::Resume).await;
    node.deploy("other", b"3", ReleaseStrategy::AllAtOnce).await.unwrap();
    assert!(Arc::ptr_eq(&target, &node.last().0));
    assert_eq!(node.fresh(), (1, 1));
}

#[tokio::test]
async fn handle_is_dropped_with_the_steps() {
    for command in [Command::Abort, Command::PromoteFully] {
        let node = stepping().await;
        assert_eq!(node.fresh(), (1, 1));
        node.does(command).await;
        // Tables that nobody holds any more are dropped.
        assert_eq!(node.fresh(), (1, 0), "{command:?}");
        assert_ne!(node.last().1.map(|part| part.side), Some(Side::Baseline));
    }
}

#[tokio::test]
async fn next_rollout_has_another_handle() {
    let node = stepping().await;
    node.does(Command::Abort).await;
    node.deploy("hello", b"3", canary()).await.unwrap();
    assert_eq!(node.fresh(), (2, 1));
    let replace = Deploy { replace: true, ..order("hello", node.upload(b"4").await, canary()) };
    node.control.deploy(replace, note(), Arc::new(|_| {})).await.unwrap();
    assert_eq!(node.fresh(), (3, 1), "it is as fresh as its canary");
}

#[tokio::test]
async fn switches_have_no_such_handle() {
    let node = Node::start().await;
    node.deploy("hello", b"1", ReleaseStrategy::AllAtOnce).await.unwrap();
    node.deploy("hello", b"2", rollout_by(rollout::Strategy::BlueGreen)).await.unwrap();
    node.does(Command::Promote).await;
    node.deploy("hello", b"3", rollout_by(rollout::Strategy::AllAtOnce)).await.unwrap();
    assert_eq!(node.fresh(), (0, 0));
}

#[tokio::test]
async fn failed_commit_keeps_no_handle() {
    let node = Node::start().await;
    node.deploy("hello", b"1", ReleaseStrategy::AllAtOnce).await.unwrap();
    node.store.fails.store(true, SeqCst);
    node.deploy("hello", b"2", canary()).await.unwrap_err();
    assert_eq!(node.fresh().1, 0);
}

#[tokio::test]
async fn restarted_node_makes_the_handle_anew() {
    let node = stepping().await;
    let again = node.restarted().await;
    assert_eq!(again.fresh(), (1, 1));
    assert_eq!(&*again.last().0, "hello v1 fresh");
}

#[tokio::test]
async fn baseline_counts_in_stable_s_tally_and_users_stay_in_it() {
    let node = stepping().await;
    let stage = node.stage("hello");
    let user = |key: &str| {
        let headers = HeaderMap::from_iter([(KEY_HEADER.clone(), key.parse().unwrap())]);
        let traits = RequestAttributes { headers: &headers, query: None, client: [127, 0, 0, 1].into() };
        let chosen = stage.choose(&traits, None, || unreachable!("a key needs no draw")).unwrap();
        (chosen.assignment.unwrap().side, Arc::clone(&chosen.version.tally))
    };
    let sides: Vec<_> = (0..1000).map(|key| user(&key.to_string())).collect();
    let apart = sides.iter().filter(|(side, _)| *side == Side::Baseline);
    let (canary, apart) = (sides.iter().filter(|(side, _)| *side == Side::Canary).count(), apart.count());
    // Four standard deviations of a binomial count.
    assert!((62..=138).contains(&canary) && (62..=138).contains(&apart), "{canary} {apart}");
    let tally = &stage.stable().tally;
    assert!(sides.iter().filter(|(side, _)| *side != Side::Canary).all(|(_, its)| Arc::ptr_eq(its, tally)));
}
