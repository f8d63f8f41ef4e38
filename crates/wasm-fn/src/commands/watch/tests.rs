//! Watching a rollout to its end, including while the node is unreachable.

use std::{collections::VecDeque, time::Duration};

use wasm_fn_api::{
    DeployResult, EndedRolloutView, FunctionStatus, Problem, RolloutChange, RolloutOutcomeView, RolloutView,
    StageStatus,
};
use wasm_fn_core::Scheme;

use super::{
    For, Watcher, code, deploy,
    seen::tests::{ended, rollout},
};
use crate::{
    args::{self, Format},
    client::{Client, ClientError},
    config::{Connection, NodeAddress},
    fault::{Fault, ROLLED_BACK},
    output::Output,
};

fn status(rollout: Option<RolloutView>, last_rollout: Option<EndedRolloutView>) -> FunctionStatus {
    let stage = StageStatus {
        stage: "live".to_owned(),
        stable: "v1".to_owned(),
        previous: None,
        split: vec![],
        rollout,
        last_rollout,
        routes: vec![],
        preview: "off".to_owned(),
        sticky: "none".to_owned(),
        versions: vec![],
    };
    FunctionStatus {
        function: "hello".to_owned(),
        revision: 1,
        latest: "v2".to_owned(),
        stages: vec![stage],
        proposals: vec![],
        nodes: vec![],
    }
}

fn refusal(status: u16) -> ClientError {
    ClientError::Refused(Box::new(Problem {
        title: "no".to_owned(),
        status,
        detail: "not now".to_owned(),
        code: "x".to_owned(),
        help: None,
        revision: None,
    }))
}

fn unreachable() -> ClientError {
    let node = NodeAddress { scheme: Scheme::Http, authority: "127.0.0.1:1".parse().unwrap() };
    ClientError::Unreachable { node, cause: "refused".to_owned() }
}

/// Watches a rollout of v2 that began at 5 on a node that sends `answers`; fails if they are not enough.
async fn watch(who: For, answers: Vec<Result<FunctionStatus, ClientError>>) -> Result<RolloutChange, Fault> {
    let mut watcher = Watcher::new("hello", who.clone(), Output::new(Format::Table), None);
    if let For::Deploy { stage } = &who {
        watcher.begin(stage, &rollout("v2", 5))?;
    }
    let mut answers = VecDeque::from(answers);
    let ask = async || answers.pop_front().unwrap_or_else(|| Err(refusal(404)));
    watcher.follow(ask, Duration::from_millis(1)).await
}

fn live() -> For {
    For::Deploy { stage: "live".to_owned() }
}

fn under_way() -> Result<FunctionStatus, ClientError> {
    Ok(status(Some(rollout("v2", 5)), None))
}

fn over(outcome: RolloutOutcomeView) -> Result<FunctionStatus, ClientError> {
    Ok(status(None, Some(ended("v2", 5, outcome))))
}

#[tokio::test]
async fn waiting_ends_with_the_rollout() {
    for outcome in [RolloutOutcomeView::Promoted, RolloutOutcomeView::Aborted, RolloutOutcomeView::RolledBack]
    {
        let end = watch(live(), vec![under_way(), over(outcome)]).await.unwrap();
        assert!(matches!(end, RolloutChange::Ended { outcome: found, .. } if found == outcome), "{end:?}");
        // A rollout may end before the first poll.
        assert!(watch(live(), vec![over(outcome)]).await.is_ok());
    }
}

#[tokio::test]
async fn a_node_that_goes_away_is_waited_for() {
    let away = [Err(unreachable()), under_way(), Err(refusal(503)), Err(unreachable())];
    let answers = away.into_iter().chain([over(RolloutOutcomeView::Promoted)]).collect();
    assert!(watch(live(), answers).await.is_ok());
}

#[tokio::test]
async fn a_function_that_is_gone_is_an_error() {
    let error = watch(live(), vec![under_way(), Err(refusal(404))]).await.unwrap_err();
    assert!(matches!(error, Fault::Told(told) if told.status == Some(404)));
}

#[tokio::test]
async fn a_stage_that_is_gone_is_no_success() {
    let nowhere = FunctionStatus { stages: vec![], ..status(None, None) };
    let end = watch(live(), vec![Ok(nowhere)]).await.unwrap();
    assert_eq!(end, RolloutChange::Gone { canary: "v2".to_owned() });
    let mut watcher = Watcher::new("hello", live(), Output::new(Format::Table), None);
    assert!(matches!(watcher.ended("live", &end), Err(Fault::Told(told)) if told.code == "rollout-gone"));
}

#[tokio::test]
async fn a_status_is_not_waited_for_before_the_node_was_there() {
    let error = watch(For::Status, vec![Err(unreachable()), under_way()]).await.unwrap_err();
    assert!(matches!(error, Fault::Told(told) if told.code == "unreachable"));
}

#[test]
fn exit_codes_are_those_of_the_help() {
    assert_eq!(code(RolloutOutcomeView::Promoted), 0);
    assert_eq!(code(RolloutOutcomeView::Aborted), ROLLED_BACK);
    assert_eq!(code(RolloutOutcomeView::RolledBack), 2);
    let mut watcher = Watcher::new("hello", live(), Output::new(Format::Json), None);
    assert!(matches!(watcher.inconclusive("live", "v2", "timeout"), Ok(3)));
}

/// Waits a short time for a deployment of v2 on a node that never answers.
async fn wait(rollout: Option<RolloutView>) -> Result<u8, Fault> {
    let (server, token) = ("127.0.0.1:1".to_owned(), Some("x".to_owned()));
    let args = args::Connection {
        server,
        token,
        data_dir: "".into(),
        ca: None,
        cert: None,
        key: None,
        at_least_revision: None,
        output: Format::Table,
    };
    let client = Client::new(Connection::resolve(&args)?);
    let result = DeployResult {
        proposal: None,
        needs_approval: false,
        function: "hello".to_owned(),
        stage: "live".to_owned(),
        version: "v2".to_owned(),
        kind: "cgi".to_owned(),
        unchanged: false,
        first: rollout.is_none(),
        optimising: false,
        split: vec![],
        rollout,
        routes: vec![],
        pending: vec![],
        growth: vec![],
        revision: 1,
    };
    deploy(&client, &result, Duration::from_millis(20), Output::new(Format::Table)).await
}

#[tokio::test]
async fn the_timeout_leaves_a_rollout_inconclusive_even_when_the_node_is_away() {
    assert!(matches!(wait(Some(rollout("v2", 5))).await, Ok(3)));
}

#[tokio::test]
async fn without_a_rollout_of_its_own_a_deployment_is_done_at_once() {
    assert!(matches!(wait(None).await, Ok(0)));
    // A version without traffic, during another version's rollout.
    assert!(matches!(wait(Some(rollout("v7", 5))).await, Ok(0)));
}
