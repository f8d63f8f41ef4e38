//! What people see of rollouts: that numbers say what they are of, and that nothing that happened is hidden.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::{Node, Process, guests, patiently};

/// A canary of these steps.
fn canary(steps: &[&str]) -> Value {
    json!({ "name": "canary", "steps": steps })
}

impl Node {
    /// `wasm-fn deploy` of a prebuilt guest to `hello`, with these flags.
    fn deploy_command(&self, guest: &str, flags: &[&str]) -> std::process::Command {
        let file = guests::path(guest);
        self.command(&[&["deploy", file.to_str().expect("the path is text"), "-f", "hello"], flags].concat())
    }

    /// `hello` in the table of `status`.
    async fn shown(&self) -> String {
        self.cli_ok(&["status", "hello"]).await
    }

    /// The history of `hello`, oldest first.
    async fn history(&self) -> Vec<Value> {
        let page = self.api_ok(Method::GET, "/v1/functions/hello/history", None).await;
        let mut entries = page["entries"].as_array().expect("a page has entries").clone();
        entries.reverse();
        entries
    }
}

/// The row of `version` in the part of `shown` after `title`.
fn row<'a>(shown: &'a str, title: &str, version: &str) -> &'a str {
    let (_, part) = shown.split_once(title).unwrap_or_else(|| panic!("{title:?} is not in\n{shown}"));
    let row = part.lines().find(|line| line.split_whitespace().any(|word| word == version));
    row.unwrap_or_else(|| panic!("{version} is not after {title:?} in\n{shown}"))
}

#[tokio::test]
async fn second_runs_of_the_shield_are_counted_and_shown() {
    let node = Node::start().await;
    node.deploy_with("hello", "hello-v1", json!({})).await;
    node.roll_out("broken", json!({}), canary(&["50%"]), json!({})).await;
    let again = async || {
        let live = node.live("hello").await;
        let canary =
            live["versions"].as_array().unwrap().iter().find(|found| found["version"] == "v2").cloned();
        canary.unwrap_or_default()["tally"]["shield"]["again"].as_u64().unwrap_or_default()
    };
    // One failure is no verdict, so the rollout goes on.
    while again().await == 0 {
        assert_eq!(node.http.get("/hello").await.ok().version(), "v1");
    }
    let shown = node.shown().await;
    let line = "shield   1 requests that failed on v2 were answered by a second run";
    assert!(shown.contains(line), "{line:?} is not in\n{shown}");
    let metrics = node.api(Method::GET, "/metrics", None).await.text();
    let counted =
        metrics.lines().find(|line| line.starts_with("wasm_fn_shield_total{") && line.contains("v2"));
    assert!(
        counted.is_some_and(|line| line.contains("again") && line.ends_with(" 1")),
        "{counted:?}\n{metrics}"
    );
}

#[tokio::test]
async fn numbers_say_whether_they_are_of_the_step_the_rollout_or_the_version() {
    let node = Node::start().await;
    node.deploy_with("hello", "hello-v1", json!({})).await;
    for _ in 0..10 {
        node.http.get("/hello").await.ok();
    }
    node.roll_out("hello-v2", json!({}), canary(&["50%"]), json!({})).await;
    for _ in 0..10 {
        node.http.get("/hello").await.ok();
    }
    let shown = node.shown().await;
    for words in [" of 20 needed in this step\n", " in this step\n", "of all requests since it began"] {
        assert!(shown.contains(words), "{words:?} is not in\n{shown}");
    }
    let requests = |title: &str, version: &str, column: usize| -> u64 {
        let word = row(&shown, title, version).split_whitespace().nth(column);
        word.and_then(|word| word.parse().ok())
            .unwrap_or_else(|| panic!("no number of {version} in\n{shown}"))
    };
    let rollout = ["v1", "v2"].map(|version| requests("in the rollout, since its gate began:", version, 2));
    let life = ["v1", "v2"].map(|version| requests("since the node started:", version, 3));
    assert_eq!((rollout.iter().sum::<u64>(), life.iter().sum::<u64>()), (10, 20), "{shown}");
    assert_eq!((life[0], life[1]), (rollout[0] + 10, rollout[1]), "{shown}");
}

#[tokio::test]
async fn roles_are_the_same_in_every_table_while_a_version_is_watched() {
    let node = Node::start().await;
    node.deploy_with("hello", "hello-v1", json!({})).await;
    node.roll_out("hello-v2", json!({}), json!({ "name": "all-at-once" }), json!({})).await;
    let shown = node.shown().await;
    assert!(shown.contains("watching"), "{shown}");
    let (rollout, life) = ("v2 since it has had all traffic, v1 before that", "since the node started:");
    for (version, role) in [("v1", "previous"), ("v2", "stable")] {
        let rows = [rollout, life].map(|title| row(&shown, title, version));
        assert!(rows.iter().all(|row| row.split_whitespace().any(|word| word == role)), "{rows:?}\n{shown}");
    }
    let versions = node.cli_ok(&["versions", "hello"]).await;
    assert!(row(&versions, "VERSION", "v2").contains("live stable 100%"), "{versions}");
}

#[tokio::test]
async fn replaced_rollout_leaves_its_abort_in_the_history() {
    let node = Node::start().await;
    node.deploy_with("hello", "hello-v1", json!({})).await;
    node.roll_out("hello-v2", json!({}), canary(&["50%"]), json!({})).await;
    node.http.get("/hello").await.ok();
    let done =
        crate::harness::command::run(&mut node.deploy_command("hello-p3", &["--canary", "--replace"])).await;
    done.ok();
    let actions: Vec<_> = node
        .history()
        .await
        .into_iter()
        .map(|entry| (entry["action"].clone(), entry["version"].clone()))
        .collect();
    let expected = [("deploy", "v1"), ("deploy", "v2"), ("abort", "v2"), ("deploy", "v3")];
    assert_eq!(actions, expected.map(|(action, version)| (json!(action), json!(version))));
    let aborted = &node.history().await[2];
    assert_eq!(aborted["evidence"]["canary"]["version"], "v2", "{aborted}");
}

#[tokio::test]
async fn status_says_what_happened_last_after_a_rollback() {
    let node = Node::start().await;
    node.deploy_with("hello", "hello-v1", json!({})).await;
    let settled = json!({ "watch_ms": 1 });
    node.roll_out("hello-v2", json!({}), json!({ "name": "all-at-once" }), settled).await;
    patiently("the end of the watch", async {
        while !node.live("hello").await["rollout"].is_null() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    node.cli_ok(&["rollback", "hello", "-m", "the colours are wrong"]).await;
    let shown = node.shown().await;
    let last = shown.lines().find(|line| line.starts_with("last ")).unwrap_or_default();
    assert!(last.contains("v2 was rolled back") && last.contains("the colours are wrong"), "{shown}");
}

#[tokio::test]
async fn split_set_by_hand_returns_after_an_abort() {
    let node = Node::start().await;
    for guest in ["hello-v1", "hello-v2", "hello-p3"] {
        node.deploy_with("hello", guest, json!({})).await;
    }
    node.cli_ok(&["traffic", "hello", "v1=20%", "v2=30%", "v3=50%"]).await;
    let by_hand = node.live("hello").await["split"].clone();
    node.roll_out("broken", json!({}), canary(&["10%"]), json!({})).await;
    assert_ne!(node.live("hello").await["split"], by_hand);
    node.cli_ok(&["abort", "hello"]).await;
    assert_eq!(node.live("hello").await["split"], by_hand);
}

#[tokio::test]
async fn two_promotes_of_the_same_step_take_one() {
    let node = Node::start().await;
    node.deploy_with("hello", "hello-v1", json!({})).await;
    node.roll_out("hello-v2", json!({}), canary(&["10%", "20%", "30%"]), json!({})).await;
    let rollout = node.live("hello").await["rollout"].clone();
    let seen =
        ["canary", "started_ms", "step", "phase"].map(|field| (field.to_owned(), rollout[field].clone()));
    let body = json!({ "seen": serde_json::Map::from_iter(seen) });
    let promote = || node.api(Method::POST, "/v1/functions/hello/promote", Some(&body));
    let (one, other) = tokio::join!(promote(), promote());
    let (mut done, mut refused) = (one, other);
    if refused.status == StatusCode::OK {
        std::mem::swap(&mut done, &mut refused);
    }
    assert_eq!(done.status, StatusCode::OK, "{}", done.text());
    let problem: Value = serde_json::from_slice(&refused.body).expect("a refusal is JSON");
    assert_eq!(
        (refused.status, &problem["code"]),
        (StatusCode::CONFLICT, &json!("rollout-moved")),
        "{problem}"
    );
    assert_eq!(node.live("hello").await["rollout"]["step"], 2);
}

#[tokio::test]
async fn same_file_replaces_its_own_paused_rollout() {
    let node = Node::start().await;
    node.deploy_with("hello", "hello-v1", json!({})).await;
    crate::harness::command::run(&mut node.deploy_command("hello-v2", &["--canary=10%,50%"])).await.ok();
    node.cli_ok(&["promote", "hello"]).await;
    node.cli_ok(&["pause", "hello"]).await;
    let paused = node.live("hello").await["rollout"].clone();
    assert_eq!((&paused["phase"], &paused["step"]), (&json!("paused"), &json!(2)));
    let again = &["--canary=10%,50%", "--replace"];
    crate::harness::command::run(&mut node.deploy_command("hello-v2", again)).await.ok();
    let anew = node.live("hello").await["rollout"].clone();
    assert_eq!(
        (&anew["canary"], &anew["phase"], &anew["step"]),
        (&json!("v2"), &json!("progressing"), &json!(1))
    );
    assert!(anew["started_ms"].as_u64() > paused["started_ms"].as_u64(), "{anew} after {paused}");
}

#[tokio::test]
async fn deploy_says_which_settings_wait_for_the_promotion() {
    let node = Node::start().await;
    node.deploy_with("hello", "hello-v1", json!({})).await;
    let settings = "[function.hello]\nroutes = [\"/hello/*\", \"/hi/*\"]\nsticky = \"ip\"\n\
                    [[function.hello.cohorts]]\nname = \"beta\"\nheader = \"x-group\"\nin = [\"beta\"]\nto = \"canary\"\n";
    node.folder().write("wasm-fn.toml", settings);
    let done = crate::harness::command::run(&mut node.deploy_command("hello-v2", &["--canary"])).await.ok();
    let note = done.stderr.lines().find(|line| line.contains("apply once it is stable")).unwrap_or_default();
    for setting in ["v2", "routes", "sticky", "cohort"] {
        assert!(note.contains(setting), "{setting:?} is not in the note of\n{}", done.stderr);
    }
    node.http.get("/hi").await.problem(404, "no-such-function");
    node.cli_ok(&["promote", "hello", "--full"]).await;
    assert_eq!(node.http.get("/hi").await.ok().version(), "v2");
}

#[tokio::test]
async fn lines_of_a_watched_deployment_show_the_split_the_real_share_and_the_evidence() {
    let node = Node::start().await;
    node.deploy_with("hello", "hello-v1", json!({})).await;
    let waiting = Process::spawn(&mut node.deploy_command("hello-v2", &["--canary=25%", "--wait"]));
    patiently("the rollout", async {
        while node.live("hello").await["rollout"].is_null() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let words = [
        "v2=25% v1=75%",
        "(v2 actual ",
        "| v1: ",
        "| v2: ",
        "| gate ",
        "requests in this step",
        "| evidence ",
    ];
    let asking = async {
        loop {
            node.http.get("/hello").await.ok();
        }
    };
    let line = waiting.line("a line with the evidence", |line| {
        words.iter().all(|word| line.contains(word)).then(|| line.to_owned())
    });
    tokio::select! {
        line = line => println!("{line}"),
        () = asking => unreachable!("it never ends"),
    }
    node.cli_ok(&["abort", "hello"]).await;
}

#[tokio::test]
async fn list_longer_than_a_page_is_shown_whole() {
    const FUNCTIONS: usize = 1001;
    let node = Node::start().await;
    let component = node.upload(guests::bytes("hello-v1")).await;
    let body = json!({ "component": component });
    for n in 0..FUNCTIONS {
        node.api_ok(Method::POST, &format!("/v1/functions/f{n}/deployments"), Some(&body)).await;
    }
    let page = node.api_ok(Method::GET, "/v1/functions", None).await;
    assert_eq!((page["functions"].as_array().unwrap().len(), &page["more"]), (1000, &json!(true)));
    let list = node.cli_json(&["functions"]).await;
    let names = list["functions"].as_array().unwrap().iter();
    let names: Vec<_> = names.map(|function| function["function"].as_str().unwrap()).collect();
    assert_eq!((names.len(), names.is_sorted(), &list["more"]), (FUNCTIONS, true, &json!(false)));
}
