//! The commands proposed after a deployment.

use wasm_fn_api as api;
use wasm_fn_core::Scheme;

use super::{DataAddress, next};

fn result() -> api::DeployResult {
    let share =
        |version: &str, weight: &str| api::SplitShare { version: version.into(), weight: weight.into() };
    api::DeployResult {
        proposal: None,
        function: "hello".to_owned(),
        stage: "live".to_owned(),
        version: "v2".to_owned(),
        kind: "wasi:http 0.2".to_owned(),
        unchanged: false,
        first: false,
        optimising: false,
        split: vec![share("v2", "100%")],
        rollout: None,
        routes: vec!["/hello/*".to_owned()],
        pending: vec![],
        growth: vec![],
        needs_approval: false,
        revision: 3,
    }
}

fn at(authority: &str) -> DataAddress {
    DataAddress { scheme: Scheme::Http, authority: authority.to_owned() }
}

fn commands(result: &api::DeployResult) -> Vec<String> {
    next(result, &at("127.0.0.1:8080")).into_iter().map(|(command, _)| command).collect()
}

#[test]
fn a_version_that_is_live_is_called_and_watched() {
    let live = ["curl http://127.0.0.1:8080/hello", "wasm-fn status hello -w", "wasm-fn rollback hello"];
    assert_eq!(commands(&result()), live);
    assert_eq!(commands(&api::DeployResult { first: true, ..result() }), live[..2]);
}

fn rollout(strategy: api::StrategySpec, phase: &str, steps: &[&str]) -> api::DeployResult {
    let rollout = api::RolloutView {
        stable: "v1".to_owned(),
        canary: "v2".to_owned(),
        weight: "10%".to_owned(),
        strategy,
        started_ms: 0,
        from_split: vec![],
        phase: phase.to_owned(),
        step: (!steps.is_empty()).then_some(1),
        steps: steps.iter().map(|&step| step.to_owned()).collect(),
        lasted_ms: 0,
        lasts_ms: 60_000,
        reason: None,
        gate: None,
        provenance: None,
    };
    api::DeployResult { stage: "staging".to_owned(), rollout: Some(rollout), ..result() }
}

#[test]
fn a_rollout_is_watched_moved_and_ended() {
    let canary = rollout(api::StrategySpec::Canary { steps: vec![] }, "progressing", &["1%", "10%", "100%"]);
    let expected = [
        "wasm-fn status hello -w",
        "wasm-fn preview hello -s staging --version v2",
        "wasm-fn promote hello -s staging",
        "wasm-fn abort hello -s staging",
    ];
    assert_eq!(commands(&canary), expected);
    assert_eq!(next(&canary, &at("x"))[2].1, "to the next step without waiting");
    let one = rollout(api::StrategySpec::Canary { steps: vec![] }, "progressing", &["10%", "100%"]);
    assert_eq!(next(&one, &at("x"))[2].1, "all traffic to the canary");
}

#[test]
fn a_green_version_is_called_before_the_switch() {
    let green = rollout(api::StrategySpec::BlueGreen, "checking", &[]);
    let expected = [
        "wasm-fn invoke hello -s staging --version v2",
        "wasm-fn preview hello -s staging --version v2",
        "wasm-fn status hello -w",
        "wasm-fn promote hello -s staging",
        "wasm-fn abort hello -s staging",
    ];
    assert_eq!(commands(&green), expected);
}

#[test]
fn a_version_that_everybody_has_is_watched_and_taken_back() {
    let all = rollout(api::StrategySpec::AllAtOnce, "watching", &[]);
    let expected =
        ["curl http://127.0.0.1:8080/hello", "wasm-fn status hello -w", "wasm-fn rollback hello -s staging"];
    assert_eq!(commands(&all), expected);
}

#[test]
fn a_version_without_traffic_is_asked_for() {
    let on_v1 = vec![api::SplitShare { version: "v1".to_owned(), weight: "100%".to_owned() }];
    let waiting = api::DeployResult { split: on_v1.clone(), ..result() };
    let expected = ["wasm-fn invoke hello --version v2", "wasm-fn traffic hello v2=100%"];
    assert_eq!(commands(&waiting), expected);
    // Nothing reaches a stage without traffic.
    let nowhere = api::DeployResult { split: vec![], ..result() };
    assert_eq!(commands(&nowhere), expected[1..]);
    // The rollout of another version is in the way.
    let canary = rollout(api::StrategySpec::Canary { steps: vec![] }, "progressing", &["10%", "100%"]);
    let beside = api::DeployResult { version: "v3".to_owned(), split: on_v1, ..canary };
    let expected = ["wasm-fn invoke hello -s staging --version v3", "wasm-fn status hello -w"];
    assert_eq!(commands(&beside), expected);
}
