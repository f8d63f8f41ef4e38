//! Whatever node is asked, it tells of all: numbers, logs, and how far each of them is.
//!
//! `WASM_FN_TEST_REVOCATIONS` sets how many tokens are revoked; how soon the last node refuses one is
//! printed.

use std::{collections::BTreeSet, time::Duration};

use http::{Method, Request, StatusCode};
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{Cluster, not_started};
use crate::harness::{
    Folder, Node, Process,
    broker::{SAFE, Server},
    client::{Answer, Client},
    command, patiently,
    tls::{Authority, parameters},
};

/// Revocations of an ordinary run.
const ORDINARY: usize = 10;

/// How long a node may take that waits for one which does not answer: two seconds, and what a busy machine
/// adds.
const BOUNDED: Duration = Duration::from_secs(10);

impl Node {
    async fn call_hello(&self, times: usize) {
        for _ in 0..times {
            self.http.get("/hello").await.ok();
        }
    }

    /// The names of the nodes whose numbers are in the answer for `path`, and of those that are missing.
    async fn nodes_in(&self, path: &str) -> (Vec<String>, Vec<String>) {
        let answer = self.api_ok(Method::GET, path, None).await;
        let nodes = answer["nodes"].as_array().unwrap_or_else(|| panic!("{path}: {answer}")).iter();
        let name = |node: &Value| node["node"].as_str().unwrap().to_owned();
        let (there, missing): (Vec<_>, Vec<_>) = nodes.partition(|node| node["missing"].is_null());
        (there.into_iter().map(name).collect(), missing.into_iter().map(name).collect())
    }

    async fn get_at_least(&self, revision: u64) -> Answer {
        let request = Request::builder()
            .uri(format!("http://{}/v1/functions/hello", self.admin))
            .header("authorization", format!("Bearer {}", self.token))
            .header("wasm-fn-at-least-revision", revision.to_string());
        Client::http1(self.admin).send(request.body(Vec::new()).unwrap()).await.unwrap()
    }
}

/// The requests of the only version of `hello` in `status`: on all nodes together, and on each.
fn requests(status: &Value) -> (u64, Vec<(String, u64)>) {
    let version = &status["stages"][0]["versions"][0];
    let of = |version: &Value| version["tally"]["requests"].as_u64().unwrap();
    let nodes = version["nodes"].as_array().cloned().unwrap_or_default();
    let nodes = nodes.iter().map(|node| (node["node"].as_str().unwrap().to_owned(), of(node)));
    (of(version), nodes.collect())
}

fn named(numbers: [(&str, u64); 3]) -> Vec<(String, u64)> {
    numbers.map(|(node, requests)| (node.to_owned(), requests)).to_vec()
}

#[tokio::test]
async fn every_node_tells_the_numbers_and_the_logs_of_all() {
    let Some(cluster) = Cluster::on_one("every_node_tells_the_numbers_and_the_logs_of_all").await else {
        return;
    };
    let [a, b, c] = cluster.nodes().await;
    a.deploy_with("hello", "hello-v1", json!({})).await;
    a.deploy_with("env", "env", json!({})).await;
    for node in [&b, &c] {
        node.has_state_of(&a).await;
    }
    for (node, times) in [(&a, 5), (&b, 7), (&c, 9)] {
        node.call_hello(times).await;
    }
    let expected = (21, named([("a", 5), ("b", 7), ("c", 9)]));
    patiently("all requests are counted", async {
        while requests(&b.cli_json(&["status", "hello"]).await) != expected {}
    })
    .await;
    for node in [&a, &c] {
        assert_eq!(requests(&node.cli_json(&["status", "hello"]).await), expected);
        let list = node.cli_json(&["status"]).await;
        assert_eq!(list["functions"][1]["stages"][0]["requests"], 21, "{list}");
        let only = node.cli_json(&["status", "hello", "--node", "c"]).await;
        assert_eq!(requests(&only), (9, Vec::new()), "{only}");
    }
    let table = a.cli_ok(&["status", "hello"]).await;
    let cells = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let rows: Vec<_> = table.lines().map(cells).collect();
    assert!(rows.iter().any(|row| row.contains(&"NODE".to_owned())), "{table}");
    assert!(rows.iter().any(|row| row.starts_with(&["b".to_owned(), "7".to_owned()])), "{table}");
    a.cli(&["status", "hello", "--node", "d"]).await.refused(&["no node d", "wasm-fn cluster status"]);
    let all = (["a", "b", "c"].map(str::to_owned).to_vec(), Vec::new());
    for path in ["/v1/functions", "/v1/functions/hello", "/v1/series?functions=hello"] {
        assert_eq!(a.nodes_in(path).await, all, "{path}");
    }
    for path in ["/v1/functions/hello/series", "/v1/functions/hello/traces"] {
        assert_eq!(b.nodes_in(path).await, all, "{path}");
    }
    let metrics = c.api(Method::GET, "/metrics", None).await.ok().text().to_owned();
    for line in ["wasm_fn_node_info{cluster=\"wasm-fn\",node=\"c\"} 1", "wasm_fn_cluster_nodes_ready 3"] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }

    // Whoever follows the log hears of all nodes.
    let mut follow = a.command(&["logs", "env", "-f", "-o", "json"]);
    let follower = Process::spawn(follow.stdout(std::process::Stdio::piped()));
    for node in [&c, &a, &b] {
        node.http.get("/env").await.ok();
    }
    let lines = |node: &'static str| move |line: &Value| line["node"] == node;
    let logs = patiently("lines of all nodes", async {
        loop {
            let logs = b.logs("env").await;
            if ["a", "b", "c"].iter().all(|node| logs.iter().any(lines(node))) {
                return logs;
            }
        }
    })
    .await;
    let times: Vec<_> = logs.iter().map(|line| line["at_ms"].as_u64().unwrap()).collect();
    assert!(times.is_sorted(), "{logs:?}");
    let only = c.cli_ok(&["logs", "env", "--node", "b", "-o", "json"]).await;
    let only: Vec<Value> = only.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(!only.is_empty() && only.len() < logs.len(), "{only:?}");
    let text = c.cli_ok(&["logs", "env"]).await;
    assert!(text.lines().any(|line| line.contains(" b v1 stdout ")), "{text}");
    let unclear = a.api(Method::GET, "/v1/functions/env/logs?after=3", None).await;
    assert_eq!(unclear.status, StatusCode::BAD_REQUEST, "{}", unclear.text());
    let heard = patiently("lines of all nodes, followed", followed(follower)).await;
    assert_eq!(heard, BTreeSet::from(["a", "b", "c"].map(str::to_owned)));
}

/// The nodes whose lines a follower prints, once there are three. It is ended then.
async fn followed(mut follower: Process) -> BTreeSet<String> {
    let stdout = follower.stdout();
    let (sender, mut lines) = tokio::sync::mpsc::channel(64);
    std::thread::spawn(move || {
        use std::io::BufRead as _;
        for line in std::io::BufReader::new(stdout).lines().map_while(Result::ok) {
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    let mut nodes = BTreeSet::new();
    while nodes.len() < 3 {
        let line = lines.recv().await.expect("the follower goes on");
        let line: Value = serde_json::from_str(&line).unwrap();
        nodes.extend(line["node"].as_str().map(str::to_owned));
    }
    follower.signal(Signal::INT);
    nodes
}

#[tokio::test]
async fn node_that_does_not_answer_is_named_in_bounded_time() {
    let test = "node_that_does_not_answer_is_named_in_bounded_time";
    let Some(cluster) = Cluster::on_one(test).await else { return };
    let [a, b, c] = cluster.nodes().await;
    a.deploy_with("hello", "hello-v1", json!({})).await;
    let done = a.cli(&["tokens", "create", "one", "--role", "viewer", "--everywhere"]).await.ok();
    assert!(!done.stderr.contains("not waited for"), "{}", done.stderr);
    for node in [&b, &c] {
        assert_eq!(node.revision().await, a.revision().await, "the change is everywhere");
    }
    c.process().signal(Signal::STOP);
    let without_c = (vec!["a".to_owned(), "b".to_owned()], vec!["c".to_owned()]);
    // It stops once the system has stopped each of its threads.
    patiently("an answer without the node", async {
        loop {
            let asked = Instant::now();
            let nodes = b.nodes_in("/v1/functions/hello").await;
            assert!(asked.elapsed() < BOUNDED, "{:?}", asked.elapsed());
            if nodes == without_c {
                return;
            }
        }
    })
    .await;
    // It was there when the command began.
    let done = a.cli(&["tokens", "create", "two", "--role", "viewer", "--everywhere"]).await;
    let late = done.stderr.contains("the change was made, but not every node has it");
    let away = done.stderr.contains("not waited for: node c");
    assert!((done.code == Some(1) && late) || (done.code == Some(0) && away), "{done:?}");
    assert!(done.stderr.contains("node c:") && done.stdout.starts_with("wfn_"), "{done:?}");
    // It is known by now that it is not there, so nobody waits for it.
    b.in_cluster("a node that is not heard of", |view| {
        let nodes = view["nodes"].as_array().unwrap();
        nodes.iter().any(|node| node["name"] == "c" && node["heard_ms"].as_u64().unwrap() > 3000)
    })
    .await;
    let done = b.cli(&["tokens", "revoke", "two", "--everywhere"]).await.ok();
    assert!(done.stderr.contains("not waited for: node c: it was not heard of"), "{}", done.stderr);
    let done = b.cli(&["status", "hello"]).await.ok();
    assert!(done.stderr.contains("the numbers of node c are missing"), "{}", done.stderr);
    b.cli(&["logs", "hello", "--node", "c"]).await.refused(&["node c does not tell"]);
    c.process().signal(Signal::CONT);
    patiently("the node answers again", async {
        while !b.nodes_in("/v1/functions/hello").await.1.is_empty() {}
    })
    .await;
}

#[tokio::test]
async fn changes_of_each_node_are_told_apart_and_those_of_triggers_are_waited_for() {
    let test = "changes_of_each_node_are_told_apart_and_those_of_triggers_are_waited_for";
    let Some(cluster) = Cluster::on_one(test).await else { return };
    let [a, b] = cluster.nodes().await;
    a.deploy_with("hello", "hello-v1", json!({})).await;
    b.has_state_of(&a).await;
    let add = ["triggers", "add", "schedule", "hello", "--every", "1h", "--everywhere"];
    let change = |what: &'static str| ["triggers", what, "hello", "schedule", "--everywhere"].to_vec();
    for args in [add.to_vec(), change("pause"), change("resume"), change("remove")] {
        let done = b.cli(&args).await.ok();
        assert!(!done.stderr.contains("not waited for"), "{}", done.stderr);
        assert_eq!(a.revision().await, b.revision().await, "the change is everywhere");
    }
    let by = |page: &Value| -> Vec<String> {
        let entries = page["entries"].as_array().unwrap().iter();
        entries.map(|entry| entry["node"].as_str().unwrap().to_owned()).collect()
    };
    for (node, count) in [("a", 1), ("b", 4)] {
        let history = a.cli_json(&["history", "hello", "--node", node]).await;
        assert_eq!(
            (by(&history), &history["more"]),
            (vec![node.to_owned(); count], &json!(false)),
            "{history}"
        );
        let audit = a.cli_ok(&["audit", "-f", "hello", "--node", node, "-o", "json"]).await;
        let audit: Vec<Value> = audit.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(audit.len(), count, "{audit:?}");
        assert!(audit.iter().all(|entry| entry["node"] == node), "{audit:?}");
    }
    let history = a.cli_json(&["history", "hello", "--node", "b", "-n", "3"]).await;
    assert_eq!((by(&history).len(), &history["more"]), (3, &json!(true)), "{history}");
}

#[tokio::test]
async fn reading_with_the_revision_of_a_change_is_never_older() {
    let Some(cluster) = Cluster::on_one("reading_with_the_revision_of_a_change_is_never_older").await else {
        return;
    };
    let [a, b] = cluster.nodes().await;
    for number in 1..=10 {
        let deployed =
            a.deploy_with("hello", "hello-v1", json!({ "env": { "N": number.to_string() } })).await;
        let revision = deployed["revision"].as_u64().unwrap_or_else(|| panic!("{deployed}"));
        let read = b.get_at_least(revision).await.ok();
        let status: Value = serde_json::from_slice(&read.body).unwrap();
        assert_eq!(status["latest"], format!("v{number}"), "{status}");
        let published: u64 = read.header("wasm-fn-revision").parse().unwrap();
        assert!(published >= revision, "{published} after {revision}");
    }
    // A token of another node is known then, too.
    let token = a.cli_json(&["tokens", "create", "bob", "--role", "viewer"]).await;
    let revision = a.revision().await.to_string();
    let secret = token["secret"].as_str().unwrap();
    let read = ["status", "hello", "--at-least-revision", &revision, "--token", secret];
    b.cli_ok(&read).await;
    let ahead = b.get_at_least(1_000_000).await;
    assert_eq!(ahead.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(ahead.text().contains("revision-not-reached"), "{}", ahead.text());
}

#[tokio::test]
async fn revocation_reaches_all_nodes_at_once() {
    let Some(cluster) = Cluster::on_one("revocation_reaches_all_nodes_at_once").await else { return };
    let [a, b, c] = cluster.nodes().await;
    let count = std::env::var("WASM_FN_TEST_REVOCATIONS").ok().and_then(|text| text.parse().ok());
    let mut took = Vec::new();
    for number in 0..count.unwrap_or(ORDINARY) {
        let name = format!("token-{number}");
        let created = a.cli_json(&["tokens", "create", &name, "--role", "viewer", "--everywhere"]).await;
        let secret = created["secret"].as_str().unwrap();
        let path = format!("/v1/tokens/{name}");
        let revoked = async {
            let done = a.api(Method::DELETE, &path, None).await;
            assert_eq!(done.status, StatusCode::OK, "{}", done.text());
        };
        let refused = async |node: &Node| {
            patiently("the end of the token", async {
                loop {
                    let asked = Instant::now();
                    let answer = node.api_as(Some(secret), Method::GET, "/v1/caller", None).await;
                    match answer.status {
                        StatusCode::OK => {}
                        // Whoever shows wrong tokens too often is told to wait; a right one is accepted.
                        StatusCode::UNAUTHORIZED | StatusCode::TOO_MANY_REQUESTS => return asked,
                        other => panic!("{other}: {}", answer.text()),
                    }
                }
            })
            .await
        };
        let began = Instant::now();
        let ((), on_b, on_c) = tokio::join!(revoked, refused(&b), refused(&c));
        took.push(on_b.max(on_c).saturating_duration_since(began));
    }
    took.sort_unstable();
    let at = |percent: usize| took[(took.len() * percent / 100).min(took.len() - 1)];
    println!("{} revocations over 3 nodes: p50 {:?}, p99 {:?}", took.len(), at(50), at(99));
    assert!(at(99) < Duration::from_secs(5), "{took:?}");
}

#[tokio::test]
async fn revocation_that_the_broker_cannot_take_is_told_all_the_same() {
    let test = "revocation_that_the_broker_cannot_take_is_told_all_the_same";
    let Some(mut cluster) = Cluster::on_three(test).await else { return };
    let mut nodes = Vec::new();
    for name in ["a", "b", "c"] {
        // Each is connected to the server that stays, and has not given up on it when the others are gone.
        let mut args = cluster.args(name);
        (args[1], args[7]) = (cluster.brokers[0].url(), "20s".to_owned());
        let args: Vec<_> = args.iter().map(String::as_str).collect();
        nodes.push(Node::start_on(Folder::new(), &args).await);
    }
    for node in &nodes {
        node.in_cluster("three nodes", |view| view["nodes"].as_array().unwrap().len() == 3).await;
    }
    let [a, b, c] = &nodes[..] else { panic!("three nodes") };
    let created = a.cli_json(&["tokens", "create", "ci", "--role", "viewer", "--everywhere"]).await;
    let secret = created["secret"].as_str().unwrap();
    let answers = async |node: &Node| {
        node.api_as(Some(secret), Method::GET, "/v1/caller", None).await.status == StatusCode::OK
    };
    for node in [b, c] {
        assert!(answers(node).await);
    }
    let (stays, others) = cluster.brokers.split_at_mut(1);
    others.iter_mut().for_each(Server::kill);
    let revoked = a.api(Method::DELETE, "/v1/tokens/ci", None);
    let refused = async {
        for node in [b, c] {
            patiently("the end of the token", async { while answers(node).await {} }).await;
        }
        Instant::now()
    };
    let (revoked, refused) = tokio::join!(async { (revoked.await, Instant::now()) }, refused);
    let (revoked, ended) = revoked;
    assert_eq!(revoked.status, StatusCode::SERVICE_UNAVAILABLE, "{}", revoked.text());
    assert!(revoked.text().contains("`ci` is refused for ten minutes"), "{}", revoked.text());
    assert!(refused < ended, "the others refuse it before it is known whether that was committed");
    assert!(!answers(a).await);
    others.iter_mut().for_each(Server::start_again);
    assert_eq!(stays.len(), 1);
    patiently("a revocation for good", async {
        loop {
            let done = a.api(Method::DELETE, "/v1/tokens/ci", None).await;
            // The first one may have been made after all.
            if matches!(done.status, StatusCode::OK | StatusCode::NOT_FOUND) {
                return;
            }
        }
    })
    .await;
    for node in [a, b, c] {
        node.has_state_of(a).await;
        let tokens = node.api_ok(Method::GET, "/v1/tokens", None).await;
        assert!(!tokens.to_string().contains("\"ci\""), "{tokens}");
    }
}

#[tokio::test]
async fn node_with_the_key_of_another_cluster_is_refused_by_name() {
    let test = "node_with_the_key_of_another_cluster_is_refused_by_name";
    let Some(cluster) = Cluster::on_one(test).await else { return };
    let monitor = cluster.brokers[0].monitor();
    let init = ["cluster", "init", "--replicas", "1", "--monitor", &monitor, "--cluster-name", "other"];
    let other = ["--cluster", &cluster.urls(), "--cluster-key", "other.key"];
    let mut made = crate::harness::wasm_fn();
    made.args(init).args(other).current_dir(cluster.folder.path());
    command::run(&mut made).await.ok();
    let folder = Folder::new();
    let mut args = cluster.args("a");
    args[3] = cluster.folder.path().join("other.key").display().to_string();
    let said = not_started(&folder, &args).await;
    assert!(said.contains("it is the key of another cluster (cluster-key-mismatch)"), "{said}");
    // Nothing of it was kept.
    let node = cluster.node_on(folder, "a").await;
    node.in_cluster("a node in touch", |view| view["in_touch"] == true).await;
}

#[tokio::test]
async fn broker_that_asks_for_certificates_of_its_clients_gets_them() {
    let test = "broker_that_asks_for_certificates_of_its_clients_gets_them";
    let (authority, folder) = (Authority::new("Brokers"), Folder::new());
    let keep = |name: &str, text: &str| {
        use std::os::unix::fs::PermissionsExt as _;
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        path.display().to_string()
    };
    let ca = keep("ca.pem", &authority.pem());
    let server = authority.issue(&parameters("127.0.0.1"));
    let client = authority.issue(&parameters("node-a"));
    let [cert, key] = [keep("server.pem", &server.cert), keep("server.key", &server.key)];
    let own = [keep("client.pem", &client.cert), keep("client.key", &client.key)];
    let config =
        format!("{SAFE}\ntls {{ cert_file: {cert:?}, key_file: {key:?}, ca_file: {ca:?}, verify: true }}");
    let Some(broker) = Server::configured(test, &config) else { return };
    let mut cluster = Cluster { brokers: vec![broker], folder: folder.clone() };
    let monitor = cluster.brokers[0].monitor();
    let init = ["cluster", "init", "--replicas", "1", "--monitor", &monitor, "--cluster-ca", &ca];
    let without = cluster.try_command(&init).await;
    assert_eq!(without.code, Some(1), "{without:?}");
    let shown = ["--cluster-cert", &own[0], "--cluster-cert-key", &own[1]];
    cluster.try_command(&[&init[..], &shown].concat()).await.ok();
    let half = cluster.try_command(&[&init[..], &shown[..2]].concat()).await;
    half.refused(&["--cluster-cert is set without its key, expected --cluster-cert-key too"]);
    let more = [&["--cluster-ca", &ca][..], &shown].concat();
    let args: Vec<_> =
        cluster.args("a").into_iter().chain(more.iter().map(|arg| (*arg).to_owned())).collect();
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    let node = Node::start_on(Folder::new(), &args).await;
    node.in_cluster("a node in touch", |view| view["in_touch"] == true).await;
    node.deploy_with("hello", "hello-v1", json!({})).await;

    // All certificates are renewed, by another authority.
    cluster.brokers[0].kill();
    node.in_cluster("a node out of touch", |view| view["in_touch"] == false).await;
    let authority = Authority::new("Renewed");
    keep("ca.pem", &authority.pem());
    let server = authority.issue(&parameters("127.0.0.1"));
    let client = authority.issue(&parameters("node-a"));
    for (name, text) in [
        ("server.pem", &server.cert),
        ("server.key", &server.key),
        ("client.pem", &client.cert),
        ("client.key", &client.key),
    ] {
        keep(name, text);
    }
    cluster.brokers[0].start_again();
    node.in_cluster("a node in touch again", |view| view["in_touch"] == true).await;
    node.deploy_with("hello", "hello-v2", json!({})).await;
}
