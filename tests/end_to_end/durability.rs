//! What is left after a node was killed, and how soon it serves again.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::harness::{Node, guests, patiently};

/// Longest time from a start, or a deployment, to the first answer; it is far less where nothing else runs.
const FIRST_ANSWER_MAX: Duration = Duration::from_secs(5);

/// What the API tells of `function`, without what is counted anew after each start.
async fn told(node: &Node, function: &str) -> Value {
    let mut live = node.live(function).await;
    for version in live["versions"].as_array_mut().unwrap() {
        version.as_object_mut().unwrap().remove("tally");
    }
    if let Some(rollout) = live["rollout"].as_object_mut() {
        rollout.remove("lasted_ms");
    }
    live
}

/// The versions that answer a hundred keys.
async fn placed(node: &Node) -> Vec<String> {
    let mut versions = Vec::new();
    for key in 0..100 {
        let answer = node.http.get_as("/hello", &[("wasm-fn-key", &format!("user-{key}"))]).await;
        versions.push(answer.ok().version().to_owned());
    }
    versions
}

#[tokio::test]
async fn killed_node_serves_the_same_table_again() {
    let node = Node::start().await;
    node.hello_canary("30%", json!({})).await;
    node.deploy("echo").await;
    let (revision, hello, echo, places) =
        (node.revision().await, told(&node, "hello").await, told(&node, "echo").await, placed(&node).await);
    let history = node.api_ok(http::Method::GET, "/v1/functions/hello/history", None).await;
    let token = node.token.clone();

    let node = Node::start_on(node.kill().await, &[]).await;
    assert_eq!(node.revision().await, revision);
    assert_eq!(told(&node, "hello").await, hello);
    assert_eq!(told(&node, "echo").await, echo);
    assert_eq!(placed(&node).await, places, "users moved to other versions");
    assert_eq!(node.api_ok(http::Method::GET, "/v1/functions/hello/history", None).await, history);
    assert_eq!(node.token, token);
    // And it goes on from there.
    node.split_hello(&[("v2", "100%")]).await;
    assert_eq!(node.revision().await, revision + 1);
}

#[tokio::test]
async fn change_that_was_answered_survives_a_kill_at_once() {
    let mut folder = {
        let node = Node::start().await;
        node.hello_canary("10%", json!({})).await;
        node.kill().await
    };
    for weight in ["20%", "30%", "40%"] {
        let node = Node::start_on(folder, &[]).await;
        let rest = format!("{}%", 100 - weight.trim_end_matches('%').parse::<u32>().unwrap());
        node.split_hello(&[("v2", weight), ("v1", &rest)]).await;
        folder = node.kill().await;
        let node = Node::start_on(folder, &[]).await;
        assert_eq!(node.live("hello").await["rollout"]["weight"], weight);
        folder = node.kill().await;
    }
}

#[tokio::test]
async fn deployment_that_a_kill_interrupts_is_there_wholly_or_not_at_all() {
    let node = Node::start().await;
    node.deploy_with("hello", "hello-v1", json!({})).await;
    let file = guests::path("hello-p3");
    let args = ["deploy", file.to_str().unwrap(), "-f", "hello"];
    let mut deploying =
        crate::harness::Process::spawn(node.command(&args).stdout(std::process::Stdio::null()));
    // Its first word, wherever in its work it is then.
    let begun = deploying.line("the deployment to say something", |line| (!line.is_empty()).then_some(()));
    begun.await;
    let folder = node.kill().await;
    let interrupted = !deploying.ended().await.success();

    let node = Node::start_on(folder, &[]).await;
    let live = node.live("hello").await;
    let answer = node.http.get("/hello").await.ok();
    assert_eq!(live["stable"], answer.version(), "{live}");
    assert!(interrupted || answer.version() == "v2", "it was answered, and is not there");
    node.cli_ok(&args).await;
    assert_eq!(node.http.get("/hello").await.ok().version(), "v2");
}

#[tokio::test]
async fn hundred_functions_are_served_soon_after_a_start() {
    let node = Node::start().await;
    let component = node.upload(guests::bytes("hello-v1")).await;
    for n in 0..100 {
        let body = json!({ "component": component, "config": { "env": { "N": n.to_string() } } });
        node.api_ok(http::Method::POST, &format!("/v1/functions/f{n}/deployments"), Some(&body)).await;
    }
    let folder = node.kill().await;

    let begun = Instant::now();
    let node = Node::start_on(folder, &[]).await;
    let ready = begun.elapsed();
    node.http.get("/f57").await.ok();
    let answered = begun.elapsed();
    for n in 0..100 {
        assert_eq!(node.http.get(&format!("/f{n}")).await.ok().text(), "hello from v1\n");
    }
    let all = begun.elapsed();
    println!("restart with 100 functions: ready after {ready:?}, first answer {answered:?}, all {all:?}");
    assert!(answered < FIRST_ANSWER_MAX, "first answer after {answered:?}");
}

#[tokio::test]
async fn new_version_answers_soon_after_its_deployment_begins() {
    let node = Node::start().await;
    node.deploy_with("hello", "hello-v1", json!({})).await;
    let file = guests::path("hello-v2");
    let begun = Instant::now();
    node.cli_ok(&["deploy", file.to_str().unwrap(), "-f", "hello"]).await;
    let deployed = begun.elapsed();
    let answer = patiently("the new version", node.http.get("/hello")).await.ok();
    let answered = begun.elapsed();
    assert_eq!(answer.version(), "v2", "the old version answered after the deployment");
    println!("deployment took {deployed:?}, first answer by the new version after {answered:?}");
    assert!(answered < FIRST_ANSWER_MAX, "first answer after {answered:?}");
}
