//! Queues: functions that handle the messages of a real nats-server, whatever happens to it, to the node and
//! to the functions.
//!
//! `WASM_FN_TEST_MESSAGES` sets how many messages the killing test has, `WASM_FN_TEST_KILLS` how often the
//! node is killed and `WASM_FN_TEST_RESTARTS` how often the broker is; the seed is printed and can be set as
//! `WASM_FN_TEST_SEED`.

use std::collections::BTreeSet;

use async_nats::jetstream::{self, consumer::PullConsumer};
use http::Method;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use serde_json::{Value, json};

use crate::harness::{
    Node,
    broker::Server,
    command,
    orders::{create, publish},
    patiently,
};

/// Messages, kills of the node and restarts of the broker in an ordinary run.
const ORDINARY: (u64, u64, u64) = (20_000, 4, 2);

/// One in this many messages is one that the function refuses.
const POISON_EVERY: u64 = 500;

/// Most dead letters that are listed at once.
const DEAD_SHOWN: u64 = 1000;

/// A command that answers by the first byte of its input: `p` is refused with 422, `f` fails with 500, and
/// everything else is handled.
const PICKY: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_read"
        (func $read (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write"
        (func $write (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 0) "\00\04\00\00\01\00\00\00")
    (data (i32.const 16) "\40\00\00\00\0d\00\00\00")
    (data (i32.const 24) "\50\00\00\00\0d\00\00\00")
    (data (i32.const 32) "\60\00\00\00\0d\00\00\00")
    (data (i32.const 64) "Status: 422\0a\0a")
    (data (i32.const 80) "Status: 500\0a\0a")
    (data (i32.const 96) "Status: 200\0a\0a")
    (func (export "_start")
        (local $first i32)
        (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
        (local.set $first (i32.load8_u (i32.const 1024)))
        (drop (call $write
            (i32.const 1)
            (select
                (i32.const 16)
                (select (i32.const 24) (i32.const 32) (i32.eq (local.get $first) (i32.const 102)))
                (i32.eq (local.get $first) (i32.const 112)))
            (i32.const 1)
            (i32.const 8)))))"#;

const TRIGGER: &str = "/v1/functions/hello/stages/live/triggers/queue";

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Waits until `holds` says so of the queue.
async fn until(node: &Node, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
    patiently(what, async {
        loop {
            let trigger = node.api_ok(Method::GET, TRIGGER, None).await;
            if holds(&trigger) {
                return trigger;
            }
        }
    })
    .await
}

/// Deploys the function that is picky by `strategy`.
async fn picky(node: &Node, strategy: Value) {
    let component = node.upload(wat::parse_str(PICKY).unwrap()).await;
    let body = json!({ "component": component, "strategy": strategy, "allow_new": true });
    node.api_ok(Method::POST, "/v1/functions/hello/deployments", Some(&body)).await;
}

async fn add(node: &Node, url: &str, args: &[&str]) {
    let add =
        ["triggers", "add", "queue", "hello", "--nats", url, "--stream", "ORDERS", "--subject", "orders.>"];
    node.cli_ok(&[&add, args].concat()).await;
}

/// What the broker says, if it has the consumer: messages that it has not delivered, those that are not
/// settled, those that came again, and up to which all are settled.
async fn at_broker(jetstream: &jetstream::Context) -> Option<(u64, usize, usize, u64)> {
    let consumer: Result<PullConsumer, _> =
        jetstream.get_consumer_from_stream("wasm-fn_hello_live_queue", "ORDERS").await;
    let consumer = consumer.ok()?;
    let info = consumer.cached_info();
    Some((info.num_pending, info.num_ack_pending, info.num_redelivered, info.ack_floor.stream_sequence))
}

/// Waits until the broker has heard of `count` messages that they are settled.
async fn settled(jetstream: &jetstream::Context, count: u64) {
    patiently("all messages settled", async {
        while at_broker(jetstream).await != Some((0, 0, 0, count)) {}
    })
    .await;
}

/// The numbers in the stream of the dead letters.
async fn dead(node: &Node) -> BTreeSet<u64> {
    let shown = DEAD_SHOWN.to_string();
    let list = node.cli_json(&["events", "list", "hello", "queue", "--dead", "-n", &shown]).await;
    let ids = list["events"].as_array().unwrap().iter().map(|event| event["id"].as_str().unwrap());
    ids.map(|id| id.split(':').nth(1).unwrap().parse().unwrap()).collect()
}

#[tokio::test]
async fn messages_are_handled_and_those_that_are_refused_are_kept_for_people() {
    let test = "messages_are_handled_and_those_that_are_refused_are_kept_for_people";
    let Some(server) = Server::plain(test) else { return };
    let jetstream = server.orders().await;
    let node = Node::start().await;
    picky(&node, json!({ "name": "all-at-once" })).await;
    add(&node, &server.url(), &["--attempts", "2"]).await;
    publish(&jetstream, 0, 50).await;
    for text in ["poison", "failing"] {
        let mut headers = async_nats::HeaderMap::new();
        headers.insert("Trace", "7");
        headers.insert("wasm-fn-version", "v9");
        jetstream.publish_with_headers("orders.eu", headers, text.into()).await.unwrap().await.unwrap();
    }
    settled(&jetstream, 52).await;
    let trigger = until(&node, "the counts", |trigger| trigger["queue"]["dead"] == 2).await;
    assert_eq!((&trigger["queue"]["acknowledged"], &trigger["queue"]["retried"]), (&json!(50), &json!(1)));
    assert_eq!((&trigger["queue"]["state"], &trigger["inbox"]["dead"]), (&json!("connected"), &json!(2)));
    assert_eq!(dead(&node).await, [51, 52].into());
    let list = node.cli_json(&["events", "list", "hello", "queue", "--dead"]).await;
    let reasons: Vec<_> = (0..2).map(|at| list["events"][at]["state"]["reason"].as_str().unwrap()).collect();
    assert!(reasons.iter().any(|reason| reason.contains("refused it with status 422")), "{reasons:?}");
    assert!(reasons.iter().any(|reason| reason.contains("it was delivered 2 times")), "{reasons:?}");
    let events = list["events"].as_array().unwrap();
    let poison = events.iter().find(|event| event["id"].as_str().unwrap().starts_with("ORDERS:51:")).unwrap();
    let id = poison["id"].as_str().unwrap();
    let shown = node.cli_ok(&["events", "show", "hello", "queue", id]).await;
    for line in [
        "POST /_events/queue",
        "ce-type: nats.message",
        "ce-source: nats:ORDERS",
        "ce-subject: orders.eu",
        &format!("ce-id: {id}"),
        "nats-sequence: 51",
        "nats-trace: 7",
        "nats-wasm-fn-version: v9",
        "poison",
    ] {
        assert!(shown.lines().any(|found| found == line), "{line}:\n{shown}");
    }
    let shown = node.cli_ok(&["triggers", "show", "hello", "queue"]).await;
    assert!(shown.contains("queue ORDERS orders.>") && shown.contains("connected for"), "{shown}");
    let metrics = node.api(Method::GET, "/metrics", None).await.text();
    for line in ["wasm_fn_trigger_queue_connected{", "wasm_fn_trigger_queue_repeated_total{"] {
        assert!(metrics.contains(line), "{line}:\n{metrics}");
    }

    // With a version that handles them, they are handled, although the broker has forgotten them.
    node.deploy_by("hello", "hello-v1", json!({}), json!({ "name": "all-at-once" })).await;
    node.cli_ok(&["events", "redrive", "hello", "queue", "--all"]).await;
    until(&node, "an empty box", |trigger| {
        trigger["inbox"]["dead"] == 0
            && trigger["inbox"]["waiting"] == 0
            && trigger["inbox"]["in_flight"] == 0
    })
    .await;

    // A pause keeps its place; a removal deletes the consumer.
    node.cli_ok(&["triggers", "pause", "hello", "queue"]).await;
    until(&node, "the pause", |trigger| trigger["queue"]["state"] == "paused").await;
    node.cli_ok(&["triggers", "resume", "hello", "queue"]).await;
    publish(&jetstream, 100, 1).await;
    settled(&jetstream, 53).await;
    node.cli_ok(&["triggers", "remove", "hello", "queue"]).await;
    patiently("the deletion", async {
        loop {
            let found: Result<PullConsumer, _> =
                jetstream.get_consumer_from_stream("wasm-fn_hello_live_queue", "ORDERS").await;
            if found.is_err() {
                return;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_canary_that_fails_one_in_five_deliveries_is_aborted_and_no_message_suffers() {
    let test = "a_canary_that_fails_one_in_five_deliveries_is_aborted_and_no_message_suffers";
    let Some(server) = Server::plain(test) else { return };
    let jetstream = server.orders().await;
    let node = Node::start().await;
    node.deploy_with("hello", "hello-v1", json!({})).await;
    add(&node, &server.url(), &["--attempts", "1"]).await;
    picky(&node, json!({ "name": "canary", "steps": ["50%"] })).await;
    let mut count = 0;
    patiently("the abort", async {
        while !node.live("hello").await["rollout"].is_null() {
            for number in 0..100 {
                let text = if number % 5 == 0 { "failing" } else { "fine" };
                jetstream.publish("orders.new", text.into()).await.unwrap().await.unwrap();
            }
            count += 100;
        }
    })
    .await;
    settled(&jetstream, count).await;
    let trigger =
        until(&node, "all counted", |trigger| trigger["queue"]["acknowledged"] == json!(count)).await;
    let queue = &trigger["queue"];
    assert_eq!(
        (&queue["dead"], &queue["retried"], &trigger["inbox"]["dead"]),
        (&json!(0), &json!(0), &json!(0))
    );
    assert_eq!(queue["delivered"], json!(count), "one delivery each, by canary or stable");
    let stable = node.live("hello").await;
    assert_eq!(stable["stable"], "v1", "{stable}");
}

#[tokio::test]
async fn a_queue_that_cannot_be_is_refused_or_shown_as_failing_and_nothing_else_suffers() {
    let test = "a_queue_that_cannot_be_is_refused_or_shown_as_failing_and_nothing_else_suffers";
    let Some(mut server) = Server::plain(test) else { return };
    let node = Node::start().await;
    node.deploy_with("hello", "hello-v1", json!({})).await;
    let queue = |url: String, rest: &[&str]| {
        let add =
            ["triggers", "add", "queue", "hello", "--stream", "ORDERS", "--subject", "orders.>", "--nats"];
        let words = add.iter().copied().chain([url.as_str()]).chain(rest.iter().copied());
        words.map(str::to_owned).collect::<Vec<_>>()
    };
    for (url, rest, facts) in [
        ("nats://ana:geheim@broker", &[][..], &["put them in a secret"][..]),
        ("http://broker", &[], &["expected nats or tls"]),
        (
            "nats://broker",
            &["--credentials", "NATS"],
            &["secret NATS is not set", "wasm-fn secrets set NATS"],
        ),
        ("nats://broker", &["--max-age", "1h"], &["a queue has none"]),
    ] {
        let words = queue(url.to_owned(), rest);
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        node.cli(&words).await.refused(facts);
    }
    let failing = async |url: String, rest: &[&str], reason: &str| {
        let words = queue(url, rest);
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        node.cli_ok(&words).await;
        let is_so = |trigger: &Value| {
            let found = trigger["queue"]["reason"].as_str().unwrap_or_default();
            trigger["queue"]["state"] == "failing" && found.contains(reason)
        };
        let trigger = until(&node, reason, is_so).await;
        assert!(trigger["queue"]["since_ms"].as_u64().unwrap() > 0);
        let listed = node.cli_ok(&["triggers", "list", "hello"]).await;
        assert!(listed.contains("failing"), "{listed}");
        assert_eq!(node.http.get("/hello").await.status.as_u16(), 200);
        node.cli_ok(&["triggers", "remove", "hello", "queue"]).await;
    };
    failing(format!("nats://{}", node.admin), &[], "the node itself").await;
    failing("nats://169.254.169.254:80".to_owned(), &[], "a cloud's metadata address").await;
    failing("nats://[fe80::1]:4222".to_owned(), &[], "a link-local address").await;
    failing(server.url(), &[], "broker has no stream ORDERS").await;
    let mut set = node.command(&["secrets", "set", "NATS", "-f", "hello"]);
    command::run_with(&mut set, b"ana:x").await.ok();
    server.kill();
    failing(server.url(), &["--credentials", "NATS"], "cannot be reached").await;

    // It works once the broker is there, and the secret is kept as long as it is needed.
    let words = queue(server.url(), &["--credentials", "NATS"]);
    node.cli_ok(&words.iter().map(String::as_str).collect::<Vec<_>>()).await;
    node.cli(&["secrets", "delete", "NATS", "-f", "hello"])
        .await
        .refused(&["the broker of the queue `queue`"]);
    server.restart();
    let jetstream = server.orders().await;
    publish(&jetstream, 0, 3).await;
    settled(&jetstream, 3).await;
}

/// Connections of the process `pid` that it began itself, by where they lead (proc_pid_net_tcp(5)).
fn outgoing(node: &Node) -> Vec<u16> {
    let pid = node.process().id();
    let own: BTreeSet<String> = std::fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .filter_map(|file| std::fs::read_link(file.ok()?.path()).ok())
        .filter_map(|link| Some(link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
        .collect();
    let port = |address: &str| u16::from_str_radix(address.rsplit(':').next()?, 16).ok();
    let text = std::fs::read_to_string(format!("/proc/{pid}/net/tcp")).unwrap();
    let rows = text.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    let listeners = [node.listen.port(), node.admin.port()];
    rows.filter(|row| row[3] == "01" && own.contains(row[9]))
        .filter_map(|row| Some((port(row[1])?, port(row[2])?)))
        .filter(|(local, _)| !listeners.contains(local))
        .map(|(_, remote)| remote)
        .collect()
}

#[tokio::test]
async fn a_node_connects_to_brokers_only_for_queues() {
    let Some(server) = Server::plain("a_node_connects_to_brokers_only_for_queues") else { return };
    server.orders().await;
    let node = Node::start().await;
    node.deploy_with("hello", "hello-v1", json!({})).await;
    node.cli_ok(&["triggers", "add", "schedule", "hello", "--every", "1s"]).await;
    assert_eq!(outgoing(&node), Vec::<u16>::new());
    add(&node, &server.url(), &[]).await;
    until(&node, "the connection", |trigger| trigger["queue"]["state"] == "connected").await;
    assert_eq!(outgoing(&node), [server.port]);
    node.cli_ok(&["triggers", "remove", "hello", "queue"]).await;
    patiently("the end of the connection", async {
        while !outgoing(&node).is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_message_is_lost_whoever_is_killed() {
    let Some(mut server) = Server::plain("no_message_is_lost_whoever_is_killed") else { return };
    let messages = setting("WASM_FN_TEST_MESSAGES", ORDINARY.0);
    let kills = setting("WASM_FN_TEST_KILLS", ORDINARY.1).min(40);
    let restarts = setting("WASM_FN_TEST_RESTARTS", ORDINARY.2);
    let seed = setting("WASM_FN_TEST_SEED", rand::random());
    println!("WASM_FN_TEST_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let jetstream = server.jetstream().await;
    create(&jetstream, "orders.>").await;
    let mut node = Node::start().await;
    picky(&node, json!({ "name": "all-at-once" })).await;
    add(&node, &server.url(), &["--concurrency", "50"]).await;
    let mut poison = BTreeSet::new();
    let mut acks = Vec::new();
    // No more than one page of dead letters shows.
    let poison_every = POISON_EVERY.max(messages.div_ceil(DEAD_SHOWN));
    for number in 1..=messages {
        let text = if number % poison_every == 0 {
            poison.insert(number);
            "poison".to_owned()
        } else {
            number.to_string()
        };
        acks.push(jetstream.publish("orders.new", text.into()).await.unwrap());
        if acks.len() == 1000 {
            for ack in acks.drain(..) {
                ack.await.unwrap();
            }
        }
    }
    for ack in acks {
        ack.await.unwrap();
    }
    // What happens, at which share of the messages.
    let mut plan: Vec<_> = (0..kills)
        .map(|_| true)
        .chain((0..restarts).map(|_| false))
        .map(|kill| (random.random::<f64>(), kill))
        .collect();
    plan.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    for (share, kill) in plan {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "it is a share of a count"
        )]
        let goal = (share * messages as f64) as u64;
        let jetstream = server.jetstream().await;
        patiently("progress", async {
            loop {
                let consumer: Result<PullConsumer, _> =
                    jetstream.get_consumer_from_stream("wasm-fn_hello_live_queue", "ORDERS").await;
                if consumer.is_ok_and(|consumer| consumer.cached_info().delivered.stream_sequence >= goal) {
                    return;
                }
            }
        })
        .await;
        if kill {
            let folder = node.kill().await;
            node = Node::start_on(folder, &[]).await;
        } else {
            server.restart();
        }
    }
    settled(&server.jetstream().await, messages).await;
    assert_eq!(dead(&node).await, poison);
    let trigger = node.api_ok(Method::GET, TRIGGER, None).await;
    assert_eq!((&trigger["inbox"]["waiting"], &trigger["inbox"]["in_flight"]), (&json!(0), &json!(0)));
}
