//! Deployments in a cluster: a component is sent once, whichever node is asked, and compiled once, and a
//! version may get traffic before every node is ready.

use http::{Method, StatusCode};
use rustix::process::Signal;
use serde_json::json;

use super::{Cluster, figures::large_module, half, held};
use crate::harness::{Folder, Node, guests, patiently};

#[tokio::test]
async fn component_that_one_node_took_need_not_be_sent_to_another() {
    let test = "component_that_one_node_took_need_not_be_sent_to_another";
    let Some(cluster) = Cluster::on_one(test).await else { return };
    let [a, b, c] = cluster.nodes().await;
    let component = a.upload(guests::bytes("hello-v1")).await;
    let head = b.api(Method::HEAD, &format!("/v1/components/{component}"), None).await;
    assert_eq!(head.status, StatusCode::OK, "it was sent to another node");
    let body = json!({ "component": component, "config": {}, "allow_new": true });
    c.api_ok(Method::POST, "/v1/functions/hello/deployments", Some(&body)).await;
    for node in [&a, &b, &c] {
        node.has_state_of(&c).await;
        patiently("the version", async { while node.http.get("/hello").await.status != 200 {} }).await;
    }
    let unknown = "0".repeat(64);
    let head = b.api(Method::HEAD, &format!("/v1/components/{unknown}"), None).await;
    assert_eq!(head.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn nodes_take_the_native_code_of_another_if_it_is_for_their_engine() {
    let test = "nodes_take_the_native_code_of_another_if_it_is_for_their_engine";
    let Some(cluster) = Cluster::on_one(test).await else { return };
    let [a, b] = cluster.nodes().await;
    // What is linked otherwise is other code.
    let args = [cluster.args("c"), ["--link-components", "off"].map(str::to_owned).to_vec()].concat();
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    let c = Node::start_on(Folder::new(), &args).await;
    a.in_cluster("three nodes", |view| {
        let nodes = view["nodes"].as_array().unwrap();
        nodes.len() == 3 && nodes.iter().all(|node| node["ready"] == true)
    })
    .await;
    a.deploy_with("hello", "hello-v1", json!({})).await;
    let component = a.upload(guests::bytes("hello-v1")).await;
    let is_compiled = |line: &str| line.contains(&component) && line.contains("component was compiled");
    for node in [&a, &c] {
        node.process().line("a compilation", |line| is_compiled(line).then_some(())).await;
    }
    let reason = "it is for another engine or processor";
    let is_not_taken = |line: &str| line.contains(&component) && line.contains(reason);
    c.process().line("why it compiles", |line| is_not_taken(line).then_some(())).await;
    for node in [&b, &c] {
        node.has_state_of(&a).await;
        patiently("the version", async {
            while node.http.get("/hello").await.text() != "hello from v1\n" {}
        })
        .await;
    }
    let log = b.process().log();
    assert!(!log.lines().any(|line| is_compiled(line) || is_not_taken(line)), "{log}");
}

#[tokio::test]
async fn version_gets_traffic_when_enough_nodes_are_ready_and_the_others_serve_stable() {
    let test = "version_gets_traffic_when_enough_nodes_are_ready_and_the_others_serve_stable";
    let Some(cluster) = Cluster::on_one(test).await else { return };
    let [a, b, c] = cluster.nodes().await;
    a.deploy_with("hello", "hello-v1", json!({})).await;
    for node in [&b, &c] {
        node.has_state_of(&a).await;
        patiently("the version", async { while node.http.get("/hello").await.status != 200 {} }).await;
    }
    // It is there, and does not get on with anything.
    c.process().signal(Signal::STOP);
    let component = a.upload(guests::bytes("hello-v2")).await;
    let body = json!({
        "component": component, "config": {}, "strategy": half(), "rollout": held(), "allow_new": true,
        "prepared": "60%",
    });
    a.api_ok(Method::POST, "/v1/functions/hello/deployments", Some(&body)).await;
    b.has_state_of(&a).await;
    assert!(a.canaries(40).await > 0 && b.canaries(40).await > 0);
    c.process().signal(Signal::CONT);
    c.has_state_of(&a).await;
    // No request waits for what is not there, and none fails.
    patiently("a canary on the last node", async { while c.canaries(1).await == 0 {} }).await;
    let body = json!({ "component": component, "config": {}, "prepared": "110%" });
    let refused = a.api(Method::POST, "/v1/functions/hello/deployments", Some(&body)).await;
    assert!(refused.text().contains("weight 110% is over 100%"), "{}", refused.text());
}

#[tokio::test]
async fn first_version_of_a_large_component_is_compiled_by_one_node_for_all() {
    let test = "first_version_of_a_large_component_is_compiled_by_one_node_for_all";
    let Some(cluster) = Cluster::on_one(test).await else { return };
    let nodes: [_; 3] = cluster.nodes().await;
    // A node that is alone would begin with code of one pass.
    let component = nodes[0].upload(large_module(1200 << 10)).await;
    let body = json!({ "component": component, "config": {}, "allow_new": true });
    nodes[0].api_ok(Method::POST, "/v1/functions/hello/deployments", Some(&body)).await;
    for node in &nodes {
        node.has_state_of(&nodes[0]).await;
        let answer = node.http.get("/hello").await;
        assert_eq!((answer.status, answer.text().as_str()), (StatusCode::OK, "large\n"), "at once");
    }
    let compiled = |line: &&str| line.contains("component was compiled") && line.contains(&component);
    let counts = nodes.each_ref().map(|node| node.process().log().lines().filter(compiled).count());
    assert_eq!(counts, [1, 0, 0], "one node compiles, and the others take its code");
}
