//! Tests of commits, publishing and collection, over a fake host and store.

mod backup;
mod baseline;
mod costs;
mod growing;
mod reconciling;
mod stages;

use std::{sync::atomic::Ordering::SeqCst, time::Duration};

use futures_util::FutureExt as _;
use http::HeaderMap;
use wasm_fn_core::{Digest, FunctionConfig, Outcome, Point, Side, StageName, Trap, VersionRef, Weight};
use wasm_fn_rollout::{self as rollout, Command, GateSpec, PlanSpec};
use wasm_fn_router::{
    Assignment, Chosen, InvocationRecord, Observation, Placement, Reason, RequestAttributes, Stage,
    TrafficObserver,
};

use super::*;
use crate::{
    fake::Node,
    host::Rejection,
    state::{ReleaseStrategy, RolloutSpec},
};

impl Node {
    async fn deploy(
        &self,
        function: &str,
        bytes: &'static [u8],
        strategy: ReleaseStrategy,
    ) -> Result<Deployed, ControlError> {
        let component = self.upload(bytes).await;
        self.control.deploy(order(function, component, strategy), note(), Arc::new(|_| {})).await
    }
}

fn order(function: &str, component: Digest, strategy: ReleaseStrategy) -> Deploy {
    Deploy {
        may_move_traffic: true,
        function: function.parse().unwrap(),
        stage: StageName::live(),
        component,
        config: Arc::new(FunctionConfig::default()),
        stage_config: None,
        strategy,
        prepared: Weight::FULL,
        replace: false,
        allow_new: false,
        provenance: None,
    }
}

fn note() -> Note {
    Note {
        actor: "ann".to_owned(),
        token: None,
        origin: "127.0.0.1:1".to_owned(),
        message: None,
        expected_revision: None,
    }
}

fn canary() -> ReleaseStrategy {
    rollout_by(rollout::Strategy::Canary { steps: vec!["10%".parse().unwrap()] })
}

fn rollout_by(strategy: rollout::Strategy) -> ReleaseStrategy {
    let plan = PlanSpec::usual(strategy);
    let spec = RolloutSpec::new(plan, GateSpec::default(), true, Duration::from_secs(60), Vec::new());
    ReleaseStrategy::Rollout(Arc::new(spec.unwrap()))
}

/// The version that serves the first of all points: the canary, if it has any share.
fn choose(stage: &Arc<Stage<Arc<str>>>, asked: Option<VersionRef>) -> Chosen<'_, Arc<str>> {
    let traits = RequestAttributes { headers: &HeaderMap::new(), query: None, client: [127, 0, 0, 1].into() };
    stage.choose(&traits, asked, || Point::new(0).unwrap()).unwrap()
}

/// Reports a request of `part` to `trial`, from its beginning to its end.
fn hear(trial: &Arc<dyn TrafficObserver>, part: &Assignment, record: InvocationRecord, trap: Option<&Trap>) {
    let at = tokio::time::Instant::now().into_std();
    let ticket = trial.request_began(part, at);
    let Assignment { side, placement, user, .. } = *part;
    trial.request_ended(&Observation {
        ticket,
        side,
        placement,
        record,
        abandoned: false,
        at,
        user,
        request_id: 1,
        trap,
    });
}

fn live() -> StageName {
    StageName::live()
}

fn name(function: &str) -> FunctionName {
    function.parse().unwrap()
}

#[tokio::test]
async fn change_is_published_when_the_command_returns() {
    let node = Node::start().await;
    assert_eq!(node.control.tables().load().revision(), Revision(0));
    let deployed = node.deploy("hello", b"1", ReleaseStrategy::AllAtOnce).await.unwrap();
    assert_eq!((deployed.version.number(), deployed.kind.as_str()), (1, "cgi"));
    assert_eq!(node.control.tables().load().revision(), Revision(1));
    assert_eq!(&*node.stage("hello").versions()[0].target, "hello v1");
    node.deploy("hello", b"2", canary()).await.unwrap();
    node.control.command(name("hello"), live(), Command::Promote, note()).await.unwrap();
    assert_eq!(node.stage("hello").stable().no.number(), 2);
    node.control.delete(name("hello"), note()).await.unwrap();
    assert!(node.control.tables().load().find(None, "/hello").is_none());
    assert_eq!(node.control.verify_journal(None).await.unwrap().revision, Revision(4));
}

#[tokio::test]
async fn failed_commit_publishes_nothing_and_keeps_nothing() {
    let node = Node::start().await;
    node.deploy("hello", b"1", ReleaseStrategy::AllAtOnce).await.unwrap();
    node.store.fails.store(true, SeqCst);
    let before = node.control.tables().load_full();
    let failed = node.deploy("hello", b"2", ReleaseStrategy::AllAtOnce).await;
    assert!(matches!(failed, Err(ControlError::Store(_))));
    assert!(Arc::ptr_eq(&before, &node.control.tables().load_full()));
    assert_eq!(node.control.state().revision(), Revision(1));
    node.store.fails.store(false, SeqCst);
    // A later change must not include the failed one.
    node.deploy("other", b"3", ReleaseStrategy::AllAtOnce).await.unwrap();
    assert_eq!(node.stage("hello").versions().len(), 1);
    assert_eq!(node.control.verify_journal(None).await.unwrap().revision, Revision(2));
}

#[tokio::test]
async fn tallies_handles_and_other_stages_are_shared_between_tables() {
    let node = Node::start().await;
    node.deploy("hello", b"1", ReleaseStrategy::AllAtOnce).await.unwrap();
    node.deploy("other", b"1", ReleaseStrategy::AllAtOnce).await.unwrap();
    let (hello, other) = (node.stage("hello"), node.stage("other"));
    hello.versions()[0].tally.record(InvocationRecord {
        outcome: Outcome::Success,
        latency: Duration::from_millis(1),
        queue_wait: Duration::ZERO,
        memory_peak_bytes: 1,
    });
    node.deploy("hello", b"2", canary()).await.unwrap();
    let after = node.stage("hello");
    assert!(!Arc::ptr_eq(&hello, &after));
    assert!(Arc::ptr_eq(&other, &node.stage("other")));
    assert_eq!(after.versions()[0].tally.snapshot().total(), 1);
    assert!(Arc::ptr_eq(&hello.versions()[0].target, &after.versions()[0].target));
    assert_eq!(node.host.handles.load(SeqCst), 3, "one a version");
}

#[tokio::test]
async fn restarted_node_publishes_the_same() {
    let node = Node::start().await;
    node.deploy("hello", b"1", ReleaseStrategy::AllAtOnce).await.unwrap();
    node.deploy("hello", b"2", canary()).await.unwrap();
    let again = node.restarted().await;
    assert_eq!(again.control.state(), node.control.state());
    assert_eq!(again.control.tables().load().revision(), Revision(2));
    assert_eq!(again.stage("hello").split(), node.stage("hello").split());
    again.control.command(name("hello"), live(), Command::Promote, note()).await.unwrap();
    assert_eq!(again.control.verify_journal(None).await.unwrap().revision, Revision(3));
}

#[tokio::test]
async fn refused_and_missing_components_change_nothing() {
    let node = Node::start().await;
    let refused = node.deploy("hello", b"bad", ReleaseStrategy::AllAtOnce).await.unwrap_err();
    assert!(matches!(refused, ControlError::Rejected(Rejection { code: "component-invalid", .. })));
    let missing = order("hello", Digest([7; 32]), ReleaseStrategy::AllAtOnce);
    let missing = node.control.deploy(missing, note(), Arc::new(|_| {})).await.unwrap_err();
    assert!(matches!(missing, ControlError::ComponentMissing(_)));
    assert_eq!(node.control.state().revision(), Revision(0));
}

#[tokio::test]
async fn stale_revision_is_refused_before_and_after_preparing() {
    let node = Node::start().await;
    node.deploy("hello", b"1", ReleaseStrategy::AllAtOnce).await.unwrap();
    let at = |revision| Note { expected_revision: Some(Revision(revision)), ..note() };
    let error = node.control.rollback(name("hello"), live(), None, at(0)).await.unwrap_err();
    assert_eq!(error.to_string(), "`hello` is at revision 1, expected 0");

    let slow = node.upload(b"slow").await;
    let control = Arc::clone(&node.control);
    let order = order("hello", slow, ReleaseStrategy::AllAtOnce);
    let task = tokio::spawn(async move { control.deploy(order, at(1), Arc::new(|_| {})).await });
    node.host.preparing.subscribe().wait_for(|&preparing| preparing == 1).await.unwrap();
    node.deploy("hello", b"2", ReleaseStrategy::AllAtOnce).await.unwrap();
    node.host.go.notify_one();
    let error = task.await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "`hello` is at revision 2, expected 1");
}

#[tokio::test]
async fn changes_of_other_functions_are_no_conflict() {
    let node = Node::start().await;
    node.deploy("hello", b"1", ReleaseStrategy::AllAtOnce).await.unwrap();
    node.deploy("hello", b"2", ReleaseStrategy::AllAtOnce).await.unwrap();
    node.deploy("other", b"3", ReleaseStrategy::AllAtOnce).await.unwrap();
    let revision = |node: &Node| node.control.state().function(&name("hello")).unwrap().revision;
    assert_eq!(revision(&node), Revision(2));
    let at = |revision| Note { expected_revision: Some(Revision(revision)), ..note() };
    // Nobody has seen a revision that is not there yet, except before a restore.
    let error = node.control.rollback(name("hello"), live(), None, at(4)).await.unwrap_err();
    assert_eq!(error.to_string(), "`hello` is at revision 2, expected 4");
    // A revision of the node at which the function was as it is now is as good as its own.
    for expected in [2, 4] {
        node.control
            .rollback(name("hello"), live(), Some("v1".parse().unwrap()), at(expected))
            .await
            .unwrap();
        assert_eq!(
            node.restarted().await.control.state().function(&name("hello")).unwrap().revision,
            Revision(4)
        );
        assert_eq!(revision(&node), Revision(4));
    }
    let error = node.control.delete(name("hello"), at(3)).await.unwrap_err();
    assert!(matches!(error, ControlError::Conflict { found: Revision(4), .. }), "{error}");
    node.control.delete(name("hello"), at(4)).await.unwrap();
    // What is not there, or not any more, has been seen as that.
    assert_eq!(node.deploy("new", b"4", ReleaseStrategy::AllAtOnce).await.unwrap().version.number(), 1);
}

#[tokio::test]
async fn deployment_goes_on_when_the_caller_is_gone() {
    let node = Node::start().await;
    let slow = node.upload(b"slow").await;
    {
        let order = order("hello", slow, ReleaseStrategy::AllAtOnce);
        let mut deploy = std::pin::pin!(node.control.deploy(order, note(), Arc::new(|_| {})));
        let mut preparing = node.host.preparing.subscribe();
        tokio::select! {
            _ = deploy.as_mut() => panic!("it waits to be told to go on"),
            waiting = preparing.wait_for(|&preparing| preparing == 1) => drop(waiting),
        }
    }
    node.host.go.notify_one();
    while node.control.tables().load().revision() == Revision(0) {
        tokio::task::yield_now().await;
    }
    assert_eq!(&*node.stage("hello").stable().target, "hello v1");
}

#[tokio::test]
async fn deployments_beyond_the_bound_are_refused() {
    let node = Node::start().await;
    let slow = node.upload(b"slow").await;
    let mut waiting = Vec::new();
    for at in 0..DEPLOYMENTS_MAX {
        let control = Arc::clone(&node.control);
        let order = order(&format!("f{at}"), slow, ReleaseStrategy::AllAtOnce);
        waiting.push(tokio::spawn(async move { control.deploy(order, note(), Arc::new(|_| {})).await }));
    }
    while node.control.deployments.available_permits() > 0 {
        tokio::task::yield_now().await;
    }
    let refused = node.deploy("hello", b"1", ReleaseStrategy::AllAtOnce).await.unwrap_err();
    assert_eq!(refused.to_string(), "32 deployments are under way, expected at most 32");
    let mut preparing = node.host.preparing.subscribe();
    for at in 0..DEPLOYMENTS_MAX {
        preparing.wait_for(|&preparing| preparing > at).await.unwrap();
        node.host.go.notify_one();
    }
    for deployment in waiting {
        deployment.await.unwrap().unwrap();
    }
    node.deploy("hello", b"1", ReleaseStrategy::AllAtOnce).await.unwrap();
}

#[tokio::test]
async fn components_that_no_version_uses_are_removed() {
    let node = Node::start().await;
    node.deploy("hello", b"1", ReleaseStrategy::AllAtOnce).await.unwrap();
    node.deploy("hello", b"2", ReleaseStrategy::AllAtOnce).await.unwrap();
    node.deploy("other", b"2", ReleaseStrategy::AllAtOnce).await.unwrap();
    assert_eq!(node.components(), 2);
    node.control.delete(name("hello"), note()).await.unwrap();
    assert_eq!(node.components(), 1, "the other function uses the second");
    node.control.delete(name("other"), note()).await.unwrap();
    assert_eq!(node.components(), 0);
}

#[tokio::test]
async fn component_being_deployed_is_not_removed() {
    let node = Node::start().await;
    let slow = node.upload(b"slow").await;
    let deploy = |function| {
        let (control, order) = (Arc::clone(&node.control), order(function, slow, ReleaseStrategy::AllAtOnce));
        tokio::spawn(async move { control.deploy(order, note(), Arc::new(|_| {})).await })
    };
    let mut preparing = node.host.preparing.subscribe();
    let first = deploy("hello");
    preparing.wait_for(|&preparing| preparing == 1).await.unwrap();
    node.host.go.notify_one();
    first.await.unwrap().unwrap();
    let second = deploy("other");
    preparing.wait_for(|&preparing| preparing == 2).await.unwrap();
    node.control.delete(name("hello"), note()).await.unwrap();
    assert_eq!(node.components(), 1);
    node.host.go.notify_one();
    second.await.unwrap().unwrap();
}

#[tokio::test]
async fn uploads_that_were_never_deployed_are_removed_at_the_start() {
    let node = Node::start().await;
    node.deploy("hello", b"1", ReleaseStrategy::AllAtOnce).await.unwrap();
    node.upload(b"2").await;
    let again = node.restarted().await;
    assert_eq!(again.components(), 1);
}

#[tokio::test]
async fn commands_at_once_are_carried_out_one_after_the_other() {
    let node = Node::start().await;
    node.deploy("hello", b"1", ReleaseStrategy::AllAtOnce).await.unwrap();
    node.deploy("hello", b"2", canary()).await.unwrap();
    let command = |command| node.control.command(name("hello"), live(), command, note());
    let (paused, again) = tokio::join!(command(Command::Pause), command(Command::Pause));
    assert!(paused.is_ok() != again.is_ok(), "one pauses the rollout, the other finds it paused");
    assert_eq!(node.control.state().revision(), Revision(3));
}

#[tokio::test]
async fn table_of_before_places_nobody_on_a_canary_that_was_replaced() {
    let node = Node::start().await;
    node.deploy("hello", b"1", ReleaseStrategy::AllAtOnce).await.unwrap();
    node.deploy("hello", b"2", canary()).await.unwrap();
    let before = node.stage("hello");
    assert_eq!(choose(&before, None).version.no.number(), 2);
    let replace = Deploy { replace: true, ..order("hello", node.upload(b"3").await, canary()) };
    node.control.deploy(replace, note(), Arc::new(|_| {})).await.unwrap();
    let chosen = choose(&before, None);
    assert_eq!((chosen.version.no.number(), chosen.reason), (1, Reason::Withheld));
    assert_eq!(choose(&node.stage("hello"), None).version.no.number(), 3);
}

#[tokio::test]
async fn aborting_at_once_reaches_requests_that_began_under_an_earlier_gate() {
    let node = Node::start().await;
    node.deploy("hello", b"1", ReleaseStrategy::AllAtOnce).await.unwrap();
    node.deploy("hello", b"2", canary()).await.unwrap();
    let before = node.stage("hello");
    let recalled = choose(&before, None).version.hold().observer().unwrap().recalled();
    node.control.command(name("hello"), live(), Command::Promote, note()).await.unwrap();
    assert_eq!(choose(&before, None).reason, Reason::Draw);
    node.control.abort_now(name("hello"), live(), note()).await.unwrap();
    assert_eq!(choose(&before, None).reason, Reason::Withheld);
    assert!(recalled.now_or_never().is_some());
}

#[tokio::test(start_paused = true)]
async fn rollout_begins_when_it_is_planned_however_long_others_commit() {
    let node = Node::start().await;
    node.deploy("hello", b"1", ReleaseStrategy::AllAtOnce).await.unwrap();
    let slow = node.upload(b"slow").await;
    let writer = node.control.writer.lock().await;
    let control = Arc::clone(&node.control);
    let order = order("hello", slow, canary());
    let task = tokio::spawn(async move { control.deploy(order, note(), Arc::new(|_| {})).await });
    node.host.preparing.subscribe().wait_for(|&preparing| preparing == 1).await.unwrap();
    node.host.go.notify_one();
    tokio::task::yield_now().await;
    tokio::time::advance(Duration::from_secs(30)).await;
    let now_ms = node.control.clock.now_ms();
    drop(writer);
    let state = task.await.unwrap().unwrap().state;
    assert_eq!(state.rollout(&(name("hello"), live())).unwrap().started_ms, now_ms);
}

#[tokio::test]
async fn version_that_fails_whom_a_rule_places_on_it_is_aborted_before_its_switch() {
    let node = Node::start().await;
    node.deploy("hello", b"1", ReleaseStrategy::AllAtOnce).await.unwrap();
    node.deploy("hello", b"2", rollout_by(rollout::Strategy::BlueGreen)).await.unwrap();
    let stage = node.stage("hello");
    let canary = choose(&stage, Some(VersionRef::Canary)).version.hold();
    let trap = Trap { fingerprint: 7, backtrace: "unreachable".into() };
    let part =
        Assignment { side: Side::Canary, placement: Placement::Rule, user: None, fallback_after: None };
    let ended = InvocationRecord {
        outcome: Outcome::Trap,
        latency: Duration::from_millis(1),
        queue_wait: Duration::ZERO,
        memory_peak_bytes: 1,
    };
    // Nothing is known about stable, so half of twenty requests are too many failures.
    (0..20).for_each(|_| hear(canary.observer().unwrap(), &part, ended, Some(&trap)));
    let mut looks = 0;
    while node.control.state().rollout(&(name("hello"), live())).is_some() && looks < 100 {
        tokio::task::yield_now().await;
        looks += 1;
    }
    let state = node.control.state();
    let ended = &state.function(&name("hello")).unwrap().ended[&live()];
    assert_eq!(ended.outcome, crate::state::RolloutOutcome::Aborted);
    assert!(ended.reason.contains("20 of 20"), "{}", ended.reason);
}

#[tokio::test]
async fn nothing_is_changed_while_another_process_has_the_state() {
    let node = Node::start().await;
    node.deploy("hello", b"1", ReleaseStrategy::AllAtOnce).await.unwrap();
    node.control.hand_over().await;
    let refused = node.deploy("hello", b"2", ReleaseStrategy::AllAtOnce).await.unwrap_err();
    assert!(matches!(refused, ControlError::HandedOver), "{refused}");
    assert_eq!(node.stage("hello").stable().no.number(), 1);
    node.control.take_back().await.unwrap();
    node.deploy("hello", b"2", ReleaseStrategy::AllAtOnce).await.unwrap();
    assert_eq!(node.stage("hello").stable().no.number(), 2);
}

#[tokio::test]
async fn component_of_another_process_is_not_removed() {
    let node = Node::start().await;
    node.control.hand_over().await;
    let component = node.upload(b"1").await;
    node.control.discard(component).await;
    assert_eq!(node.components(), 1);
    node.control.take_back().await.unwrap();
    node.control.discard(component).await;
    assert_eq!(node.components(), 0);
}

#[tokio::test]
async fn what_another_process_changed_is_published_when_the_state_comes_back() {
    let node = Node::start().await;
    node.deploy("hello", b"1", ReleaseStrategy::AllAtOnce).await.unwrap();
    node.deploy("gone", b"1", ReleaseStrategy::AllAtOnce).await.unwrap();
    let tables = node.control.tables();
    node.control.hand_over().await;
    let other = node.restarted().await;
    other.deploy("hello", b"2", canary()).await.unwrap();
    other.control.delete(name("gone"), note()).await.unwrap();
    drop(other);

    node.control.take_back().await.unwrap();
    assert_eq!(tables.load().revision(), Revision(4));
    assert!(tables.load().find(None, "/gone").is_none());
    // The rollout has an analysis here, and continues from its state.
    node.control.command(name("hello"), live(), Command::Promote, note()).await.unwrap();
    assert_eq!(node.stage("hello").stable().no.number(), 2);
    assert_eq!(node.control.verify_journal(None).await.unwrap().revision, Revision(5));
}

#[tokio::test]
async fn tallies_go_on_when_the_state_comes_back_as_it_was() {
    let node = Node::start().await;
    node.deploy("hello", b"1", ReleaseStrategy::AllAtOnce).await.unwrap();
    let before = node.stage("hello");
    node.control.hand_over().await;
    node.control.take_back().await.unwrap();
    assert!(Arc::ptr_eq(&before, &node.stage("hello")), "the table was built anew");
}
