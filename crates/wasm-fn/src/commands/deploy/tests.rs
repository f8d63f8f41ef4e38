//! Which commands are proposed after a deployment.

use wasm_fn_control::wire;

use super::{next, strategy};
use crate::args::DeployStrategy;

fn result() -> wire::DeployResult {
    let share = |version: &str, weight: &str| wire::Share { version: version.into(), weight: weight.into() };
    wire::DeployResult {
        function: "hello".to_owned(),
        stage: "live".to_owned(),
        version: "v2".to_owned(),
        kind: "wasi:http 0.2".to_owned(),
        unchanged: false,
        first: false,
        split: vec![share("v2", "100%")],
        rollout: None,
        routes: vec!["/hello/*".to_owned()],
        revision: 3,
    }
}

fn commands(result: &wire::DeployResult) -> Vec<String> {
    next(result, "127.0.0.1:8080").into_iter().map(|(command, _)| command).collect()
}

#[test]
fn a_version_that_is_live_is_called_and_watched() {
    let live = ["curl http://127.0.0.1:8080/hello", "wasm-fn status hello -w", "wasm-fn rollback hello"];
    assert_eq!(commands(&result()), live);
    assert_eq!(commands(&wire::DeployResult { first: true, ..result() }), live[..2]);
}

#[test]
fn a_rollout_is_watched_and_ended() {
    let rollout = wire::Rollout {
        stable: "v1".to_owned(),
        canary: "v2".to_owned(),
        weight: "10%".to_owned(),
        strategy: wire::Strategy::Canary { weight: "10%".to_owned() },
        started_ms: 0,
        from_split: vec![],
    };
    let rollout = wire::DeployResult { stage: "staging".to_owned(), rollout: Some(rollout), ..result() };
    let expected =
        ["wasm-fn status hello -w", "wasm-fn promote hello -s staging", "wasm-fn abort hello -s staging"];
    assert_eq!(commands(&rollout), expected);
}

#[test]
fn a_version_without_traffic_is_asked_for() {
    let waiting = wire::DeployResult { split: vec![], ..result() };
    let expected = ["wasm-fn invoke hello --version v2", "wasm-fn traffic hello v2=100%"];
    assert_eq!(commands(&waiting), expected);
}

#[test]
fn all_at_once_is_the_default() {
    assert_eq!(strategy(&DeployStrategy::default()), wire::Strategy::AllAtOnce);
    let canary = DeployStrategy { canary: "5%".parse().ok(), ..DeployStrategy::default() };
    assert_eq!(strategy(&canary), wire::Strategy::Canary { weight: "5%".to_owned() });
    let blue_green = DeployStrategy { blue_green: true, ..DeployStrategy::default() };
    assert_eq!(strategy(&blue_green), wire::Strategy::BlueGreen);
    let no_traffic = DeployStrategy { no_traffic: true, ..DeployStrategy::default() };
    assert_eq!(strategy(&no_traffic), wire::Strategy::NoTraffic);
}
