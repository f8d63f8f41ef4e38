//! A rolling upgrade: each node of a cluster is handed over to a new process, under load and in a rollout.

use std::sync::{Arc, atomic::Ordering};

use http::Method;
use serde_json::{Value, json};

use super::{Calls, Upgraded, keep_calling};
use crate::{
    clustered::Cluster,
    harness::{guests, patiently},
};

/// How long each step of the rollout takes at least.
const STEP_MS: u64 = 4_000;

/// By how much the time stamps of two processes may differ: each reads the clock of the machine once, and
/// counts from there.
const SKEW_MS: u64 = 200;

#[tokio::test]
async fn nodes_are_upgraded_one_after_the_other_and_no_request_or_step_is_lost() {
    let test = "nodes_are_upgraded_one_after_the_other_and_no_request_or_step_is_lost";
    let Some(cluster) = Cluster::on_three(test).await else { return };
    let mut nodes = Vec::new();
    for name in ["a", "b", "c"] {
        let args = cluster.args(name);
        nodes.push(Upgraded::start(&args.iter().map(String::as_str).collect::<Vec<_>>()).await);
    }
    for upgraded in &nodes {
        upgraded.node.in_cluster("nodes that know each other", |view| ready(view) == 3).await;
    }
    nodes[0].node.deploy_with("hello", "hello-v1", json!({})).await;
    for upgraded in &nodes {
        upgraded.node.has_state_of(&nodes[0].node).await;
        let answered = async { while upgraded.node.http.get("/hello").await.status != 200 {} };
        patiently("the first version", answered).await;
    }
    let calls = Arc::new(Calls::default());
    let callers: Vec<_> = (0..9)
        .map(|n| {
            let (calls, address) = (Arc::clone(&calls), nodes[n % 3].node.listen);
            tokio::spawn(async move { keep_calling(&calls, address, "/hello", n % 2 == 0).await })
        })
        .collect();
    let strategy = json!({ "name": "canary", "steps": ["20%", "40%", "60%", "80%"] });
    let component = nodes[0].node.upload(guests::bytes("hello-v2")).await;
    let body = json!({
        "component": component, "config": {}, "strategy": strategy, "gate": { "min_requests": 20 },
        "rollout": { "step_min_ms": STEP_MS, "watch_ms": 1000 }, "allow_new": true,
    });
    let path = "/v1/functions/hello/deployments";
    nodes[0].node.api_ok(Method::POST, path, Some(&body)).await;
    for at in 0..nodes.len() {
        nodes[at].swap().await;
        let others: Vec<_> = (0..nodes.len()).filter(|&other| other != at).collect();
        for other in others {
            nodes[other].node.in_cluster("a node that is ready again", |view| ready(view) == 3).await;
        }
    }
    let node = &nodes[0].node;
    patiently("the end of the rollout", async { while !node.live("hello").await["rollout"].is_null() {} })
        .await;
    calls.enough.store(true, Ordering::Relaxed);
    let mut failed = Vec::new();
    for caller in callers {
        failed.extend(patiently("a caller", caller).await.unwrap().err());
    }
    let (answered, _) = *calls.told.borrow();
    assert_eq!(failed, Vec::<String>::new(), "of {answered}: {}", node.process().log());
    assert_eq!(node.live("hello").await["stable"], "v2");
    let history = node.api_ok(Method::GET, "/v1/functions/hello/history", None).await;
    let mut entries = history["entries"].as_array().unwrap().clone();
    entries.reverse();
    let actions: Vec<_> = entries.iter().map(|entry| entry["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["deploy", "deploy", "step", "step", "step", "promote", "settle"]);
    let at = |entry: &Value| entry["at_ms"].as_u64().unwrap();
    for pair in entries[1..6].windows(2) {
        let took = at(&pair[1]) - at(&pair[0]);
        assert!(took + SKEW_MS >= STEP_MS, "no step is shortened: {took} ms, {pair:?}");
    }
    println!("{answered} answers, and three nodes handed over");
    for upgraded in nodes {
        let node = upgraded.end().await;
        assert!(!node.process().log().contains("connections were cut"), "{}", node.process().log());
    }
}

/// How many nodes are ready, as far as the node that was asked has heard in the last seconds.
fn ready(view: &Value) -> usize {
    let nodes = view["nodes"].as_array().unwrap().iter();
    let names: std::collections::BTreeSet<_> = nodes
        .filter(|node| node["ready"] == true && node["heard_ms"].as_u64().is_some_and(|ms| ms < 3000))
        .map(|node| node["name"].as_str().unwrap())
        .collect();
    names.len()
}
