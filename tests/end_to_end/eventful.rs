//! Events: schedules that tick, webhooks that are verified, canaries that are tried with both, and what is
//! kept of those that failed.

use std::os::unix::fs::PermissionsExt as _;

use http::Method;
use ring::hmac;
use serde_json::{Value, json};

use crate::harness::{client::Answer, *};

/// Waits until `holds` says so of the trigger `name` of `hello`.
async fn until(node: &Node, name: &str, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
    let path = format!("/v1/functions/hello/stages/live/triggers/{name}");
    patiently(what, async {
        loop {
            let trigger = node.api_ok(Method::GET, &path, None).await;
            if holds(&trigger) {
                return trigger;
            }
        }
    })
    .await
}

/// The sum of `count` over the versions of a trigger.
fn sum(trigger: &Value, count: &str) -> u64 {
    let versions = trigger["counts"]["versions"].as_array().into_iter().flatten();
    versions.map(|version| version[count].as_u64().unwrap()).sum()
}

async fn stable(node: &Node, guest: &str) {
    node.deploy_with("hello", guest, json!({})).await;
}

#[tokio::test]
async fn schedule_runs_a_function_and_goes_on_after_a_crash() {
    let node = Node::start().await;
    stable(&node, "env").await;
    let added = node.cli_ok(&["triggers", "add", "schedule", "hello", "--every", "1s"]).await;
    assert!(added.contains("schedule"), "{added}");
    until(&node, "schedule", "two runs", |trigger| sum(trigger, "acknowledged") >= 2).await;
    assert!(node.logs("hello").await.len() >= 4, "each run writes two lines");

    let folder = node.kill().await;
    // What services send is for nobody else on the machine.
    let mode = |path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(folder.data()), mode(folder.data().join("events.redb"))), (0o700, 0o600));
    let node = Node::start_on(folder, &[]).await;
    until(&node, "schedule", "a run after the crash", |trigger| sum(trigger, "acknowledged") >= 1).await;

    node.cli_ok(&["triggers", "pause", "hello", "schedule", "-m", "too loud"]).await;
    let paused = until(&node, "schedule", "the pause", |trigger| !trigger["paused"].is_null()).await;
    assert_eq!(paused["paused"]["note"], "too loud");
    node.cli_ok(&["triggers", "run", "hello", "schedule"]).await;
    node.cli_ok(&["triggers", "resume", "hello", "schedule"]).await;
    let runs = |trigger: &Value| sum(trigger, "acknowledged");
    let before = runs(&paused);
    until(&node, "schedule", "runs after the pause", |trigger| runs(trigger) > before + 1).await;

    node.cli_ok(&["triggers", "remove", "hello", "schedule"]).await;
    node.cli(&["triggers", "show", "hello", "schedule"]).await.refused(&["has no trigger `schedule`"]);
    let actions: Vec<_> = node.cli_json(&["history", "hello"]).await["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["action"].as_str().unwrap().to_owned())
        .collect();
    let expected =
        ["remove-trigger", "resume-trigger", "run-trigger", "pause-trigger", "add-trigger", "deploy"];
    assert_eq!(actions, expected);
}

#[tokio::test]
async fn schedule_that_cannot_be_is_refused_by_name() {
    let node = Node::start().await;
    stable(&node, "env").await;
    let add = ["triggers", "add", "schedule", "hello"];
    for (args, facts) in [
        (&["--cron", "* * 31 2 *"][..], &["31"][..]),
        (&["--cron", "61 * * * *"], &["minute"]),
        (&["--cron", "0 2 * * *", "--time-zone", "Europe/Berlni"], &["Europe/Berlni"]),
        (&["--every", "0s"], &["0"]),
    ] {
        node.cli(&[&add, args].concat()).await.refused(facts);
    }
    node.cli_ok(&[&add[..], &["--cron", "0 2 * * *", "--name", "nightly"]].concat()).await;
    node.cli(&[&add[..], &["--cron", "0 3 * * *", "--name", "nightly"]].concat())
        .await
        .refused(&["already has a trigger `nightly`"]);
}

const KEY: &[u8] = b"It's a Secret to Everybody";

/// `bytes` as lower-case hexadecimal digits.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Sends what GitHub would send.
async fn push(node: &Node, hook: &str, id: &str, body: &'static str, key: &[u8]) -> Answer {
    push_for(node, hook, id, body, key, "7").await
}

/// The same for the repository of this number.
async fn push_for(
    node: &Node,
    hook: &str,
    id: &str,
    body: &'static str,
    key: &[u8],
    repository: &str,
) -> Answer {
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), body.as_bytes());
    let request = node
        .http
        .request(Method::POST, hook)
        .header("x-github-event", "push")
        .header("x-github-hook-installation-target-id", repository)
        .header("x-github-delivery", id)
        .header("x-hub-signature-256", format!("sha256={}", hex(signature.as_ref())))
        .header("content-type", "application/json");
    node.http.send(request.body(body).unwrap()).await.unwrap()
}

/// A webhook of `hello` that GitHub calls.
async fn webhook(node: &Node, args: &[&str]) -> String {
    let mut set = node.command(&["secrets", "set", "WEBHOOK_KEY", "-f", "hello"]);
    command::run_with(&mut set, KEY).await.ok();
    let add = ["triggers", "add", "webhook", "hello", "--provider", "github", "--secret", "WEBHOOK_KEY"];
    node.cli_ok(&[&add, args].concat()).await;
    let path = "/v1/functions/hello/stages/live/triggers/github";
    let trigger = node.api_ok(Method::GET, path, None).await;
    trigger["url_path"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn webhook_is_verified_and_delivered_once() {
    let node = Node::start().await;
    stable(&node, "cgi").await;
    let hook = webhook(&node, &[]).await;
    assert!(hook.starts_with("/_hooks/") && hook.len() > 30, "{hook}");
    push(&node, &hook, "1", "{}", b"another key").await.problem(401, "webhook-denied");
    let unsigned = node.http.request(Method::POST, &hook).body("{}").unwrap();
    node.http.send(unsigned).await.unwrap().problem(401, "webhook-denied");
    node.http.get(&hook).await.problem(405, "method-not-allowed");

    let received = push(&node, &hook, "1", "{}", KEY).await;
    assert_eq!((received.status.as_u16(), &received.text()[..]), (202, "received as 1\n"));
    until(&node, "github", "the event", |trigger| sum(trigger, "acknowledged") == 1).await;
    let again = push(&node, &hook, "1", "{}", KEY).await;
    assert_eq!((again.status.as_u16(), &again.text()[..]), (202, "received before as 1\n"));
    push(&node, &hook, "2", "{}", KEY).await;
    let trigger = until(&node, "github", "the next event", |trigger| sum(trigger, "acknowledged") >= 2).await;
    assert_eq!(sum(&trigger, "acknowledged"), 2);

    let delete = ["secrets", "delete", "WEBHOOK_KEY", "-f", "hello"];
    node.cli(&delete).await.refused(&["verifies the webhook `github`", "wasm-fn triggers remove"]);
    node.cli_ok(&["triggers", "remove", "hello", "github"]).await;
    node.cli_ok(&delete).await;
    push(&node, &hook, "3", "{}", KEY).await.problem(404, "no-such-function");
}

#[tokio::test]
async fn webhook_may_be_answered_by_the_function() {
    let node = Node::start().await;
    stable(&node, "cgi").await;
    let hook = webhook(&node, &["--mode", "sync"]).await;
    let answer = push(&node, &hook, "1", "the body", KEY).await.ok();
    let text = answer.text();
    for line in [
        "HTTP_CE_TYPE=com.github.push",
        "HTTP_CE_ID=1",
        "HTTP_WASM_FN_ATTEMPT=1",
        "HTTP_WASM_FN_TRIGGER=github",
        "PATH_INFO=/_events/github",
        "the body",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}:\n{text}");
    }
    assert_eq!(push(&node, &hook, "1", "the body", KEY).await.ok().text(), "received before\n");
}

#[tokio::test]
async fn events_that_a_canary_fails_go_to_stable_and_end_it() {
    let node = Node::start().await;
    stable(&node, "hello-v1").await;
    node.cli_ok(&["triggers", "add", "schedule", "hello", "--cron", "0 0 1 1 *"]).await;
    let canary = json!({ "name": "canary", "steps": ["50%"] });
    node.deploy_by("hello", "broken", json!({}), canary).await;
    let mut runs = 0;
    patiently("the abort", async {
        loop {
            runs += 1;
            node.cli_ok(&["triggers", "run", "hello", "schedule"]).await;
            let live = node.live("hello").await;
            if live["rollout"].is_null() {
                return;
            }
        }
    })
    .await;
    let trigger = until(&node, "schedule", "every run", |trigger| sum(trigger, "acknowledged") == runs).await;
    let versions = trigger["counts"]["versions"].as_array().unwrap();
    let by: Vec<_> = versions.iter().map(|version| version["version"].as_str().unwrap()).collect();
    assert_eq!(by, ["v1"], "{trigger}");
    assert_eq!((sum(&trigger, "retried"), sum(&trigger, "failed")), (0, 0));
    assert_eq!(trigger["inbox"]["dead"], 0);
}

#[tokio::test]
async fn dead_letters_are_kept_for_people() {
    let node = Node::start().await;
    stable(&node, "broken").await;
    let add = ["triggers", "add", "schedule", "hello", "--cron", "0 0 1 1 *", "--attempts", "1"];
    node.cli_ok(&add).await;
    node.cli_ok(&["triggers", "run", "hello", "schedule"]).await;
    until(&node, "schedule", "the dead letter", |trigger| trigger["inbox"]["dead"] == 1).await;
    let list = node.cli_json(&["events", "list", "hello", "schedule", "--dead"]).await;
    let event = &list["events"][0];
    let id = event["id"].as_str().unwrap();
    assert!(event["state"]["reason"].as_str().unwrap().contains("500 by v1"), "{event}");
    let shown = node.cli_ok(&["events", "show", "hello", "schedule", id]).await;
    assert!(shown.contains("wasm-fn.schedule.tick"), "{shown}");
    for command in ["redrive", "discard"] {
        let refused = node.cli(&["events", command, "hello", "schedule", "nobody"]).await;
        refused.refused(&["the id is none of a dead letter", "wasm-fn events list hello schedule --dead"]);
    }

    // With a version that handles it, it is handled.
    node.deploy_by("hello", "hello-v1", json!({}), json!({ "name": "all-at-once" })).await;
    node.cli_ok(&["events", "redrive", "hello", "schedule", "--all"]).await;
    until(&node, "schedule", "the redriven event", |trigger| sum(trigger, "acknowledged") == 1).await;
    let trigger = until(&node, "schedule", "an empty box", |trigger| trigger["inbox"]["dead"] == 0).await;
    assert_eq!(trigger["inbox"]["waiting"], 0);
}

#[tokio::test]
async fn request_may_be_answered_later() {
    let node = Node::start().await;
    stable(&node, "cgi").await;
    let ask = || {
        let request = node.http.request(Method::POST, "/hello/later?status=201");
        node.http.send(request.header("wasm-fn-async", "1").body("the body").unwrap())
    };
    let refused = ask().await.unwrap().problem(400, "bad-request");
    assert!(refused["detail"].as_str().unwrap().contains("takes no asynchronous requests"), "{refused}");

    node.deploy_with("hello", "cgi", json!({ "async": true })).await;
    let accepted = ask().await.unwrap();
    assert_eq!(accepted.status.as_u16(), 202);
    let accepted: Value = serde_json::from_str(&accepted.text()).unwrap();
    let id = accepted["event"].as_str().unwrap();
    let path = format!("/v1/functions/hello/stages/live/triggers/@async/events/{id}");
    patiently("the answer", async {
        while node.api_ok(Method::GET, &path, None).await["state"]["text"] != "201 by v2" {}
    })
    .await;
}

#[tokio::test]
async fn deliveries_wait_for_the_rate() {
    let node = Node::start().await;
    stable(&node, "hello-v1").await;
    let hook = webhook(&node, &["--rate", "1/h"]).await;
    for id in ["1", "2", "3"] {
        assert_eq!(push(&node, &hook, id, "{}", KEY).await.status, 202);
    }
    let waits = |trigger: &Value| sum(trigger, "acknowledged") == 1 && trigger["inbox"]["waiting"] == 2;
    let trigger = until(&node, "github", "one delivery", waits).await;
    assert_eq!((&trigger["rate"], &trigger["inbox"]["in_flight"]), (&json!("1/h"), &json!(0)));
    node.cli(&["triggers", "add", "webhook", "hello", "--provider", "github", "--secret", "WEBHOOK_KEY"])
        .await
        .ok();
    let refused = ["triggers", "add", "schedule", "hello", "--every", "1m", "--rate", "5/d"];
    node.cli(&refused).await.refused(&["5/d", "5/s"]);
    // Those of all functions, in one answer.
    let all = node.cli_ok(&["triggers", "list"]).await;
    for name in ["github ", "github-2"] {
        assert!(all.lines().any(|line| line.contains(name)), "{all}");
    }
}

#[tokio::test]
async fn events_are_in_order_by_a_header_of_the_service() {
    let node = Node::start().await;
    stable(&node, "hello-v1").await;
    let by = ["--ordered-by", "X-GitHub-Hook-Installation-Target-Id", "--redeliver", "effect-free"];
    let hook = webhook(&node, &by).await;
    node.cli_ok(&["triggers", "pause", "hello", "github"]).await;
    for (id, repository) in [("1", "7"), ("2", "8"), ("3", "7")] {
        assert_eq!(push_for(&node, &hook, id, "{}", KEY, repository).await.status, 202);
    }
    let list = node.cli_json(&["events", "list", "hello", "github"]).await;
    let keys = list["events"].as_array().unwrap().iter().map(|event| event["ordering_key"].as_str().unwrap());
    assert_eq!(keys.collect::<Vec<_>>(), ["7", "8", "7"]);
    node.cli_ok(&["triggers", "resume", "hello", "github"]).await;
    let trigger = until(&node, "github", "all events", |trigger| sum(trigger, "acknowledged") == 3).await;
    let settings = (&trigger["ordered_by"], &trigger["redeliver"]);
    assert_eq!(settings, (&json!("x-github-hook-installation-target-id"), &json!("effect-free")));
}

#[tokio::test]
async fn canary_that_fails_a_tick_without_effects_has_its_rollout_paused() {
    let node = Node::start().await;
    stable(&node, "hello-v1").await;
    let add = ["triggers", "add", "schedule", "hello", "--cron", "0 0 1 1 *", "--canary-runs", "3"];
    node.cli_ok(&add).await;
    let canary = json!({ "name": "canary", "steps": ["1%"] });
    node.deploy_by("hello", "hello-v2", json!({}), canary.clone()).await;
    let run = ["triggers", "run", "hello", "schedule"];
    node.cli_ok(&run).await;
    let passed = |trigger: &Value| trigger["counts"]["canary_runs"][0]["passed"] == 1;
    until(&node, "schedule", "a run that passes", passed).await;
    node.cli_ok(&["abort", "hello"]).await;

    node.deploy_by("hello", "broken", json!({}), canary).await;
    node.cli_ok(&run).await;
    let failed = |trigger: &Value| trigger["counts"]["canary_runs"][0]["failed"] == 1;
    let trigger = until(&node, "schedule", "a run that fails", failed).await;
    assert_eq!(trigger["counts"]["canary_runs"][0]["version"], "v3");
    patiently("the pause", async { while node.live("hello").await["rollout"]["phase"] != "paused" {} }).await;
    let history = node.cli_json(&["history", "hello"]).await;
    let newest = &history["entries"][0];
    let message = newest["message"].as_str().unwrap();
    assert_eq!((&newest["action"], &newest["actor"]), (&json!("pause"), &json!("node")));
    assert!(message.starts_with("v3 answered 500 to a tick of `schedule` that stable handled"), "{message}");
    // Every tick was handled by stable.
    let trigger = until(&node, "schedule", "both ticks", |trigger| sum(trigger, "acknowledged") == 2).await;
    assert_eq!(trigger["counts"]["versions"].as_array().unwrap().len(), 1, "{trigger}");
    assert_eq!(trigger["counts"]["versions"][0]["version"], "v1");
}

#[tokio::test]
async fn effect_that_a_canarys_run_is_refused_says_nothing_about_it() {
    let node = Node::start().await;
    let config = |variable: &str| json!({ "buckets": { "default": {} }, "env": { "VERSION": variable } });
    node.deploy_with("hello", "stateful", config("1")).await;
    let add = ["triggers", "add", "schedule", "hello", "--cron", "0 0 1 1 *", "--canary-runs", "2"];
    node.cli_ok(&[&add[..], &["--path", "/_events/increment/ticks"]].concat()).await;
    let canary = json!({ "name": "canary", "steps": ["1%"] });
    node.deploy_by("hello", "stateful", config("2"), canary).await;
    let ticks = async || node.cli_ok(&["kv", "get", "hello", "default", "ticks"]).await;
    for tick in 1..=2 {
        node.cli_ok(&["triggers", "run", "hello", "schedule"]).await;
        let unclear = |trigger: &Value| trigger["counts"]["canary_runs"][0]["unclear"] == tick;
        let trigger = until(&node, "schedule", "a run that is refused its write", unclear).await;
        let runs = &trigger["counts"]["canary_runs"][0];
        assert_eq!(
            (&runs["version"], &runs["passed"], &runs["failed"]),
            (&json!("v2"), &json!(0), &json!(0))
        );
        // Both versions have the bucket, and stable alone has written to it.
        assert_eq!(ticks().await, tick.to_string());
    }
    let trigger = until(&node, "schedule", "both ticks", |trigger| sum(trigger, "acknowledged") == 2).await;
    assert_eq!(trigger["counts"]["versions"].as_array().unwrap().len(), 1, "{trigger}");
    assert_eq!(trigger["counts"]["versions"][0]["version"], "v1");
    assert_eq!(node.live("hello").await["rollout"]["phase"], "progressing");
}
