//! Clusters: several real nodes on a real broker, with one state, one split and one rollout.

mod deploying;
mod diverging;
mod eventing;
mod figures;
mod full;
mod keeping;
mod queueing;
mod rates;
mod surviving;
mod trimmed;
mod viewing;

use std::collections::BTreeSet;

use http::{Method, StatusCode};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::harness::{Folder, Node, Process, broker::Server, command, patiently, serve, wasm_fn};

/// How long nodes may be without news, and how long leases last.
const LEASE: &str = "2s";

/// The number that the variable `name` sets.
fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// A cluster whose nodes know each other by the same key.
pub(crate) struct Cluster {
    pub(crate) brokers: Vec<Server>,
    /// Has the key.
    folder: Folder,
}

impl Cluster {
    /// A cluster on three servers; `None` if there is no program for it.
    pub(crate) async fn on_three(test: &str) -> Option<Self> {
        Some(Self::make(Server::three(test)?, "3").await)
    }

    /// A cluster on one server.
    pub(crate) async fn on_one(test: &str) -> Option<Self> {
        Some(Self::make(vec![Server::start(test)?], "1").await)
    }

    async fn make(brokers: Vec<Server>, replicas: &str) -> Self {
        let cluster = Self { brokers, folder: Folder::new() };
        let monitors: Vec<_> = cluster.brokers.iter().map(Server::monitor).collect();
        let init = ["cluster", "init", "--replicas", replicas, "--monitor", &monitors.join(",")];
        // The servers of a broker find each other first.
        patiently("a broker that is ready", async {
            while cluster.try_command(&init).await.code != Some(0) {}
        })
        .await;
        cluster
    }

    fn urls(&self) -> String {
        self.brokers.iter().map(Server::url).collect::<Vec<_>>().join(",")
    }

    /// `wasm-fn` with `args`, told where the cluster is.
    async fn try_command(&self, args: &[&str]) -> command::Done {
        let mut command = wasm_fn();
        command.args(args).args(["--cluster", &self.urls(), "--cluster-key", "cluster.key"]);
        command::run(command.current_dir(self.folder.path())).await
    }

    /// What tells a node called `name` where the cluster is.
    pub(crate) fn args(&self, name: &str) -> Vec<String> {
        let key = self.folder.path().join("cluster.key").display().to_string();
        let args =
            ["--cluster", &self.urls(), "--cluster-key", &key, "--node-name", name, "--cluster-lease", LEASE];
        args.map(str::to_owned).to_vec()
    }

    async fn node(&self, name: &str) -> Node {
        self.node_on(Folder::new(), name).await
    }

    async fn node_on(&self, folder: Folder, name: &str) -> Node {
        let args = self.args(name);
        let args: Vec<_> = args.iter().map(String::as_str).collect();
        Node::start_on(folder, &args).await
    }

    /// Nodes that know of each other.
    pub(crate) async fn nodes<const COUNT: usize>(&self) -> [Node; COUNT] {
        let mut nodes = Vec::new();
        for name in ["a", "b", "c", "d", "e"].iter().take(COUNT) {
            nodes.push(self.node(name).await);
        }
        for node in &nodes {
            node.in_cluster("nodes that know each other", |view| {
                let ready = |node: &&Value| node["ready"] == true;
                view["nodes"].as_array().unwrap().iter().filter(ready).count() == COUNT
            })
            .await;
        }
        nodes.try_into().map_err(|_| "as many as asked for").unwrap()
    }
}

impl Node {
    /// Waits until the cluster is to this node as `holds` says.
    pub(crate) async fn in_cluster(&self, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        patiently(what, async {
            loop {
                let view = self.api_ok(Method::GET, "/v1/cluster", None).await;
                if holds(&view) {
                    return view;
                }
                tokio::task::yield_now().await;
            }
        })
        .await
    }

    /// Waits until this node has published what `other` has.
    pub(crate) async fn has_state_of(&self, other: &Self) {
        let revision = other.revision().await;
        patiently("the same state", async { while self.revision().await < revision {} }).await;
    }

    /// How often the canary answers one of `count` requests, all of which are answered well.
    async fn canaries(&self, count: usize) -> usize {
        let mut canaries = 0;
        for _ in 0..count {
            let answer = self.http.get("/hello").await;
            assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
            canaries += usize::from(answer.header("wasm-fn-version") == "v2");
        }
        canaries
    }
}

/// A rollout whose steps take longer than a test.
fn held() -> Value {
    json!({ "step_min_ms": 3_600_000 })
}

fn half() -> Value {
    json!({ "name": "canary", "steps": ["50%"] })
}

#[tokio::test]
async fn nodes_have_one_state_one_split_and_one_abort() {
    let Some(cluster) = Cluster::on_three("nodes_have_one_state_one_split_and_one_abort").await else {
        return;
    };
    let [a, b, c] = cluster.nodes().await;
    a.deploy_with("hello", "hello-v1", json!({})).await;
    b.has_state_of(&a).await;
    b.roll_out("hello-v2", json!({}), half(), held()).await;
    for node in [&a, &c] {
        node.has_state_of(&b).await;
    }
    for node in [&a, &b, &c] {
        let canaries = node.canaries(40).await;
        assert!((5..=35).contains(&canaries), "{canaries} of 40 at a share of 50%");
    }
    c.cli_ok(&["abort", "hello"]).await;
    for node in [&a, &b, &c] {
        node.has_state_of(&c).await;
        assert_eq!(node.canaries(20).await, 0, "no request begins on a version that was taken back");
    }
    // What one node gives out, all accept.
    let token = a.cli_json(&["tokens", "create", "bob", "--role", "viewer"]).await;
    b.has_state_of(&a).await;
    let shown = b.api_as(token["secret"].as_str(), Method::GET, "/v1/functions", None).await;
    assert_eq!(shown.status, StatusCode::OK, "{}", shown.text());
    let heads: Vec<_> = [a.cli_json(&["audit", "head"]).await, b.cli_json(&["audit", "head"]).await].into();
    assert_eq!(heads[0], heads[1], "one chain of hashes");
    let view = c.api_ok(Method::GET, "/v1/cluster", None).await;
    let servers = view["servers"].as_array().unwrap();
    assert_eq!(servers.iter().filter(|server| server["leader"] == true).count(), 1, "{view}");
    let status = c.cli_ok(&["cluster", "status"]).await;
    assert!(["a", "b", "c"].iter().all(|name| status.contains(name)), "{status}");
}

#[tokio::test]
async fn canary_that_fails_is_taken_back_on_every_node_and_no_user_notices() {
    let test = "canary_that_fails_is_taken_back_on_every_node_and_no_user_notices";
    let Some(cluster) = Cluster::on_one(test).await else { return };
    let [a, b] = cluster.nodes().await;
    a.deploy_with("hello", "hello-v1", json!({})).await;
    b.has_state_of(&a).await;
    a.roll_out("broken", json!({}), half(), held()).await;
    b.has_state_of(&a).await;
    patiently("the end of the rollout on both nodes", async {
        loop {
            // The shield answers for the canary.
            a.canaries(1).await;
            b.canaries(1).await;
            let (first, second) = (a.live("hello").await, b.live("hello").await);
            if first["rollout"].is_null() && second["rollout"].is_null() {
                assert_eq!(first["last_rollout"]["outcome"], "aborted", "{first}");
                assert_eq!(first["last_rollout"], second["last_rollout"]);
                let nodes = first["last_rollout"]["evidence"]["nodes"].as_array().unwrap();
                assert!(!nodes.is_empty(), "{first}");
                return;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn node_without_its_broker_serves_stable_and_refuses_changes() {
    let test = "node_without_its_broker_serves_stable_and_refuses_changes";
    let Some(mut cluster) = Cluster::on_one(test).await else { return };
    let [a, b] = cluster.nodes().await;
    a.deploy_with("hello", "hello-v1", json!({})).await;
    a.roll_out("hello-v2", json!({}), half(), held()).await;
    b.has_state_of(&a).await;
    assert!(b.canaries(40).await > 0);
    cluster.brokers[0].kill();
    for node in [&a, &b] {
        node.in_cluster("a node that knows that it is out of touch", |view| view["in_touch"] == false).await;
        assert_eq!(node.canaries(40).await, 0, "the canary may have been taken back");
    }
    b.cli(&["abort", "hello"]).await.refused(&["out of touch with its cluster since", "ask another node"]);
    // It starts without a broker, too.
    let folder = a.kill().await;
    let a = cluster.node_on(folder, "a").await;
    assert_eq!(a.canaries(20).await, 0);
    cluster.brokers[0].start_again();
    for node in [&a, &b] {
        node.in_cluster("a node in touch", |view| view["in_touch"] == true).await;
    }
    assert!(b.canaries(40).await > 0, "it knows now that it was not");
    b.cli_ok(&["abort", "hello"]).await;
    a.has_state_of(&b).await;
    assert_eq!(a.canaries(20).await, 0);
}

#[tokio::test]
async fn another_node_decides_when_the_one_that_did_is_stopped() {
    let test = "another_node_decides_when_the_one_that_did_is_stopped";
    let Some(cluster) = Cluster::on_one(test).await else { return };
    let [a, b] = cluster.nodes().await;
    a.deploy_with("hello", "hello-v1", json!({})).await;
    a.roll_out("hello-v2", json!({}), half(), held()).await;
    b.has_state_of(&a).await;
    let decides = |view: &Value, name: &str| {
        let nodes = view["nodes"].as_array().unwrap();
        let node = nodes.iter().find(|node| node["name"] == name);
        node.is_some_and(|node| node["leads"] == json!(["hello/live"]))
    };
    let view = b.in_cluster("a node that decides", |view| decides(view, "a") || decides(view, "b")).await;
    let (stopped, other, name) = if decides(&view, "a") { (a, b, "b") } else { (b, a, "a") };
    stopped.process().signal(Signal::STOP);
    other.in_cluster("the other node decides", |view| decides(view, name)).await;
    other.cli_ok(&["abort", "hello"]).await;
    stopped.process().signal(Signal::CONT);
    stopped.has_state_of(&other).await;
    assert_eq!(stopped.canaries(20).await, 0);
}

#[tokio::test]
async fn state_of_a_node_goes_into_a_cluster_and_out_again() {
    let test = "state_of_a_node_goes_into_a_cluster_and_out_again";
    let Some(broker) = Server::start(test) else { return };
    let mut alone = Node::start().await;
    alone.deploy_with("hello", "hello-v1", json!({})).await;
    alone.deploy_with("state", "stateful", json!({ "buckets": { "default": {} } })).await;
    for key in ["a", "b"] {
        alone.cli_ok(&["kv", "put", "state", "default", key, "--value", "of a node"]).await;
    }
    let token = alone.cli_json(&["tokens", "create", "bob", "--role", "viewer"]).await;
    let head = alone.cli_json(&["audit", "head"]).await;
    alone.terminate();
    alone.ended().await;
    let cluster = Cluster { brokers: vec![broker], folder: alone.folder().clone() };
    let monitor = cluster.brokers[0].monitor();
    let import = ["cluster", "import", "--from", "data", "--replicas", "1", "--monitor", &monitor];
    cluster.try_command(&import).await.ok();
    let node = cluster.node("a").await;
    assert_eq!(node.cli_json(&["audit", "head"]).await, head, "the journal goes on");
    patiently("the version of before", async {
        while node.http.get("/hello").await.header("wasm-fn-version") != "v1" {}
    })
    .await;
    let shown = node.api_as(token["secret"].as_str(), Method::GET, "/v1/functions", None).await;
    assert_eq!(shown.status, StatusCode::OK);
    node.roll_out("hello-v2", json!({}), json!({ "name": "all-at-once" }), json!({})).await;
    assert_eq!(node.cli_ok(&["kv", "get", "state", "default", "a"]).await, "of a node");
    node.cli_ok(&["kv", "put", "state", "default", "b", "--value", "of a cluster"]).await;
    let head = node.cli_json(&["audit", "head"]).await;
    cluster.try_command(&["cluster", "export", "--to", "out"]).await.ok();
    let out = Folder::new();
    std::fs::rename(cluster.folder.path().join("out"), out.data()).unwrap();
    let alone = Node::start_on(out, &[]).await;
    assert_eq!(alone.cli_json(&["audit", "head"]).await, head);
    assert_eq!(alone.cli_ok(&["kv", "get", "state", "default", "a"]).await, "of a node");
    assert_eq!(alone.cli_ok(&["kv", "get", "state", "default", "b"]).await, "of a cluster");
    patiently("the version that came last", async {
        while alone.http.get("/hello").await.header("wasm-fn-version") != "v2" {}
    })
    .await;
}

/// How `wasm-fn serve` with `args` on `folder` refuses to start.
async fn not_started(folder: &Folder, args: &[String]) -> String {
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    let mut process = Process::spawn(&mut serve(folder, &args));
    assert_eq!(process.ended().await.code(), Some(1), "{}", process.log());
    process.log()
}

#[tokio::test]
async fn node_that_does_not_belong_is_refused_by_name() {
    let Some(cluster) = Cluster::on_one("node_that_does_not_belong_is_refused_by_name").await else { return };
    let [_a] = cluster.nodes().await;
    // Another node of the same name.
    let said = not_started(&Folder::new(), &cluster.args("a")).await;
    assert!(said.contains("another node") && said.contains('a'), "{said}");
    // A directory with the state of a node that was alone.
    let mut alone = Node::start().await;
    alone.deploy_with("hello", "hello-v1", json!({})).await;
    alone.terminate();
    alone.ended().await;
    let said = not_started(alone.folder(), &cluster.args("b")).await;
    assert!(said.contains("differs from the key of the cluster"), "{said}");
    // No key.
    let mut args = cluster.args("b");
    args[3] = "missing.key".to_owned();
    let said = not_started(&Folder::new(), &args).await;
    assert!(
        said.contains("missing.key is not there, expected the file that `wasm-fn cluster init`"),
        "{said}"
    );
    // A cluster that nobody has made.
    let args = [cluster.args("b"), vec!["--cluster-name".to_owned(), "other".to_owned()]].concat();
    let said = not_started(&Folder::new(), &args).await;
    assert!(said.contains("other"), "{said}");
}

#[tokio::test]
async fn node_that_is_drained_finishes_and_ends() {
    let Some(cluster) = Cluster::on_one("node_that_is_drained_finishes_and_ends").await else { return };
    let [a, mut b] = cluster.nodes().await;
    let done = a.cli_ok(&["cluster", "drain", "b"]).await;
    assert!(done.contains("b finishes its requests and ends"), "{done}");
    assert!(b.ended().await.success());
    a.cli(&["cluster", "drain", "nobody"]).await.refused(&["no node nobody", "wasm-fn cluster status"]);
    let monitor = cluster.brokers[0].monitor();
    for (monitor, disks) in [(vec![], "warning"), (vec!["--monitor", &monitor], "ok")] {
        let mut doctor = wasm_fn();
        doctor.arg("doctor").args(cluster.args("c")).args(["-o", "json"]).args(monitor);
        let found = command::run(doctor.current_dir(cluster.folder.path())).await;
        let found: Value = serde_json::from_str(&found.stdout).unwrap();
        let finding = |name: &str| {
            let findings = found["findings"].as_array().unwrap();
            findings.iter().find(|finding| finding["name"] == name).unwrap()["status"].clone()
        };
        let statuses = ["cluster-key", "broker", "broker-disks"].map(finding);
        assert_eq!(statuses, [json!("ok"), json!("warning"), json!(disks)], "{found}");
    }
    let alone = Node::start().await;
    alone.cli(&["cluster", "status"]).await.refused(&["the node is alone"]);
}

/// The version that answers each of `keys` on `node`.
async fn placed(node: &Node, keys: &[String]) -> Vec<String> {
    let mut versions = Vec::new();
    for key in keys {
        let answer = node.http.get_as("/hello", &[("wasm-fn-key", key)]).await;
        versions.push(answer.ok().version().to_owned());
    }
    versions
}

#[tokio::test]
async fn user_with_a_key_gets_one_version_on_every_node() {
    let Some(cluster) = Cluster::on_one("user_with_a_key_gets_one_version_on_every_node").await else {
        return;
    };
    let nodes: [Node; 3] = cluster.nodes().await;
    let [a, b, c] = &nodes;
    let sticky = json!({ "sticky": "cookie:sid" });
    a.deploy_with("hello", "hello-v1", sticky.clone()).await;
    b.roll_out("hello-v2", sticky, half(), held()).await;
    let keys: Vec<_> = (0..40).map(|user| format!("user-{user}")).collect();
    for node in [a, c] {
        node.has_state_of(b).await;
    }
    let before = placed(a, &keys).await;
    // 40 fair draws: each tail has a chance below 10⁻⁹.
    let canaries = before.iter().filter(|version| *version == "v2").count();
    assert!((3..=37).contains(&canaries), "{before:?}");
    for node in [b, c] {
        assert_eq!(placed(node, &keys).await, before);
    }
    // By a cookie, too.
    let cookie = [("cookie", "theme=dark; sid=user-7")];
    let mut by_cookie = BTreeSet::new();
    for node in &nodes {
        by_cookie.insert(node.http.get_as("/hello", &cookie).await.ok().version().to_owned());
    }
    assert_eq!(by_cookie, BTreeSet::from([before[7].clone()]));
    // More of them get it, on every node the same, and nobody loses it.
    c.split_hello(&[("v2", "80%"), ("v1", "20%")]).await;
    for node in [a, b] {
        node.has_state_of(c).await;
    }
    let after = placed(c, &keys).await;
    let kept = before.iter().zip(&after).all(|(before, after)| before == "v1" || after == "v2");
    assert!(kept && before != after, "{before:?} {after:?}");
    for node in [a, b] {
        assert_eq!(placed(node, &keys).await, after);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_on_the_broker_when_nodes_connect_again() {
    let test = "nothing_is_left_on_the_broker_when_nodes_connect_again";
    let Some(mut cluster) = Cluster::on_three(test).await else { return };
    let nodes: [Node; 3] = cluster.nodes().await;
    let [a, b, _] = &nodes;
    a.deploy_with("state", "stateful", json!({ "buckets": { "default": {} } })).await;
    b.has_state_of(a).await;
    for round in 0..6 {
        let value = round.to_string();
        cluster.brokers[round % 3].restart();
        for node in &nodes {
            node.in_cluster("a node in touch", |view| view["in_touch"] == true).await;
        }
        // Components, values and the log are read and written over the new connections.
        let put = patiently("a value that is put", async {
            while a.cli(&["kv", "put", "state", "default", "key", "--value", &value]).await.code != Some(0) {}
        });
        put.await;
        let get = patiently("that value on another node", async {
            while b.cli(&["kv", "get", "state", "default", "key"]).await.stdout != value {}
        });
        get.await;
    }
    let streams = cluster.streams().await;
    let names: BTreeSet<_> = streams.iter().map(|stream| stream["name"].as_str().unwrap()).collect();
    assert_eq!(names.len(), 5, "the streams of the cluster: {names:?}");
    for stream in &streams {
        assert_eq!(stream["state"]["consumer_count"], 0, "{stream}");
        assert!(stream["consumer_detail"].as_array().is_none_or(Vec::is_empty), "{stream}");
    }
    // And each node has the connection that it uses, not those that it had.
    let mut connections = 0;
    for server in &cluster.brokers {
        connections += cluster.told(server, "/connz").await["num_connections"].as_u64().unwrap();
    }
    assert!((1..=9).contains(&connections), "{connections} connections of three nodes");
}
