//! A broker that loses what it acknowledged, as one without `sync_interval: always` does when the power
//! fails: every node names it, nobody goes on from what is left, and nobody serves what was taken back.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::{Cluster, half, held};
use crate::harness::{Folder, Node, Process, broker::Server, client::Client, patiently, serve};

/// Waits until the node says that `text` is wrong.
async fn names(node: &Node, text: &str) {
    let says = |view: &Value| view["problem"].as_str().is_some_and(|problem| problem.contains(text));
    node.in_cluster(text, |view| view["in_touch"] == false && says(view)).await;
}

/// How the node refuses a change.
async fn refused(node: &Node) -> (StatusCode, Value) {
    let body = json!({ "name": "late", "rights": { "roles": ["viewer"] } });
    let answer = node.api(Method::POST, "/v1/tokens", Some(&body)).await;
    let problem: Value = serde_json::from_slice(&answer.body).expect("a problem is JSON");
    (answer.status, problem["code"].clone())
}

impl Cluster {
    /// What a server tells at `path` of its monitoring port.
    pub(super) async fn told(&self, server: &Server, path: &str) -> Value {
        let client = Client::http1(server.monitor().parse().expect("an address"));
        serde_json::from_slice(&client.get(path).await.body).expect("it is JSON")
    }

    /// What the servers tell of their streams, one after the other.
    pub(super) async fn streams(&self) -> Vec<Value> {
        let mut streams = Vec::new();
        for server in &self.brokers {
            let told = self.told(server, "/jsz?accounts=true&streams=true&consumers=true").await;
            for account in told["account_details"].as_array().into_iter().flatten() {
                streams.extend(account["stream_detail"].as_array().cloned().unwrap_or_default());
            }
        }
        streams
    }

    /// How many changes the log of the cluster has, as each of its servers says that has any.
    async fn last_changes(&self) -> Vec<u64> {
        let streams = self.streams().await;
        let logs = streams.iter().filter(|stream| stream["name"] == "WASM_FN_WASM-FN");
        logs.map(|stream| stream["state"]["last_seq"].as_u64().expect("a number")).collect()
    }

    fn kill_all(&mut self) {
        self.brokers.iter_mut().for_each(Server::kill);
    }

    fn start_all_again(&mut self) {
        self.brokers.iter_mut().for_each(Server::start_again);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn broker_that_lost_what_it_acknowledged_is_named_by_every_node_and_no_state_forks() {
    let test = "broker_that_lost_what_it_acknowledged_is_named_by_every_node_and_no_state_forks";
    let Some(mut cluster) = Cluster::on_three(test).await else { return };
    let [a, b, c] = cluster.nodes().await;
    a.deploy_with("hello", "hello-v1", json!({})).await;
    a.roll_out("hello-v2", json!({}), half(), held()).await;
    for node in [&b, &c] {
        node.has_state_of(&a).await;
    }
    assert!(b.canaries(40).await > 0);
    let kept = a.revision().await;
    cluster.kill_all();
    let saved: Vec<_> = cluster.brokers.iter().map(Server::save).collect();
    cluster.start_all_again();
    for node in [&a, &b, &c] {
        node.in_cluster("a node in touch", |view| view["in_touch"] == true).await;
    }
    // One node hears nothing of what follows.
    let away = c.kill().await;
    // The connections of before may just have been missed.
    patiently("an abort", async { while a.cli(&["abort", "hello"]).await.code != Some(0) {} }).await;
    let token = a.cli_json(&["tokens", "create", "bob", "--role", "viewer"]).await;
    b.has_state_of(&a).await;
    let acknowledged = a.revision().await;
    assert_eq!(acknowledged, kept + 2);

    cluster.kill_all();
    for (server, saved) in cluster.brokers.iter().zip(&saved) {
        server.put_back(saved);
    }
    cluster.start_all_again();
    let c = cluster.node_on(away, "c").await;

    // Those who have it miss it, and the one that never had it hears that they do.
    let differs = format!(
        "log differs from this node's state at revision {}: log ends with revision {kept}, expected \
         {acknowledged} or a later one",
        kept + 1
    );
    for node in [&a, &b] {
        names(node, &differs).await;
        assert_eq!(refused(node).await, (StatusCode::SERVICE_UNAVAILABLE, json!("cluster-diverged")));
    }
    names(&c, &format!("log ends with revision {kept}, and the node ")).await;
    assert_eq!(refused(&c).await, (StatusCode::SERVICE_UNAVAILABLE, json!("out-of-touch")));
    // So does one that is new, and has nothing to serve.
    let (folder, args) = (Folder::new(), cluster.args("d"));
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    let new = Process::spawn(&mut serve(&folder, &args));
    new.lines(&format!("log ends with revision {kept}, and the node "), 1).await;

    for node in [&a, &b, &c] {
        assert_eq!(node.canaries(40).await, 0, "nobody serves what was taken back");
    }
    assert_eq!((a.revision().await, b.revision().await), (acknowledged, acknowledged));
    assert_eq!(c.revision().await, kept);
    assert!(!new.log().contains("state loaded"), "it waits for the cluster:\n{}", new.log());
    let heads = [a.cli_json(&["audit", "verify"]).await, b.cli_json(&["audit", "verify"]).await];
    assert_eq!(heads[0], heads[1], "what was acknowledged is there");
    let shown = b.api_as(token["secret"].as_str(), Method::GET, "/v1/functions", None).await;
    assert_eq!(shown.status, StatusCode::OK, "{}", shown.text());
    let last = cluster.last_changes().await;
    assert!(!last.is_empty() && last.iter().all(|&last| last == kept), "nobody added anything: {last:?}");
    // A node that starts again finds the same.
    let b = cluster.node_on(b.kill().await, "b").await;
    patiently("the same again", names(&b, &differs)).await;
    assert_eq!(b.canaries(40).await, 0);
}
