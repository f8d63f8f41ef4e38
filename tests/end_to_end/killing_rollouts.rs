//! A node that is killed at random points of deployments and rollouts: afterwards, it is at the last change
//! that was acknowledged, or at the one that was under way; the journal proves itself; and who is sent where
//! is what the state says, by the code of that version.
//!
//! `WASM_FN_TEST_KILLS` sets how many kills; the seed is printed and can be set as `WASM_FN_TEST_SEED`.

use std::{collections::BTreeMap, time::Duration};

use http::{Method, StatusCode};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use serde_json::{Value, json};

use crate::harness::{Node, guests};

/// Kills of an ordinary run.
const KILLS: u32 = 12;

/// Longest time from the node's readiness to its death.
const LIFE_MAX_US: u64 = 1_500_000;

/// Functions that are changed.
const FUNCTIONS: [&str; 3] = ["a", "b", "c"];

/// What guests answer, by the digest of their component.
type Texts = BTreeMap<String, &'static str>;

/// What is known of the node's state.
struct Known {
    /// The newest revision that an answer has told.
    revision: u64,
    /// Commands that were answered.
    answered: u32,
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

async fn upload(node: &Node) -> Texts {
    let mut texts = Texts::new();
    for (guest, text) in [("hello-v1", "hello from v1\n"), ("hello-v2", "hello from v2\n")] {
        texts.insert(node.upload(guests::bytes(guest)).await, text);
    }
    texts
}

/// One random command. It may be refused, if the function has no rollout or no past.
async fn step(node: &Node, known: &mut Known, random: &mut StdRng, texts: &Texts) {
    let function = format!("/v1/functions/{}", FUNCTIONS[random.random_range(0..FUNCTIONS.len())]);
    let component = texts.keys().nth(random.random_range(0..texts.len())).expect("there are two");
    let strategies = [
        json!({ "name": "all-at-once" }),
        json!({ "name": "canary", "steps": ["10%", "50%"] }),
        json!({ "name": "blue-green" }),
    ];
    let (method, path, body) = match random.random_range(0..10) {
        0 => (Method::POST, "/promote", json!({})),
        1 => (Method::POST, "/abort", json!({ "now": true })),
        2 => (Method::POST, "/rollback", json!({})),
        3 => (Method::POST, "/pause", json!({})),
        4 => (Method::DELETE, "", json!({})),
        _ => {
            let body = json!({
                "component": component,
                "config": { "env": { "N": random.random::<u32>().to_string() } },
                "strategy": strategies[random.random_range(0..3)],
                "replace": true,
            });
            (Method::POST, "/deployments", body)
        }
    };
    let answer = node.api_as(Some(&node.token), method, &format!("{function}{path}"), Some(&body)).await;
    assert!(!answer.status.is_server_error(), "{path} {body}: {answer:?}");
    known.answered += 1;
    if answer.status == StatusCode::OK {
        known.revision = known.revision.max(node.revision().await);
    }
}

/// Checks the node against what is known, and its answers against its state.
async fn check(node: &Node, known: &mut Known, texts: &Texts) {
    let revision = node.revision().await;
    assert!(revision >= known.revision, "at revision {revision}, {} was acknowledged", known.revision);
    known.revision = revision;
    node.cli_ok(&["audit", "verify"]).await;
    for function in FUNCTIONS {
        let path = format!("/v1/functions/{function}");
        let answer = node.api_as(Some(&node.token), Method::GET, &path, None).await;
        let response = node.http.get(&format!("/{function}")).await;
        if answer.status == StatusCode::NOT_FOUND {
            response.problem(404, "no-such-function");
            continue;
        }
        let versions = node.api_ok(Method::GET, &format!("{path}/versions"), None).await;
        let status: Value = serde_json::from_slice(&answer.body).expect("the API answers JSON");
        let response = response.ok();
        let live = &status["stages"][0];
        let placed = live["versions"].as_array().into_iter().flatten();
        assert!(
            placed.clone().any(|version| version["version"] == response.version()),
            "{} answered, which is not placed: {live}",
            response.version()
        );
        let version = versions["versions"].as_array().into_iter().flatten();
        let version = version.clone().find(|version| version["version"] == response.version());
        let component = version.and_then(|version| version["component"].as_str()).expect("it is listed");
        assert_eq!(response.text(), texts[component], "{} has the code of another", response.version());
    }
}

#[tokio::test]
async fn node_killed_in_a_deployment_or_a_rollout_is_at_one_of_its_ends() {
    let seed = setting("WASM_FN_TEST_SEED", rand::random());
    let kills = setting("WASM_FN_TEST_KILLS", u64::from(KILLS));
    println!("WASM_FN_TEST_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let node = Node::start().await;
    // Once they are compiled, a deployment is quick enough to be finished before the node dies.
    for (function, guest) in [("a", "hello-v1"), ("b", "hello-v2")] {
        node.deploy_with(function, guest, json!({})).await;
    }
    let first = node.revision().await;
    let mut known = Known { revision: first, answered: 0 };
    let mut folder = node.kill().await;
    for _ in 0..kills {
        let node = Node::start_on(folder, &[]).await;
        // A start removes components that no version uses.
        let texts = upload(&node).await;
        check(&node, &mut known, &texts).await;
        let life = Duration::from_micros(random.random_range(0..LIFE_MAX_US));
        let mut work = StdRng::seed_from_u64(random.random());
        let working = async {
            loop {
                step(&node, &mut known, &mut work, &texts).await;
            }
        };
        // The moment of its death is what this test draws; nothing waits for it.
        let _ = tokio::time::timeout(life, working).await;
        folder = node.kill().await;
    }
    let node = Node::start_on(folder, &[]).await;
    let texts = upload(&node).await;
    check(&node, &mut known, &texts).await;
    println!("{kills} kills, {} commands answered, revision {}", known.answered, known.revision);
    assert!(known.revision > first, "something was done before the node died");
}
