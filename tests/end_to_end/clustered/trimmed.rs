//! The log of a cluster is trimmed, whoever is killed meanwhile, and nobody loses anything by it.

use std::collections::BTreeSet;

use http::Method;
use serde_json::{Value, json};

use super::Cluster;
use crate::harness::{Folder, Node, patiently};

/// How many changes the log keeps.
const KEEP: &str = "20";

impl Cluster {
    /// A node that keeps the log short.
    async fn trimming(&self, folder: Folder, name: &str) -> Node {
        let mut args = self.args(name);
        args.extend(["--cluster-log-keep", KEEP].map(str::to_owned));
        let args: Vec<_> = args.iter().map(String::as_str).collect();
        Node::start_on(folder, &args).await
    }
}

/// Whether the node wrote a line with `message`.
fn has_said(node: &Node, message: &str) -> bool {
    node.process()
        .log()
        .lines()
        .any(|line| serde_json::from_str::<Value>(line).is_ok_and(|line| line["message"] == message))
}

/// Makes a change as soon as the cluster takes one. Returns its name.
async fn change(node: &Node, number: u32) -> String {
    let name = format!("token-{number}");
    let body = json!({ "name": name, "rights": { "roles": ["viewer"] } });
    patiently("a change", async {
        // One whose answer was lost is there.
        loop {
            let status = node.api(Method::POST, "/v1/tokens", Some(&body)).await.status;
            if status.is_success() || status == 409 {
                return;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
    name
}

#[tokio::test]
async fn log_is_trimmed_whoever_is_killed_and_the_journal_is_whole_on_every_node() {
    let test = "log_is_trimmed_whoever_is_killed_and_the_journal_is_whole_on_every_node";
    let Some(cluster) = Cluster::on_three(test).await else { return };
    let mut a = cluster.trimming(Folder::new(), "a").await;
    let b = cluster.trimming(Folder::new(), "b").await;
    let c = cluster.trimming(Folder::new(), "c").await;
    a.deploy_with("hello", "hello-v1", json!({})).await;
    c.has_state_of(&a).await;
    let away = c.kill().await;
    let (mut trimmed, mut made, mut number) = (0, BTreeSet::new(), 0);
    // A node that is killed may be writing a snapshot, or trimming.
    while trimmed < 3 {
        for _ in 0..25 {
            number += 1;
            made.insert(change(&b, number).await);
        }
        trimmed += u32::from(has_said(&a, "log of the cluster was trimmed"));
        if number % 50 == 0 {
            a = cluster.trimming(a.kill().await, "a").await;
        }
        trimmed = trimmed.max(if has_said(&b, "log of the cluster was trimmed") { 3 } else { 0 });
        assert!(number < 2000, "the log is trimmed at last");
    }
    let c = cluster.trimming(away, "c").await;
    let d = cluster.trimming(Folder::new(), "d").await;
    for node in [&a, &c, &d] {
        node.has_state_of(&b).await;
    }
    assert!(has_said(&c, "state goes on from a snapshot"), "{}", c.process().log());
    let mut heads = BTreeSet::new();
    for node in [&a, &b, &c, &d] {
        heads.insert(node.cli_json(&["audit", "verify"]).await.to_string());
        let tokens = node.api_ok(Method::GET, "/v1/tokens", None).await;
        let found: BTreeSet<_> = tokens["tokens"]
            .as_array()
            .unwrap()
            .iter()
            .map(|token| token["name"].as_str().unwrap().to_owned())
            .collect();
        assert!(made.is_subset(&found), "{made:?} were made, found {found:?}");
        let history = node.api_ok(Method::GET, "/v1/functions/hello/history", None).await;
        assert_eq!(history["entries"][0]["action"], "deploy", "the journal from the beginning on");
    }
    assert_eq!(heads.len(), 1, "one chain of hashes: {heads:?}");
    // It goes on behind the snapshot.
    change(&d, 0).await;
    c.has_state_of(&d).await;
}
