//! Functions that keep state: what they write is there after a crash, right under concurrency, within its
//! quota, and theirs alone.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::{Node, client::Client, command::run_with, guests, patiently};

/// A configuration with the buckets `default` and `small`.
fn config() -> Value {
    json!({ "buckets": {
        "default": {},
        "small": { "bytes_max": 1024, "keys_max": 2, "value_bytes_max": 16 },
    } })
}

async fn deployed() -> Node {
    let node = Node::start().await;
    node.deploy_with("state", "stateful", config()).await;
    node
}

impl Node {
    /// What `state` answers with success.
    async fn asked(&self, path: &str) -> String {
        self.http.get(&format!("/state/{path}")).await.ok().text()
    }

    /// What `state` answers with an error of a bucket.
    async fn error_of(&self, path: &str) -> String {
        let answer = self.http.get(&format!("/state/{path}")).await;
        assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR, "{path}: {answer:?}");
        answer.text()
    }
}

/// The answers to `count` requests for `path` by `clients` clients at once.
async fn at_once(node: &Node, path: &str, count: usize, clients: usize) -> Vec<String> {
    let tasks = (0..clients).map(|_| {
        let (client, path) = (Client::http1(node.listen), format!("/state/{path}"));
        tokio::spawn(async move {
            let mut answers = Vec::new();
            for _ in 0..count / clients {
                answers.push(client.get(&path).await.ok().text());
            }
            answers
        })
    });
    let mut answers = Vec::new();
    for task in tasks.collect::<Vec<_>>() {
        answers.extend(patiently("the answers", task).await.unwrap());
    }
    answers
}

#[tokio::test]
async fn every_operation_does_what_its_interface_says() {
    let node = deployed().await;
    assert_eq!(node.error_of("get/a").await, "no such key");
    assert_eq!(node.asked("set/a?value=one").await, "set");
    assert_eq!(node.asked("set/a?value=two").await, "set");
    assert_eq!(node.asked("get/a").await, "two");
    assert_eq!(node.asked("get/a?bucket=default").await, "two", "the empty identifier is `default`");
    assert_eq!(node.asked("increment/n").await, "1");
    assert_eq!(node.asked("cas/n").await, "2");
    assert_eq!(node.asked("decrement/n").await, "1");
    assert_eq!(node.asked("twice/t").await, "true changed", "a comparison notices what changed meanwhile");
    assert_eq!(node.asked("batch/x").await, "xa=xa none xc=xc");
    assert_eq!(node.asked("list/all").await, "a\nn\nt");
    assert_eq!(node.asked("list/all?bucket=small").await, "");
    assert_eq!(node.asked("delete/a").await, "deleted");
    assert_eq!(node.asked("delete/a").await, "deleted", "deleting what is not there does nothing");
    assert_eq!(node.error_of("get/a").await, "no such key");
    let error = node.error_of("increment/t").await;
    assert!(error.contains("value has 7 bytes that are no decimal number"), "{error}");
}

#[tokio::test]
async fn a_thousand_concurrent_swaps_of_one_key_are_a_thousand() {
    let node = deployed().await;
    let mut answers: Vec<u64> =
        at_once(&node, "cas/n", 1000, 40).await.iter().map(|answer| answer.parse().unwrap()).collect();
    answers.sort_unstable();
    assert_eq!(answers, Vec::from_iter(1..=1000), "each count is answered once");
    assert_eq!(node.asked("get/n").await, "1000");
    at_once(&node, "increment/n", 1000, 40).await;
    assert_eq!(node.asked("get/n").await, "2000");
}

#[tokio::test]
async fn what_was_answered_is_there_after_a_crash() {
    let node = deployed().await;
    let before = at_once(&node, "increment/n", 200, 20).await.len();
    // Some requests are in flight when the node is killed.
    let (listen, mut acknowledged) = (node.listen, 0);
    let writers = (0..20).map(|_| {
        tokio::spawn(async move {
            let client = Client::http1(listen);
            let mut answered = 0;
            loop {
                let request = client.request(Method::GET, "/state/increment/n").body("").unwrap();
                match client.send(request).await {
                    Ok(answer) if answer.status == StatusCode::OK => answered += 1,
                    _ => return answered,
                }
            }
        })
    });
    let writers: Vec<_> = writers.collect();
    at_once(&node, "increment/n", 100, 1).await;
    let folder = node.kill().await;
    for writer in writers {
        acknowledged += patiently("the end of a writer", writer).await.unwrap();
    }
    let node = Node::start_on(folder, &[]).await;
    let kept: usize = node.asked("get/n").await.parse().unwrap();
    let answered = before + 100 + acknowledged;
    assert!(kept >= answered && kept <= answered + 20, "{kept} kept of {answered} answered");
}

#[tokio::test]
async fn what_a_bucket_does_not_take_is_refused_in_words() {
    let node = deployed().await;
    assert_eq!(node.error_of("long/10240").await, "key has 10240 bytes, expected at most 1024");
    assert_eq!(node.asked("long/1024").await, "set");
    let error = node.error_of("set/a?bucket=small&value=0123456789abcdefg").await;
    assert_eq!(error, "value has 17 bytes, expected at most 16");
    assert_eq!(node.error_of("large/2000000").await, "value has 2000000 bytes, expected at most 1048576");
    for key in ["a", "b"] {
        assert_eq!(node.asked(&format!("set/{key}?bucket=small&value=v")).await, "set");
    }
    let error = node.error_of("set/c?bucket=small&value=v").await;
    assert_eq!(error, "bucket `small` is full: 3 keys with this write, expected at most 2");
    assert_eq!(node.asked("list/all?bucket=small").await, "a\nb");

    assert_eq!(node.error_of("get/a?bucket=cards").await, "no such store");
    let lines = node.logs("state").await;
    let texts: Vec<_> = lines.iter().filter_map(|line| line["text"].as_str()).collect();
    let said =
        "bucket \"cards\" was opened, which is not configured; this version has the buckets default, small";
    assert!(texts.contains(&said), "{texts:?}");
}

#[tokio::test]
async fn a_version_without_buckets_has_none() {
    let node = Node::start().await;
    node.deploy_with("state", "stateful", json!({})).await;
    assert_eq!(node.error_of("set/a?value=v").await, "no such store");
    // Whoever may deploy is told what a version wants to keep.
    let component = node.upload(guests::bytes("stateful")).await;
    let body = json!({ "component": component, "config": config() });
    let refused = node.api(Method::POST, "/v1/functions/state/deployments", Some(&body)).await;
    assert_eq!(refused.status, StatusCode::CONFLICT, "{refused:?}");
    let problem: Value = serde_json::from_slice(&refused.body).unwrap();
    assert_eq!(problem["code"], "capabilities-grow");
    assert!(problem["detail"].as_str().unwrap().contains("bucket default; bucket small"), "{problem}");
}

#[tokio::test]
async fn versions_share_a_bucket_and_stages_do_not() {
    let node = deployed().await;
    assert_eq!(node.asked("increment/n").await, "1");
    let mut other = config();
    other["env"] = json!({ "VERSION": "2" });
    let deployed = node.deploy_with("state", "stateful", other.clone()).await;
    assert_eq!(deployed["version"], "v2");
    assert_eq!(node.asked("increment/n").await, "2", "v2 counts on");
    node.cli_ok(&["rollback", "state"]).await;
    let back = node.http.get("/state/increment/n").await.ok();
    assert_eq!((back.version(), &back.text()[..]), ("v1", "3"), "a rollback takes no data back");

    let component = node.upload(guests::bytes("stateful")).await;
    let body = json!({ "component": component, "config": config(), "stage": "staging", "allow_new": true });
    node.api_ok(Method::POST, "/v1/functions/state/deployments", Some(&body)).await;
    let staged = node.http.get("/state@staging/increment/n").await.ok();
    assert_eq!(staged.text(), "1", "another stage has its own data");
    assert_eq!(node.cli_ok(&["kv", "get", "state", "default", "n"]).await, "3");
    assert_eq!(node.cli_ok(&["kv", "get", "state", "default", "n", "-s", "staging"]).await, "1");

    // What a stage kept is deleted with it, and what a function kept with the function.
    node.cli_ok(&["delete", "state", "-s", "staging", "--yes"]).await;
    node.api_ok(Method::POST, "/v1/functions/state/deployments", Some(&body)).await;
    let staged = node.http.get("/state@staging/increment/n").await.ok();
    assert_eq!(staged.text(), "1", "the stage begins anew");
    node.cli_ok(&["delete", "state", "--yes"]).await;
    node.deploy_with("state", "stateful", config()).await;
    assert_eq!(node.error_of("get/n").await, "no such key", "the function begins anew");
}

#[tokio::test]
async fn a_write_is_an_effect_and_a_read_is_none() {
    let node = deployed().await;
    node.asked("set/a?value=v").await;
    let mut trapping = config();
    trapping["env"] = json!({ "TRAP": "after" });
    node.deploy_by("state", "stateful", trapping, json!({ "name": "canary", "steps": ["50%"] })).await;
    let shielded = async |how: &str| {
        let live = node.live("state").await;
        let versions = live["versions"].as_array().cloned().unwrap_or_default();
        let canary = versions.iter().find(|version| version["version"] == "v2").cloned();
        canary.unwrap_or_default()["tally"]["shield"][how].as_u64().unwrap_or_default()
    };
    // One failure is no verdict, so the rollout goes on.
    let mut writes = 0;
    loop {
        let answer = node.http.get("/state/increment/n").await;
        writes += 1;
        if answer.version() == "v2" {
            answer.problem(500, "guest-trap");
            break;
        }
        answer.ok();
    }
    assert_eq!(node.cli_ok(&["kv", "get", "state", "default", "n"]).await, writes.to_string(), "each once");
    assert_eq!(shielded("had-effect").await, 1);
    while shielded("again").await == 0 {
        let answer = node.http.get("/state/get/a").await.ok();
        assert_eq!((answer.version(), &answer.text()[..]), ("v1", "v"));
    }
}

#[tokio::test]
async fn people_read_and_change_what_functions_keep() {
    let node = deployed().await;
    let set = node.cli_ok(&["kv", "put", "state", "default", "greeting", "--value", "hi"]).await;
    assert_eq!(set, "greeting in default of state is set (revision 1)\n");
    assert_eq!(node.asked("get/greeting").await, "hi");
    let mut put = node.command(&["kv", "put", "state", "default", "-s", "live", "bytes"]);
    run_with(&mut put, b"\0\xff\n").await.ok();
    let json = node.cli_json(&["kv", "get", "state", "default", "bytes"]).await;
    assert_eq!((&json["value_base64"], &json["bytes"]), (&json!("AP8K"), &json!(3)));
    assert_eq!(node.cli_ok(&["kv", "get", "state", "default", "greeting"]).await, "hi", "as it is");
    assert_eq!(node.cli_ok(&["kv", "list", "state", "default"]).await, "bytes\ngreeting\n");
    let page = node.cli_json(&["kv", "list", "state", "default", "-n", "1", "--after", "b"]).await;
    assert_eq!((&page["keys"], &page["more"]), (&json!(["bytes"]), &json!(true)));
    assert_eq!(node.cli_ok(&["kv", "list", "state", "default", "--prefix", "g"]).await, "greeting\n");
    let deleted = node.cli_ok(&["kv", "delete", "state", "default", "greeting"]).await;
    assert_eq!(deleted, "greeting in default of state is deleted\n");

    node.cli(&["kv", "get", "state", "default", "greeting"]).await.refused(&["has no key \"greeting\""]);
    let long = "k".repeat(10 << 10);
    let refused = node.cli(&["kv", "put", "state", "default", &long, "--value", "v"]).await;
    refused.refused(&["key has 10240 bytes, expected at most 1024"]);
    let refused = node.cli(&["kv", "put", "state", "small", "a", "--value", "0123456789abcdefg"]).await;
    refused.refused(&["more than 16 bytes"]);
    let refused = node.cli(&["kv", "list", "state", "cards"]).await;
    refused.refused(&["no version of `state` has a bucket `cards`", "default, small"]);
    node.cli(&["kv", "list", "nobody", "default"]).await.refused(&["nobody"]);
    let log = node.process().log();
    assert!(log.contains("a value was set by hand") && log.contains("a value was deleted by hand"), "{log}");
    let history = node.cli_ok(&["history", "state"]).await;
    let audit = node.cli_ok(&["audit"]).await;
    for shown in [&history, &audit] {
        for change in ["set-value", "delete-value", "\"greeting\" in default", "\"bytes\" in default"] {
            assert!(shown.contains(change), "{change}: {shown}");
        }
    }
    let newest = node.cli_json(&["audit", "-n", "1"]).await;
    assert_eq!((&newest["action"], &newest["actor"]), (&json!("delete-value"), &json!("admin")), "{newest}");
    let body = json!({ "name": "eyes", "rights": { "roles": ["viewer"] } });
    let viewer = node.api_ok(Method::POST, "/v1/tokens", Some(&body)).await;
    let path = "/v1/functions/state/stages/live/buckets/default/value?key=bytes";
    let refused = node.api_as(viewer["secret"].as_str(), Method::GET, path, None).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN, "{refused:?}");
}
