//! Events of a cluster: any node takes them, one has each in work, and none is lost with a node.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http::{Method, StatusCode};
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt as _, net::TcpListener, time::Instant};

use super::{Cluster, not_started};
use crate::harness::{Folder, Node, broker::Server, client::read_until, patiently};

/// Events of a test that kills a node.
const COUNT: usize = 400;

/// A command that says when it begins, runs for four seconds, and says when it ends. In that time the lease
/// of a node that is stopped is over, and another has begun the same run.
pub(super) const LONG: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_write"
        (func $write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "poll_oneoff"
        (func $poll (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 0) "\40\00\00\00\06\00\00\00")
    (data (i32.const 8) "\48\00\00\00\04\00\00\00")
    (data (i32.const 16) "\50\00\00\00\0d\00\00\00")
    (data (i32.const 64) "begin\0a")
    (data (i32.const 72) "end\0a")
    (data (i32.const 80) "Status: 200\0a\0a")
    ;; A subscription to the monotonic clock, 4,000,000,000 ns from now.
    (data (i32.const 144) "\01\00\00\00\00\00\00\00\00\28\6b\ee\00\00\00\00")
    (func (export "_start")
        (drop (call $write (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 24)))
        (drop (call $poll (i32.const 128) (i32.const 256) (i32.const 1) (i32.const 24)))
        (drop (call $write (i32.const 2) (i32.const 8) (i32.const 1) (i32.const 24)))
        (drop (call $write (i32.const 1) (i32.const 16) (i32.const 1) (i32.const 24)))))"#;

/// An origin that takes its time, and counts how often it was asked for what.
#[derive(Clone)]
struct Counting {
    address: SocketAddr,
    asked: Arc<Mutex<BTreeMap<String, usize>>>,
}

impl Counting {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let counting = Self { address: listener.local_addr().unwrap(), asked: Arc::default() };
        let origin = counting.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let origin = origin.clone();
                tokio::spawn(async move {
                    let head = read_until(&mut stream, |read| read.ends_with(b"\r\n\r\n")).await;
                    let target = String::from_utf8_lossy(&head).split(' ').nth(1).map(str::to_owned);
                    // So that events are in flight when their node dies.
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    if let Some(target) = target {
                        *origin.asked().entry(target).or_default() += 1;
                    }
                    let answer = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
                    // A caller that has left gets nothing.
                    let _ = stream.write_all(answer.as_bytes()).await;
                });
            }
        });
        counting
    }

    fn asked(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, usize>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Has `node` take a request that calls the origin later. Returns the path by which it calls.
async fn later(node: &Node, origin: &Counting, id: usize) -> String {
    let path = format!("/heard/{id}");
    let target = format!("/fetch?url=http%3A%2F%2F{}{}", origin.address, path.replace('/', "%2F"));
    let request = node.http.request(Method::POST, &target).header("wasm-fn-async", "1");
    let answer = node.http.send(request.body("").unwrap()).await.unwrap();
    assert_eq!(answer.status, 202, "{}", answer.text());
    path
}

/// The asynchronous requests that wait or are in flight, as `node` sees them.
async fn deferred(node: &Node) -> Vec<Value> {
    let list = node.cli_json(&["events", "list", "fetch", "@async"]).await;
    list["events"].as_array().unwrap().clone()
}

async fn trigger(node: &Node, function: &str, name: &str) -> Value {
    node.api_ok(Method::GET, &format!("/v1/functions/{function}/stages/live/triggers/{name}"), None).await
}

/// Waits until `holds` says so of a trigger on `node`.
async fn until(node: &Node, function: &str, name: &str, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
    patiently(what, async {
        loop {
            let path = format!("/v1/functions/{function}/stages/live/triggers/{name}");
            let answer = node.api(Method::GET, &path, None).await;
            // A node that has just joined may still be receiving the inbox.
            if answer.status == StatusCode::OK {
                let trigger: Value = serde_json::from_slice(&answer.body).unwrap();
                if holds(&trigger) {
                    return trigger;
                }
            }
            tokio::task::yield_now().await;
        }
    })
    .await
}

/// The lines of `hello` on all of `nodes`, with their names: when, which run, and what, in the order of time.
async fn lines(nodes: &[(&Node, &str)]) -> Vec<(u64, String, String)> {
    let mut lines = Vec::new();
    for (node, name) in nodes {
        let own = node.api(Method::GET, &format!("/v1/functions/hello/logs?node={name}"), None).await.ok();
        for line in own.text().lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            let text = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
            lines.push((line["at_ms"].as_u64().unwrap(), text("request_id"), text("text")));
        }
    }
    lines.sort();
    lines
}

#[tokio::test]
async fn events_of_a_node_that_is_killed_are_handled_by_the_others() {
    let test = "events_of_a_node_that_is_killed_are_handled_by_the_others";
    let Some(cluster) = Cluster::on_one(test).await else { return };
    let [a, b] = cluster.nodes().await;
    let origin = Counting::start().await;
    let egress = format!("http://{}", origin.address);
    a.deploy_with("fetch", "fetch", json!({ "async": true, "egress": [egress] })).await;
    b.has_state_of(&a).await;
    let mut paths = Vec::new();
    for number in 0..COUNT {
        paths.push(later(if number % 2 == 0 { &a } else { &b }, &origin, number).await);
    }
    // Any node shows what waits; only the one that has them in work shows which run.
    let holder_is_a = patiently("an event in flight", async {
        loop {
            for (node, is_a) in [(&a, true), (&b, false)] {
                if deferred(node).await.iter().any(|event| event["state"]["is"] == "running") {
                    return is_a;
                }
            }
        }
    })
    .await;
    let (killed, left) = if holder_is_a { (a, b) } else { (b, a) };
    let began = Instant::now();
    killed.kill().await;
    let at_kill: usize = origin.asked().values().sum();
    patiently("every event handled", async {
        while !paths.iter().all(|path| origin.asked().contains_key(path)) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    println!("{at_kill} of {COUNT} events before the kill, all {:?} after it", began.elapsed());
    patiently("an empty inbox", async { while !deferred(&left).await.is_empty() {} }).await;
    // Again only what was in flight, and what had ended in the last moment.
    assert!(at_kill < COUNT, "some events are left to the other node");
    let calls: usize = origin.asked().values().sum();
    let most = origin.asked().values().copied().max().unwrap();
    println!("{calls} calls for {COUNT} events, at most {most} for one");
    assert!(calls <= COUNT + 200 && most <= 2, "{calls} calls for {COUNT} events, {most} for one");
}

#[tokio::test]
async fn a_run_of_a_holder_that_was_stopped_is_broken_off_and_overlaps_no_other() {
    let test = "a_run_of_a_holder_that_was_stopped_is_broken_off_and_overlaps_no_other";
    let Some(cluster) = Cluster::on_one(test).await else { return };
    let [a, b] = cluster.nodes().await;
    let component = a.upload(wat::parse_str(LONG).unwrap()).await;
    let body = json!({ "component": component, "strategy": { "name": "all-at-once" } });
    a.api_ok(Method::POST, "/v1/functions/hello/deployments", Some(&body)).await;
    b.has_state_of(&a).await;
    a.cli_ok(&["triggers", "add", "schedule", "hello", "--every", "1s"]).await;
    let began = async |node: (&Node, &str), count: usize| {
        patiently("a run", async {
            loop {
                let lines = lines(&[node]).await;
                if lines.iter().filter(|(_, _, line)| line == "begin").count() >= count {
                    return lines;
                }
                tokio::task::yield_now().await;
            }
        })
        .await
    };
    let first = tokio::select! {
        _ = began((&a, "a"), 1) => true,
        _ = began((&b, "b"), 1) => false,
    };
    let (holder, other) = if first { (&a, (&b, "b")) } else { (&b, (&a, "a")) };
    holder.process().signal(Signal::STOP);
    began(other, 1).await;
    holder.process().signal(Signal::CONT);
    // It goes on in the middle of its run, while the other one is in the middle of the same.
    patiently("three runs that ended", async {
        loop {
            let (on_a, on_b) =
                (trigger(&a, "hello", "schedule").await, trigger(&b, "hello", "schedule").await);
            let of = |trigger: &Value| -> u64 {
                let versions = trigger["counts"]["versions"].as_array().into_iter().flatten();
                versions.map(|version| version["acknowledged"].as_u64().unwrap()).sum()
            };
            if of(&on_a) + of(&on_b) >= 3 {
                return;
            }
        }
    })
    .await;
    let lines = lines(&[(&a, "a"), (&b, "b")]).await;
    // A run that has begun is the only one that says anything, until it ends or another begins.
    let mut running: Option<String> = None;
    let mut of = BTreeMap::new();
    for (_, run, line) in &lines {
        match &**line {
            "begin" => running = Some(run.clone()),
            _ => assert_eq!(running.as_ref(), Some(run), "two runs at a time: {lines:#?}"),
        }
        of.entry(run.clone()).or_insert_with(Vec::new).push(line.clone());
    }
    let ended = of.values().filter(|lines| lines.len() == 2).count();
    println!("{} runs, {ended} of them to the end", of.len());
    assert!(ended >= 3, "{lines:#?}");
}

#[tokio::test]
async fn ticks_while_no_node_was_there_run_once_when_one_is_back() {
    let test = "ticks_while_no_node_was_there_run_once_when_one_is_back";
    let Some(cluster) = Cluster::on_one(test).await else { return };
    let [a, b] = cluster.nodes().await;
    a.deploy_with("hello", "env", json!({})).await;
    b.has_state_of(&a).await;
    let add = ["triggers", "add", "schedule", "hello", "--every", "1s", "--overlap", "allow-all"];
    a.cli_ok(&[&add[..], &["--catch-up", "1h"]].concat()).await;
    let added_ms = trigger(&a, "hello", "schedule").await["created_ms"].as_u64().unwrap();
    b.has_state_of(&a).await;
    let (a, b) = tokio::join!(a.kill(), b.kill());
    // Some ticks pass.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let (a, _b) = (cluster.node_on(a, "a").await, b);
    let second = |ms: u64| ms.div_ceil(1000);
    let due = second(added_ms) + 3;
    patiently("the ticks that were due", async {
        for tick in second(added_ms) + 1..due {
            let id = humantime::format_rfc3339_seconds(std::time::UNIX_EPOCH + Duration::from_secs(tick));
            let path = format!("/v1/functions/hello/stages/live/triggers/schedule/events/{id}");
            loop {
                let answer = a.api(Method::GET, &path, None).await;
                let told: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
                if told["state"]["is"] == "acknowledged" {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn events_are_seen_redriven_and_drained_from_any_node() {
    let test = "events_are_seen_redriven_and_drained_from_any_node";
    let Some(cluster) = Cluster::on_one(test).await else { return };
    let [mut a, b] = cluster.nodes().await;
    a.deploy_with("hello", "broken", json!({})).await;
    b.has_state_of(&a).await;
    let add = ["triggers", "add", "schedule", "hello", "--cron", "0 0 1 1 *", "--attempts", "1"];
    a.cli_ok(&add).await;
    b.has_state_of(&a).await;
    a.cli_ok(&["triggers", "run", "hello", "schedule"]).await;
    for node in [&a, &b] {
        until(node, "hello", "schedule", "the dead letter", |trigger| trigger["inbox"]["dead"] == 1).await;
        let list = node.cli_json(&["events", "list", "hello", "schedule", "--dead"]).await;
        assert_eq!(list["events"].as_array().unwrap().len(), 1, "{list}");
    }
    // What a node has taken is left to the others when it goes.
    a.deploy_with("hello", "env", json!({})).await;
    b.has_state_of(&a).await;
    a.cli_ok(&["cluster", "leave"]).await;
    a.ended().await;
    b.cli_ok(&["events", "redrive", "hello", "schedule", "--all"]).await;
    until(&b, "hello", "schedule", "the redriven event", |trigger| {
        trigger["inbox"]["dead"] == 0
            && trigger["inbox"]["waiting"] == 0
            && trigger["inbox"]["in_flight"] == 0
    })
    .await;
}

#[tokio::test]
async fn events_of_a_node_go_into_a_cluster_and_out_again() {
    let test = "events_of_a_node_go_into_a_cluster_and_out_again";
    let Some(broker) = Server::start(test) else { return };
    let mut alone = Node::start().await;
    alone.deploy_with("hello", "broken", json!({})).await;
    let add = ["triggers", "add", "schedule", "hello", "--cron", "0 0 1 1 *", "--attempts", "1"];
    alone.cli_ok(&add).await;
    alone.cli_ok(&["triggers", "run", "hello", "schedule"]).await;
    let has_dead = async |node: &Node| {
        until(node, "hello", "schedule", "the dead letter", |trigger| trigger["inbox"]["dead"] == 1).await;
    };
    has_dead(&alone).await;
    alone.terminate();
    alone.ended().await;
    let cluster = Cluster { brokers: vec![broker], folder: alone.folder().clone() };
    let monitor = cluster.brokers[0].monitor();
    let import = ["cluster", "import", "--from", "data", "--replicas", "1", "--monitor", &monitor];
    cluster.try_command(&import).await.ok();
    for name in ["a", "b"] {
        has_dead(&cluster.node(name).await).await;
    }
    cluster.try_command(&["cluster", "export", "--to", "out"]).await.ok();
    let out = Folder::new();
    std::fs::rename(cluster.folder.path().join("out"), out.data()).unwrap();
    has_dead(&Node::start_on(out, &[]).await).await;
    // A node with events of its own cannot bring them along unnoticed.
    let folder = Folder::new();
    std::fs::create_dir(folder.data()).unwrap();
    std::fs::copy(cluster.folder.path().join("data/events.redb"), folder.data().join("events.redb")).unwrap();
    let error = not_started(&folder, &cluster.args("c")).await;
    assert!(error.contains("has 1 events of a node that was alone, expected none"), "{error}");
}
