//! Releases as people make them: by the command line.

use serde_json::{Value, json};

use crate::harness::{Node, command::Done, guests};

/// Deploys a prebuilt guest to `hello`; gives what it prints with `-o json`.
async fn deploy(node: &Node, guest: &str, flags: &[&str]) -> Value {
    let file = guests::path(guest);
    let args = [&["deploy", file.to_str().unwrap(), "-f", "hello"], flags].concat();
    node.cli_json(&args).await
}

/// Deploys a prebuilt guest to `hello`, perhaps in vain.
async fn try_deploy(node: &Node, guest: &str, flags: &[&str]) -> Done {
    let file = guests::path(guest);
    node.cli(&[&["deploy", file.to_str().unwrap(), "-f", "hello"], flags].concat()).await
}

/// The split of `hello` in a line, newest version first.
async fn split(node: &Node) -> String {
    let live = node.live("hello").await;
    let shares = live["split"].as_array().unwrap();
    let shares = shares
        .iter()
        .map(|share| format!("{}={}", share["version"].as_str().unwrap(), share["weight"].as_str().unwrap()));
    shares.collect::<Vec<_>>().join(" ")
}

async fn answering(node: &Node) -> String {
    node.http.get("/hello").await.ok().version().to_owned()
}

/// The actions in the history of `hello`, oldest first.
async fn actions(node: &Node) -> Vec<String> {
    let page = node.api_ok(http::Method::GET, "/v1/functions/hello/history", None).await;
    let entries = page["entries"].as_array().unwrap().iter().rev();
    entries.map(|entry| entry["action"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn first_deployment_is_live_at_once() {
    let node = Node::start().await;
    let done = deploy(&node, "hello-v1", &["--canary", "-m", "first try"]).await;
    assert_eq!(
        (&done["version"], &done["first"], &done["unchanged"]),
        (&json!("v1"), &json!(true), &json!(false))
    );
    assert_eq!(split(&node).await, "v1=100%");
    assert_eq!(node.http.get("/hello").await.ok().text(), "hello from v1\n");
}

#[tokio::test]
async fn same_deployment_again_makes_no_version() {
    let node = Node::start().await;
    deploy(&node, "hello-v1", &[]).await;
    let revision = node.revision().await;
    let again = deploy(&node, "hello-v1", &[]).await;
    assert_eq!((&again["version"], &again["unchanged"]), (&json!("v1"), &json!(true)));
    assert_eq!(node.revision().await, revision);
    assert_eq!(deploy(&node, "hello-v2", &[]).await["version"], "v2");
    // Bytes and configuration that are known are the version that they were.
    assert_eq!(deploy(&node, "hello-v1", &[]).await["version"], "v1");
    assert_eq!(answering(&node).await, "v1");
}

#[tokio::test]
async fn canary_is_promoted() {
    let node = Node::start().await;
    deploy(&node, "hello-v1", &[]).await;
    let done = deploy(&node, "hello-v2", &["--canary=10%"]).await;
    assert_eq!((&done["rollout"]["canary"], &done["rollout"]["weight"]), (&json!("v2"), &json!("10%")));
    assert_eq!(split(&node).await, "v2=10% v1=90%");
    node.cli_ok(&["traffic", "hello", "canary=50%", "stable=50%"]).await;
    assert_eq!(split(&node).await, "v2=50% v1=50%");
    node.cli_ok(&["promote", "hello"]).await;
    assert_eq!(split(&node).await, "v2=100%");
    assert_eq!(answering(&node).await, "v2");
    assert_eq!(actions(&node).await, ["deploy", "deploy", "traffic", "promote"]);
    node.cli(&["promote", "hello"]).await.refused(&["`hello`", "everybody is on the new version already"]);
}

#[tokio::test]
async fn canary_is_aborted() {
    let node = Node::start().await;
    deploy(&node, "hello-v1", &[]).await;
    deploy(&node, "hello-v2", &["--canary=25%"]).await;
    assert_eq!(split(&node).await, "v2=25% v1=75%");
    node.cli_ok(&["abort", "hello", "-m", "too slow"]).await;
    assert_eq!(split(&node).await, "v1=100%");
    let versions = node.cli_json(&["versions", "hello"]).await;
    let v2 = &versions["versions"][0];
    assert_eq!((&v2["version"], &v2["verdict"]["verdict"]), (&json!("v2"), &json!("aborted")), "{versions}");
    assert_eq!(v2["verdict"]["reason"], "too slow");
    node.cli(&["abort", "hello"]).await.refused(&["`hello`", "no rollout under way"]);
}

#[tokio::test]
async fn blue_green_switches_everybody_at_once() {
    let node = Node::start().await;
    deploy(&node, "hello-v1", &[]).await;
    deploy(&node, "hello-v2", &["--blue-green"]).await;
    assert_eq!(split(&node).await, "v1=100%");
    assert_eq!(node.cli_ok(&["invoke", "hello", "--version", "canary"]).await, "hello from v2\n");
    for _ in 0..20 {
        assert_eq!(answering(&node).await, "v1");
    }
    node.cli_ok(&["promote", "hello"]).await;
    for _ in 0..20 {
        assert_eq!(answering(&node).await, "v2");
    }
}

#[tokio::test]
async fn version_without_traffic_is_there_when_asked_for() {
    let node = Node::start().await;
    deploy(&node, "hello-v1", &[]).await;
    assert_eq!(deploy(&node, "hello-v2", &["--no-traffic"]).await["version"], "v2");
    assert_eq!(split(&node).await, "v1=100%");
    assert_eq!(node.cli_ok(&["invoke", "hello", "--version", "v2"]).await, "hello from v2\n");
    assert_eq!(node.cli_ok(&["invoke", "hello"]).await, "hello from v1\n");
}

#[tokio::test]
async fn rollback_goes_back_one_version_or_to_a_named_one() {
    let node = Node::start().await;
    deploy(&node, "hello-v1", &[]).await;
    node.cli(&["rollback", "hello"]).await.refused(&["`hello`", "no version earlier than v1"]);
    deploy(&node, "hello-v2", &[]).await;
    deploy(&node, "hello-p3", &[]).await;
    node.cli_ok(&["rollback", "hello"]).await;
    assert_eq!(answering(&node).await, "v2");
    node.cli_ok(&["rollback", "hello", "--to", "v1"]).await;
    assert_eq!(answering(&node).await, "v1");
    node.cli(&["rollback", "hello", "--to", "v9"]).await.refused(&["v9", "`hello`"]);
    assert_eq!(split(&node).await, "v1=100%");
}

#[tokio::test]
async fn rollout_under_way_is_neither_overrun_nor_in_the_way_for_ever() {
    let node = Node::start().await;
    deploy(&node, "hello-v1", &[]).await;
    deploy(&node, "hello-v2", &["--canary"]).await;
    let revision = node.revision().await;
    for flags in [&["--canary"][..], &["--all-at-once"], &["--blue-green"]] {
        let refused = try_deploy(&node, "hello-p3", flags).await;
        refused.refused(&["`hello`", "v1", "v2", "promote", "abort"]);
    }
    assert_eq!(node.revision().await, revision);
    let done = deploy(&node, "hello-p3", &["--canary=5%", "--replace"]).await;
    assert_eq!(done["rollout"]["canary"], "v3");
    assert_eq!(split(&node).await, "v3=5% v1=95%");
}

#[tokio::test]
async fn route_that_is_taken_is_refused_and_both_owners_are_named() {
    let node = Node::start().await;
    deploy(&node, "hello-v1", &[]).await;
    node.folder().write("wasm-fn.toml", "[function.rival]\nroutes = [\"/hello/*\"]\n");
    let revision = node.revision().await;
    let file = guests::path("hello-v2");
    let refused = node.cli(&["deploy", file.to_str().unwrap(), "-f", "rival"]).await;
    refused.refused(&["/hello/*", "`hello`", "`rival`"]);
    assert_eq!(node.revision().await, revision);
    let functions = node.cli_json(&["functions"]).await;
    assert_eq!(functions["functions"].as_array().unwrap().len(), 1, "{functions}");
}

#[tokio::test]
async fn deleted_function_is_gone_and_its_numbers_are_not_used_again() {
    let node = Node::start().await;
    deploy(&node, "hello-v1", &[]).await;
    deploy(&node, "hello-v2", &[]).await;
    node.cli(&["delete", "hello"]).await.refused(&["hello", "--yes"]);
    assert_eq!(answering(&node).await, "v2");
    node.cli_ok(&["delete", "hello", "--yes", "-m", "done with it"]).await;
    node.http.get("/hello").await.problem(404, "no-such-function");
    node.cli(&["status", "hello"]).await.refused(&["`hello`", "wasm-fn functions"]);
    node.cli(&["delete", "hello", "--yes"]).await.refused(&["`hello`"]);
    assert_eq!(deploy(&node, "hello-v1", &[]).await["version"], "v3");
    assert_eq!(answering(&node).await, "v3");
}

#[tokio::test]
async fn deleted_stage_answers_no_more_and_the_live_stage_goes_on() {
    let node = Node::start().await;
    deploy(&node, "hello-v1", &[]).await;
    deploy(&node, "hello-v2", &["-s", "staging"]).await;
    assert_eq!(node.http.get("/hello@staging").await.ok().version(), "v2");
    let stage = ["delete", "hello", "--stage", "staging"];
    node.cli(&stage).await.refused(&["stage `staging` of `hello` was not deleted", "--yes"]);
    let told = node.cli_ok(&[&stage[..], &["--yes", "-m", "done with it"]].concat()).await;
    assert_eq!(told, "stage staging of hello is deleted\n");
    node.http.get("/hello@staging").await.problem(404, "no-such-function");
    assert_eq!(answering(&node).await, "v1");
    let history = node.cli_ok(&["history", "hello"]).await;
    assert!(history.contains("delete-stage") && history.contains("done with it"), "{history}");

    node.cli(&[&stage[..], &["--yes"]].concat()).await.refused(&["`staging`"]);
    let live = ["delete", "hello", "--stage", "live", "--yes"];
    node.cli(&live)
        .await
        .refused(&["stage `live` of `hello` cannot be deleted alone", "wasm-fn delete hello"]);
    deploy(&node, "hello-v2", &["-s", "staging", "--all-at-once"]).await;
    deploy(&node, "hello-v1", &["-s", "staging", "--canary=10%"]).await;
    node.cli(&[&stage[..], &["--yes"]].concat())
        .await
        .refused(&["rolling out", "wasm-fn abort hello -s staging"]);
    assert_eq!(node.http.get("/hello@staging").await.ok().status, 200);
}

#[tokio::test]
async fn history_says_who_did_what_from_where_and_why() {
    let node = Node::start().await;
    deploy(&node, "hello-v1", &["-m", "the beginning"]).await;
    deploy(&node, "hello-v2", &["--canary"]).await;
    node.cli_ok(&["promote", "hello", "--full", "-m", "looks good"]).await;
    let history = node.cli_ok(&["history", "hello"]).await;
    for word in ["the beginning", "looks good", "deploy", "promote", "admin", "127.0.0.1", "v1", "v2"] {
        assert!(history.contains(word), "{word:?} is not in\n{history}");
    }
}

#[tokio::test]
async fn status_tells_split_roles_and_requests() {
    let node = Node::start().await;
    deploy(&node, "hello-v1", &[]).await;
    deploy(&node, "hello-v2", &["--canary=50%"]).await;
    for _ in 0..10 {
        node.http.get("/hello").await.ok();
    }
    let status = node.cli_json(&["status", "hello"]).await;
    let live = &status["stages"][0];
    assert_eq!(
        (&live["stage"], &live["stable"], &live["rollout"]["canary"]),
        (&json!("live"), &json!("v1"), &json!("v2"))
    );
    let requests = |n: usize| live["versions"][n]["tally"]["requests"].as_u64().unwrap();
    assert_eq!(requests(0) + requests(1), 10, "{status}");
    let table = node.cli_ok(&["status", "hello"]).await;
    for word in ["v1", "v2", "stable", "canary", "50%"] {
        assert!(table.contains(word), "{word:?} is not in\n{table}");
    }
    assert!(!table.contains('\u{1b}'), "colours where nobody sees them:\n{table}");
    let all = node.cli_ok(&["status"]).await;
    assert!(all.contains("hello"), "{all}");
    let shown = node.cli_ok(&["traffic", "hello"]).await;
    assert!(shown.contains("v1") && shown.contains("50%"), "{shown}");
}

#[tokio::test]
async fn stages_do_not_disturb_each_other() {
    let node = Node::start().await;
    deploy(&node, "hello-v1", &[]).await;
    deploy(&node, "hello-v2", &["-s", "staging"]).await;
    assert_eq!(answering(&node).await, "v1");
    assert_eq!(node.http.get("/hello@staging").await.ok().version(), "v2");
    assert_eq!(node.cli_ok(&["invoke", "hello", "-s", "staging"]).await, "hello from v2\n");
}

#[tokio::test]
async fn invoke_sends_what_it_is_told() {
    let node = Node::start().await;
    let file = guests::path("echo");
    node.cli_ok(&["deploy", file.to_str().unwrap()]).await;
    node.folder().write("body.txt", "from a file");
    let args = [
        "invoke",
        "echo",
        "-X",
        "PUT",
        "-d",
        "@body.txt",
        "-H",
        "content-type: text/x-test",
        "--path",
        "/deep?q=1",
        "-i",
    ];
    let answer = node.cli_ok(&args).await;
    for part in [
        "200",
        "x-echo-method: PUT",
        "x-echo-path: /echo/deep?q=1",
        "content-type: text/x-test",
        "wasm-fn-version: v1",
        "from a file",
    ] {
        assert!(answer.contains(part), "{part:?} is not in\n{answer}");
    }
}

#[tokio::test]
async fn logs_show_what_a_version_wrote_and_how_it_failed() {
    let node = Node::start().await;
    let file = guests::path("env");
    node.cli_ok(&["deploy", file.to_str().unwrap()]).await;
    let file = guests::path("trap");
    node.cli_ok(&["deploy", file.to_str().unwrap()]).await;
    node.http.get("/env").await.ok();
    node.http.get("/trap").await.ok();
    node.http.get("/trap/before").await.problem(500, "guest-trap");
    let logs = node.cli_ok(&["logs", "env"]).await;
    assert!(logs.contains("env: stdout line") && logs.contains("env: stderr line"), "{logs}");
    assert_eq!(node.cli_ok(&["logs", "env", "--status", "error"]).await, "");
    let failed = node.cli_ok(&["logs", "trap", "--version", "v1", "--status", "error"]).await;
    assert!(failed.contains("unreachable"), "{failed}");
}

#[tokio::test]
async fn configuration_file_is_what_a_version_runs_with() {
    let node = Node::start().await;
    std::fs::copy(guests::path("env"), node.folder().path().join("greeter.wasm")).unwrap();
    let config = |greeting: &str| {
        format!(
            "[function.greeter]\ncomponent = \"greeter.wasm\"\nroutes = [\"/greet/*\"]\n\
             memory = \"32MiB\"\ntimeout = \"2s\"\nenv = {{ GREETING = \"{greeting}\" }}\n"
        )
    };
    node.folder().write("wasm-fn.toml", config("hi"));
    assert_eq!(node.cli_json(&["deploy"]).await["version"], "v1");
    assert_eq!(node.http.get("/greet").await.ok().text(), "GREETING=hi\n");
    // Another configuration is another version.
    node.folder().write("wasm-fn.toml", config("good day"));
    assert_eq!(node.cli_json(&["deploy"]).await["version"], "v2");
    assert_eq!(node.http.get("/greet").await.ok().text(), "GREETING=good day\n");
    let versions = node.cli_json(&["versions", "greeter"]).await;
    let newest = &versions["versions"][0]["config"];
    assert_eq!(
        (&newest["memory_bytes"], &newest["timeout_ms"]),
        (&json!(32 << 20), &json!(2000)),
        "{versions}"
    );
}
