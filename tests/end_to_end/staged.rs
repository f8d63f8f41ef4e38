//! A function with two stages: each has routes and an environment of its own, and a version is one in both.

use http::Method;
use serde_json::{Value, json};

use crate::harness::{Folder, Node, guests};

/// A file for the guest `env`, or `cgi`, with these tables of stages.
fn file(guest: &str, stages: &str) -> String {
    format!(
        "[function.hello]\ncomponent = {:?}\nenv = {{ HTTP_API = \"own\", HTTP_LOG = \"info\" }}\n\n{stages}",
        guests::path(guest)
    )
}

const STAGES: &str = "[function.hello.stage.staging]\nroutes = [\"staging.example.com/*\"]\n\
    env = { HTTP_API = \"https://staging.example.com\" }\n\n\
    [function.hello.stage.live]\nroutes = [\"/shop/*\"]\nenv = { HTTP_API = \"https://example.com\" }\n";

/// The version that answers at `path`, and its variables.
async fn seen(node: &Node, host: Option<&str>, path: &str) -> (String, Vec<String>) {
    let headers: Vec<_> = host.iter().map(|host| ("host", *host)).collect();
    let answer = node.http.get_as(path, &headers).await.ok();
    let text = answer.text();
    let shown = text.lines().filter(|line| line.starts_with("HTTP_API=") || line.starts_with("HTTP_LOG="));
    (answer.version().to_owned(), shown.map(str::to_owned).collect())
}

fn variables(api: &str) -> Vec<String> {
    vec![format!("HTTP_API={api}"), "HTTP_LOG=info".to_owned()]
}

#[tokio::test]
async fn stages_have_routes_and_an_environment_of_their_own() {
    for guest in ["env", "cgi"] {
        let node = Node::start().await;
        node.folder().write("wasm-fn.toml", file(guest, STAGES));
        let deployed = node.cli_json(&["deploy", "-s", "staging"]).await;
        assert_eq!(deployed["routes"], json!(["staging.example.com/*"]));
        let growth = deployed["growth"].as_array().unwrap();
        assert!(growth.contains(&json!("env HTTP_API")), "{growth:?}");
        let staging = ("v1".to_owned(), variables("https://staging.example.com"));
        assert_eq!(seen(&node, Some("staging.example.com"), "/a").await, staging, "{guest}");
        node.http.get("/hello").await.problem(404, "no-such-function");

        // The same version, with what the target stage has.
        let promoted = node.cli_json(&["promote-stage", "hello", "staging", "live"]).await;
        assert_eq!((&promoted["version"], &promoted["routes"]), (&json!("v1"), &json!(["/shop/*"])));
        let live = ("v1".to_owned(), variables("https://example.com"));
        assert_eq!(seen(&node, None, "/shop/a").await, live, "{guest}");
        assert_eq!(seen(&node, Some("staging.example.com"), "/a").await, staging, "{guest}");

        // What a stage has is shown where its versions are.
        let status = node.cli_ok(&["status", "hello"]).await;
        assert!(
            status.contains("env      v1: HTTP_API") && status.contains("staging.example.com/*"),
            "{status}"
        );
        let versions = node.api_ok(Method::GET, "/v1/functions/hello/versions", None).await;
        let configs = &versions["versions"][0]["stage_configs"];
        assert_eq!(configs["staging"]["env"]["HTTP_API"], "https://staging.example.com", "{configs}");
        assert_eq!(
            configs["live"],
            json!({ "routes": ["/shop/*"], "env": { "HTTP_API": "https://example.com" } })
        );
        let of_live = node.live("hello").await;
        assert_eq!(of_live["versions"][0]["env"], json!({ "HTTP_API": "https://example.com" }));
    }
}

#[tokio::test]
async fn a_change_of_a_stage_is_a_rollout_and_a_rollback_takes_it_back() {
    let node = Node::start().await;
    node.folder().write("wasm-fn.toml", file("env", STAGES));
    node.cli_ok(&["deploy"]).await;
    node.cli_ok(&["deploy", "-s", "staging"]).await;
    let changed = STAGES.replace("https://example.com", "https://new.example.com");
    let canary =
        "[function.hello.stage.live.rollout]\nstrategy = \"canary\"\nsteps = [\"50%\"]\nstep_min = \"1h\"\n";
    node.folder().write("wasm-fn.toml", file("env", &format!("{changed}{canary}")));
    let promoted = node.cli_json(&["promote-stage", "hello", "staging", "live"]).await;
    assert_eq!(promoted["rollout"]["canary"], "v2", "another environment is another version: {promoted}");
    let preview = |version: &str| format!("/hello@{version}/");
    for (version, api) in [("v1", "https://example.com"), ("v2", "https://new.example.com")] {
        let path = preview(version);
        let answer = node.http.get_as(&path, &[("wasm-fn-token", &node.token)]).await.ok();
        assert!(answer.text().contains(&format!("HTTP_API={api}\n")), "{version}: {}", answer.text());
    }
    node.cli_ok(&["promote", "hello", "--full"]).await;
    assert_eq!(seen(&node, None, "/shop").await, ("v2".to_owned(), variables("https://new.example.com")));
    node.cli_ok(&["rollback", "hello"]).await;
    let before = ("v1".to_owned(), variables("https://example.com"));
    assert_eq!(seen(&node, None, "/shop").await, before);

    // All of it is in the data directory.
    let node = Node::start_on(node.kill().await, &[]).await;
    assert_eq!(seen(&node, None, "/shop").await, before);
    let staging = ("v1".to_owned(), variables("https://staging.example.com"));
    assert_eq!(seen(&node, Some("staging.example.com"), "/").await, staging);
}

#[tokio::test]
async fn without_a_file_a_stage_keeps_what_it_has() {
    let node = Node::start().await;
    node.folder().write("wasm-fn.toml", file("env", STAGES));
    node.cli_ok(&["deploy"]).await;
    let elsewhere = Folder::new();
    let hello = guests::path("env");
    let deploy = ["deploy", hello.to_str().unwrap(), "-f", "hello", "-s", "staging"];
    let mut command = node.command(&deploy);
    crate::harness::command::run(command.current_dir(elsewhere.path())).await.ok();
    let mut command = node.command(&["promote-stage", "hello", "staging", "live", "--allow-new"]);
    crate::harness::command::run(command.current_dir(elsewhere.path())).await.ok();
    let (version, variables) = seen(&node, None, "/shop").await;
    assert_eq!((version.as_str(), variables), ("v2", vec!["HTTP_API=https://example.com".to_owned()]));
}

#[tokio::test]
async fn a_version_comes_to_a_stage_with_a_configuration_by_a_deployment_only() {
    let node = Node::start().await;
    node.folder().write("wasm-fn.toml", file("env", STAGES));
    node.cli_ok(&["deploy"]).await;
    node.cli_ok(&["deploy", guests::path("hello-v2").to_str().unwrap(), "-f", "hello", "-s", "staging"])
        .await;
    let refused = node.cli(&["traffic", "hello", "v2=10%", "v1=90%"]).await;
    refused.refused(&["v2 of `hello` was never deployed to stage `live`", "promote it there"]);
    node.cli(&["rollback", "hello", "--to", "v2"]).await.refused(&["never deployed to stage `live`"]);
}

#[tokio::test]
async fn routes_that_are_taken_are_refused_with_their_owner() {
    let node = Node::start().await;
    node.folder().write("wasm-fn.toml", file("env", STAGES));
    node.cli_ok(&["deploy", "-s", "staging"]).await;
    let other = format!(
        "[function.other]\ncomponent = {:?}\n[function.other.stage.qa]\nroutes = [\"staging.example.com/*\"]\n",
        guests::path("env")
    );
    node.folder().write("wasm-fn.toml", other);
    let refused = node.cli(&["deploy", "-f", "other", "-s", "qa"]).await;
    refused.refused(&["staging.example.com/*", "`hello`", "stage `staging`"]);
    node.folder().write(
        "wasm-fn.toml",
        file("env", &format!("{STAGES}[function.hello.stage.qa]\nroutes = [\"/shop/*\"]\n")),
    );
    let refused = node.cli(&["deploy", "-s", "qa"]).await;
    refused.refused(&["function.hello.stage.qa.routes: found /shop/*, which stage live has"]);
}

/// The fields `stage` and `text` of the lines that `token` reads in the log of `env`.
async fn log(node: &Node, token: &str) -> Vec<(Value, String)> {
    let lines = node.api_as(Some(token), Method::GET, "/v1/functions/env/logs", None).await.ok().text();
    let lines = lines.lines().map(|line| serde_json::from_str::<Value>(line).expect("a line is JSON"));
    lines.map(|line| (line["stage"].clone(), line["text"].to_string())).collect()
}

#[tokio::test]
async fn who_is_for_staging_reads_and_chooses_nothing_of_live() {
    let node = Node::start().await;
    let env = guests::path("env");
    for stage in ["live", "staging"] {
        // One version with one handle, which both stages share.
        node.cli_ok(&["deploy", env.to_str().unwrap(), "-f", "env", "-s", stage]).await;
    }
    let rights = json!({ "roles": ["deployer"], "stages": ["staging"] });
    let token = json!({ "name": "ci", "rights": rights });
    let token = node.api_ok(Method::POST, "/v1/tokens", Some(&token)).await["secret"].clone();
    let token = token.as_str().unwrap();
    node.http.get("/env").await.ok();
    assert!(log(&node, token).await.is_empty(), "what live wrote");
    node.http.get("/env@staging").await.ok();
    let staging = log(&node, token).await;
    assert!(!staging.is_empty() && staging.iter().all(|(stage, _)| stage == "staging"), "{staging:?}");
    let all = log(&node, &node.token).await;
    let of = |name: &str| all.iter().filter(|(stage, _)| stage == name).count();
    assert_eq!((of("live"), of("staging"), all.len()), (staging.len(), staging.len(), 2 * staging.len()));
    let shown = node.cli_ok(&["logs", "env", "-s", "staging"]).await;
    assert_eq!(
        shown.lines().filter(|line| line.contains(" v1 staging std")).count(),
        staging.len(),
        "{shown}"
    );

    // Preview tokens.
    let preview = async |stage: &str| {
        let path = format!("/v1/functions/env/preview?stage={stage}");
        node.api_as(Some(token), Method::GET, &path, None).await
    };
    let hidden: Value = serde_json::from_slice(&preview("live").await.body).unwrap();
    assert_eq!(hidden["code"], "no-such-stage");
    let shown: Value = serde_json::from_str(&preview("staging").await.ok().text()).unwrap();
    let shown = shown["token"].as_str().unwrap();
    node.http.get_as("/env@staging@v1", &[("wasm-fn-token", shown)]).await.ok();
    node.http.get_as("/env@v1", &[("wasm-fn-token", shown)]).await.problem(403, "preview-denied");

    // Created tokens on the data plane.
    let asked = [("wasm-fn-version", "v1"), ("wasm-fn-token", token)];
    node.http.get_as("/env@staging", &asked).await.ok();
    node.http.get_as("/env", &asked).await.problem(403, "override-denied");
    node.http.get_as("/env@staging@v1", &[("wasm-fn-token", token)]).await.ok();
    node.http.get_as("/env@v1", &[("wasm-fn-token", token)]).await.problem(403, "preview-denied");
}

#[tokio::test]
async fn a_followed_log_ends_when_its_token_expires() {
    let node = Node::start().await;
    node.cli_ok(&["deploy", guests::path("env").to_str().unwrap(), "-f", "env"]).await;
    let token = node.cli_ok(&["tokens", "create", "ci", "--role", "viewer", "--ttl", "3s"]).await;
    let mut follow = node.command(&["logs", "env", "-f"]);
    let done = crate::harness::command::run(follow.env("WASM_FN_TOKEN", token.trim())).await.ok();
    assert_eq!(done.stdout, "", "nobody wrote a line");
}
