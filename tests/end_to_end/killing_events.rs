//! A node that is killed at random points while events come in: afterwards, every event that was acknowledged
//! is handled or a dead letter, and no tick is missing. And one whose disk is full.
//!
//! `WASM_FN_TEST_KILLS` sets how many kills; the seed is printed and can be set as `WASM_FN_TEST_SEED`.

use std::{collections::BTreeMap, process::Command, time::Duration};

use http::Method;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use ring::hmac;
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::{Value, json};

use crate::harness::{
    Folder, Node,
    client::{Answer, Client, Origin},
    command, patiently, serve,
};

/// Kills of an ordinary run.
const KILLS: u64 = 12;

/// Longest time from the node's readiness to its death.
const LIFE_MAX_US: u64 = 700_000;

/// Events that a life begins with, at most.
const EVENTS_MAX: u32 = 60;

const KEY: &[u8] = b"It's a Secret to Everybody";

/// The sources of events of a life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Source {
    /// A webhook whose function handles its events.
    Handled,
    /// A webhook whose function fails, and that tries once.
    Failing,
    /// Requests that a function handles later, by calling an origin.
    Later,
}

impl Source {
    const ALL: [Self; 3] = [Self::Handled, Self::Failing, Self::Later];

    /// What its events are asked for at.
    fn events(self) -> &'static str {
        match self {
            Self::Handled => "/v1/functions/hello/stages/live/triggers/github/events",
            Self::Failing => "/v1/functions/broken/stages/live/triggers/github/events",
            Self::Later => "/v1/functions/fetch/stages/live/triggers/@async/events",
        }
    }

    /// How its events end.
    fn end(self) -> &'static str {
        match self {
            Self::Handled | Self::Later => "acknowledged",
            Self::Failing => "dead",
        }
    }
}

/// What the node has acknowledged, and what is not over yet: the id of the event, and for a request the path
/// by which the origin hears of it.
type Acknowledged = BTreeMap<(Source, String), Option<String>>;

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Sends what GitHub would send; `None` if the node dies before it has answered.
async fn push(client: &Client, hook: &str, id: &str, body: String) -> Option<Answer> {
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, KEY), body.as_bytes());
    let digits: String = signature.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let request = client
        .request(Method::POST, hook)
        .header("x-github-event", "push")
        .header("x-github-delivery", id)
        .header("x-hub-signature-256", format!("sha256={digits}"));
    client.send(request.body(body).expect("its parts are valid")).await.ok()
}

/// Sends a request that calls `origin` at a path of its own later. Returns that path.
async fn later(client: &Client, origin: &Origin, id: &str) -> (Option<Answer>, String) {
    let path = format!("/heard/{id}");
    let target = format!("/fetch?url=http%3A%2F%2F{}{}", origin.address, path.replace('/', "%2F"));
    let request = client.request(Method::POST, &target).header("wasm-fn-async", "1");
    (client.send(request.body("").expect("its parts are valid")).await.ok(), path)
}

/// Sends events until the node dies, at most [`EVENTS_MAX`]. Notes those that it acknowledges.
async fn send(
    node: &Node,
    hooks: &BTreeMap<Source, String>,
    origin: &Origin,
    life: u64,
    acknowledged: &mut Acknowledged,
) {
    for number in 0..EVENTS_MAX {
        let id = format!("{life}-{number}");
        // A trigger may have 10,000 dead letters.
        let sources = Source::ALL.into_iter().filter(|source| *source != Source::Failing || number % 10 == 0);
        for source in sources {
            let (answer, path) = match hooks.get(&source) {
                Some(hook) => (push(&node.http, hook, &id, "{}".to_owned()).await, None),
                None => {
                    let (answer, path) = later(&node.http, origin, &id).await;
                    (answer, Some(path))
                }
            };
            let Some(answer) = answer else { return };
            assert_eq!(answer.status, 202, "{source:?}: {}", answer.text());
            let event = match source {
                Source::Later => {
                    let told: Value = serde_json::from_slice(&answer.body).expect("it is JSON");
                    told["event"].as_str().expect("an id").to_owned()
                }
                Source::Handled | Source::Failing => id.clone(),
            };
            acknowledged.insert((source, event), path);
        }
    }
    // Nothing more to do: it lives on until it is killed.
    std::future::pending::<()>().await;
}

/// Asserts that every event is there. Forgets those that are over.
async fn nothing_is_lost(node: &Node, origin: &Origin, acknowledged: &mut Acknowledged) {
    for ((source, event), path) in std::mem::take(acknowledged) {
        let answer = node.api(Method::GET, &format!("{}/{event}", source.events()), None).await;
        assert_eq!(answer.status, 200, "{event} of {source:?} is lost: {}", answer.text());
        let told: Value = serde_json::from_slice(&answer.body).expect("it is JSON");
        let state = told["state"]["is"].as_str().expect("a state").to_owned();
        if state != source.end() {
            assert!(["waiting", "running"].contains(&&*state), "{event} of {source:?} is {state}: {told}");
            acknowledged.insert((source, event), path);
        } else if let Some(path) = path {
            assert!(origin.heard(&path), "{event} is said to be handled, and the origin has not heard of it");
        }
    }
}

/// Waits until no trigger has an event that waits or is being delivered.
async fn idle(node: &Node, triggers: &[String]) {
    patiently("an empty inbox", async {
        for trigger in triggers {
            loop {
                let inbox = node.api_ok(Method::GET, trigger, None).await["inbox"].take();
                if inbox["waiting"] == 0 && inbox["in_flight"] == 0 {
                    break;
                }
            }
        }
    })
    .await;
}

/// Adds a webhook of `function`. Returns its path.
async fn webhook(node: &Node, function: &str, args: &[&str]) -> String {
    let mut set = node.command(&["secrets", "set", "WEBHOOK_KEY", "-f", function]);
    command::run_with(&mut set, KEY).await.ok();
    let add = ["triggers", "add", "webhook", function, "--provider", "github", "--secret", "WEBHOOK_KEY"];
    node.cli_ok(&[&add, args].concat()).await;
    let path = format!("/v1/functions/{function}/stages/live/triggers/github");
    let trigger = node.api_ok(Method::GET, &path, None).await;
    trigger["url_path"].as_str().expect("a webhook has a path").to_owned()
}

const TICKS: &str = "/v1/functions/hello/stages/live/triggers/schedule";

#[tokio::test]
async fn no_event_that_was_acknowledged_is_lost() {
    let seed = setting("WASM_FN_TEST_SEED", rand::random());
    let kills = setting("WASM_FN_TEST_KILLS", KILLS);
    println!("WASM_FN_TEST_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let origin = Origin::start("heard").await;
    let mut node = Node::start().await;
    node.deploy("hello-v1").await;
    node.deploy_with("hello", "hello-v1", json!({})).await;
    node.deploy("broken").await;
    let egress = format!("http://{}", origin.address);
    node.deploy_with("fetch", "fetch", json!({ "async": true, "egress": [egress] })).await;
    let hooks = BTreeMap::from([
        (Source::Handled, webhook(&node, "hello", &[]).await),
        (Source::Failing, webhook(&node, "broken", &["--attempts", "1"]).await),
    ]);
    let schedule = ["triggers", "add", "schedule", "hello", "--every", "1s", "--overlap", "allow-all"];
    node.cli_ok(&[&schedule[..], &["--catch-up", "24h"]].concat()).await;
    let added_ms = node.api_ok(Method::GET, TICKS, None).await["created_ms"].as_u64().expect("a time");

    let (mut acknowledged, mut total) = (Acknowledged::new(), 0);
    for life in 0..kills {
        let lasts = Duration::from_micros(random.random_range(0..LIFE_MAX_US));
        let before = acknowledged.len();
        let sending = send(&node, &hooks, &origin, life, &mut acknowledged);
        // The moment of its death is what this test draws; nothing waits for it.
        let _ = tokio::time::timeout(lasts, sending).await;
        total += acknowledged.len() - before;
        node = Node::start_on(node.kill().await, &[]).await;
        nothing_is_lost(&node, &origin, &mut acknowledged).await;
    }
    let of_webhooks = Source::ALL.map(|source| source.events().trim_end_matches("/events").to_owned());
    let triggers: Vec<_> = of_webhooks.into_iter().filter(|path| !path.ends_with("@async")).collect();
    idle(&node, &triggers).await;
    patiently("the last answers", async {
        while !acknowledged.is_empty() {
            nothing_is_lost(&node, &origin, &mut acknowledged).await;
        }
    })
    .await;
    assert!(total > 0, "something was acknowledged before the node died");

    // A backfill runs what did not run: there is nothing.
    node.cli_ok(&["triggers", "pause", "hello", "schedule"]).await;
    idle(&node, &[TICKS.to_owned()]).await;
    let paused = node.api_ok(Method::GET, TICKS, None).await;
    let until_ms = paused["paused"]["since_ms"].as_u64().expect("a time");
    let range = json!({ "from_ms": added_ms + 1, "to_ms": until_ms - 1000 });
    let filled = node.api(Method::POST, &format!("{TICKS}/backfill"), Some(&range)).await;
    let missing = match filled.status.as_u16() {
        // There was no whole second.
        409 => 0,
        _ => serde_json::from_slice::<Value>(&filled.body).expect("it is JSON")["runs"]
            .as_u64()
            .expect("a number"),
    };
    assert_eq!(missing, 0, "ticks between {added_ms} and {until_ms} did not run");
    assert_eq!((&paused["inbox"]["dead"], &paused["counts"]["missed"]), (&json!(0), &json!(0)));
    println!("{kills} kills, {total} events acknowledged, {} s of ticks", (until_ms - added_ms) / 1000);
}

/// `command`, which is told by an error, and not by a signal, that a file may not grow.
fn told_by_errors(command: &Command) -> Command {
    let mut shell = Command::new("sh");
    shell
        .args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""])
        .arg(command.get_program())
        .args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    shell.current_dir(command.get_current_dir().expect("a node has a folder"));
    shell.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::null());
    shell
}

#[tokio::test]
async fn full_disk_refuses_events_and_loses_none() {
    let folder = Folder::new();
    let node = Node::start_as(&mut told_by_errors(&serve(&folder, &[])), folder).await;
    node.deploy_with("hello", "hello-v1", json!({})).await;
    let hook = webhook(&node, "hello", &[]).await;
    // What came stays there, and takes its place.
    node.cli_ok(&["triggers", "pause", "hello", "github"]).await;

    let pid = i32::try_from(node.process().id()).ok().and_then(Pid::from_raw).expect("it runs");
    let limit =
        |bytes| prlimit(Some(pid), Resource::Fsize, Rlimit { current: bytes, maximum: None }).map(drop);
    let bytes = std::fs::metadata(node.folder().data().join("events.redb")).expect("it is there").len();
    limit(Some(bytes.max(4 << 20))).expect("the limit of a child can be set");
    let body = || "x".repeat(100_000);
    let (mut accepted, mut refused) = (Vec::new(), 0);
    // Small parts may still find room for a while.
    for number in 0.. {
        let id = number.to_string();
        let answer = push(&node.http, &hook, &id, body()).await.expect("a full disk ends no node");
        match answer.status.as_u16() {
            202 => accepted.push(id),
            _ => {
                let problem = answer.problem(503, "inbox-full");
                assert_eq!(problem["detail"], "the event was not kept");
                assert!(answer.headers.contains_key("retry-after"));
                refused += 1;
            }
        }
        if refused == 10 {
            break;
        }
    }
    assert!(!accepted.is_empty());
    // Requests are served all the same.
    node.http.get("/hello").await.ok();

    limit(None).expect("the limit of a child can be lifted");
    patiently("room on the disk", async {
        while push(&node.http, &hook, "later", body()).await.expect("it lives").status != 202 {}
    })
    .await;
    accepted.push("later".to_owned());
    // Over a crash as well.
    let node = Node::start_on(node.kill().await, &[]).await;
    node.cli_ok(&["triggers", "resume", "hello", "github"]).await;
    idle(&node, &["/v1/functions/hello/stages/live/triggers/github".to_owned()]).await;
    for id in &accepted {
        let path = format!("{}/{id}", Source::Handled.events());
        // That an event is over is on disk a moment later.
        patiently("an event that is over", async {
            loop {
                let event = node.api_ok(Method::GET, &path, None).await;
                let state = event["state"]["is"].as_str().expect("a state");
                assert!(["running", "acknowledged"].contains(&state), "{id} is {state}");
                if state == "acknowledged" {
                    return;
                }
            }
        })
        .await;
    }
    println!("{} events were accepted before the disk was full", accepted.len());
}
