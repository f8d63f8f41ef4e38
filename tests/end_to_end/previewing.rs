//! A version's own address: green is looked at by browsers and test suites before anybody is sent there.

use serde_json::{Value, json};

use crate::harness::{
    Node,
    client::{Answer, Client},
    guests, patiently,
};

/// `hello` with v1 for everybody and v2 as green, both of which show their request; and `other`.
async fn green() -> Node {
    let node = Node::start_with(&["--preview-domain", "example.com"]).await;
    node.deploy_with("hello", "cgi", json!({})).await;
    node.deploy_with("other", "hello-v1", json!({})).await;
    let green = json!({ "env": { "COLOUR": "green" } });
    let deployed = node.deploy_by("hello", "cgi", green, json!({ "name": "blue-green" })).await;
    assert_eq!(deployed["version"], "v2", "{deployed}");
    node
}

async fn token(node: &Node, function: &str) -> String {
    let preview = node.cli_json(&["preview", function]).await;
    preview["token"].as_str().expect("a token is needed").to_owned()
}

/// What the guest `cgi` of v2 tells of its request.
#[track_caller]
fn seen(answer: Answer, path: &str) -> String {
    let answer = answer.ok();
    assert_eq!(answer.version(), "v2");
    let text = answer.text();
    assert!(text.lines().any(|line| line == format!("PATH_INFO={path}")), "{text}");
    assert!(!text.contains("wfp_") && !text.contains("WASM_FN_TOKEN"), "{text}");
    text
}

/// Version `no` of `hello`, once so many requests have asked for it.
async fn asked(node: &Node, no: &str, overrides: u64) -> Value {
    patiently("requests that are counted", async {
        loop {
            let live = node.live("hello").await;
            let versions = live["versions"].as_array().expect("there are versions");
            let version = versions.iter().find(|version| version["version"] == no).cloned();
            match version {
                Some(version) if version["overrides"] == overrides => return version,
                _ => tokio::task::yield_now().await,
            }
        }
    })
    .await
}

#[tokio::test]
async fn green_has_addresses_while_everybody_is_on_blue() {
    let node = green().await;
    let preview = node.cli_json(&["preview", "hello", "--version", "v2"]).await;
    let token = preview["token"].as_str().expect("a token is needed").to_owned();
    let url = preview["versions"][0]["url"].as_str().expect("an address").to_owned();
    assert_eq!(url, format!("http://{}/hello@v2?wasm-fn-preview={token}", node.listen));

    // As a browser does.
    let path = url.strip_prefix(&format!("http://{}", node.listen)).expect("it is this node");
    let first = node.http.get(path).await;
    assert_eq!((first.status.as_u16(), first.header("location")), (307, "/hello@v2"));
    let cookie = first.header("set-cookie");
    assert!(cookie.ends_with("; Path=/hello@v2; HttpOnly; SameSite=Lax"), "{cookie}");
    let cookies = format!("{}; sid=7", cookie.split(';').next().unwrap_or_default());
    let text = seen(node.http.get_as("/hello@v2/x?y=1", &[("cookie", &cookies)]).await, "/hello/x");
    assert!(text.contains("QUERY_STRING=y=1\n") && text.contains("HTTP_COOKIE=sid=7\n"), "{text}");

    // As a test suite does, on either protocol and by host name.
    let by_header = [("wasm-fn-token", token.as_str())];
    seen(node.http.get_as("/hello@canary/", &by_header).await, "/hello/");
    seen(node.http.get_as("/hello%40v2", &by_header).await, "/hello");
    let http2 = Client::http2(node.listen);
    seen(http2.get_as("/hello@latest/a", &by_header).await, "/hello/a");
    let by_host = [("host", "v2--hello.example.com"), ("wasm-fn-token", token.as_str())];
    seen(node.http.get_as("/as/it/is", &by_host).await, "/as/it/is");
    for _ in 0..20 {
        assert_eq!(node.http.get("/hello").await.ok().version(), "v1");
    }
    assert!(!node.process().log().contains(&token));
}

#[tokio::test]
async fn looking_at_green_moves_neither_its_gate_nor_anybody_s_numbers() {
    let node = green().await;
    let token = token(&node, "hello").await;
    let by_header = [("wasm-fn-token", token.as_str())];
    for _ in 0..30 {
        let failed = node.http.get_as("/hello@v2?status=500", &by_header).await;
        assert_eq!((failed.status.as_u16(), failed.version()), (500, "v2"), "nothing shields it");
    }
    node.http.get_as("/hello@v1", &by_header).await.ok();
    node.cli_ok(&["invoke", "hello", "--version", "v2"]).await;
    let (v1, v2) = (asked(&node, "v1", 1).await, asked(&node, "v2", 31).await);
    for version in [v1, v2] {
        assert_eq!((&version["tally"]["requests"], &version["tally"]["failures"]), (&json!(0), &json!(0)));
    }
    let live = node.live("hello").await;
    let evidence = &live["rollout"]["gate"]["evidence"];
    for side in ["canary", "stable"] {
        let failures = &evidence[side]["failures"];
        assert!(failures.is_null() || failures == 0, "{live}");
    }
    assert_eq!(live["rollout"]["canary"], "v2", "{live}");
}

#[tokio::test]
async fn who_has_no_token_for_the_function_is_refused() {
    let node = green().await;
    let (own, others) = (token(&node, "hello").await, token(&node, "other").await);
    for token in ["", "wfp_0", others.as_str()] {
        for path in ["/hello@v2", "/hello@v9"] {
            node.http.get_as(path, &[("wasm-fn-token", token)]).await.problem(403, "preview-denied");
            let path = format!("{path}?wasm-fn-preview={token}");
            node.http.get(&path).await.problem(403, "preview-denied");
        }
    }
    let by_header = [("wasm-fn-token", own.as_str())];
    node.http.get_as("/hello@v9", &by_header).await.problem(404, "no-such-version");
    let problem = node.http.get_as("/hello@v2@v3", &by_header).await.problem(404, "no-such-function");
    assert!(
        problem["detail"].as_str().is_some_and(|text| text.contains("\"v2@v3\" is not a stage of `hello`"))
    );
    node.cli_ok(&["preview", "--rotate-key"]).await;
    node.http.get_as("/hello@v2", &by_header).await.problem(403, "preview-denied");
    let new = token(&node, "hello").await;
    node.http.get_as("/hello@v2", &[("wasm-fn-token", new.as_str())]).await.ok();
    node.cli(&["preview", "hello", "--version", "v9"]).await.refused(&["`hello`", "has no version v9"]);
    node.cli(&["preview", "nobody"]).await.refused(&["`nobody`"]);
}

#[tokio::test]
async fn deployments_and_status_tell_the_address() {
    let node = Node::start().await;
    node.deploy_with("hello", "hello-v1", json!({})).await;
    let file = guests::path("hello-v2");
    let file = file.to_str().expect("the path is text");
    let deployed = node.cli(&["deploy", file, "-f", "hello", "--blue-green"]).await;
    let proposed = "wasm-fn preview hello --version v2";
    assert!(deployed.stderr.contains(proposed), "{}", deployed.stderr);
    let status = node.cli_ok(&["status", "hello"]).await;
    assert!(status.contains("preview  /hello@v2, with a token: wasm-fn preview hello\n"), "{status}");
    let config = json!({ "preview": "off" });
    node.deploy_with("off", "hello-v1", config).await;
    node.cli(&["preview", "off"]).await.refused(&["`off`", "preview = \"off\""]);
    node.http.get("/off@v1").await.problem(404, "no-such-function");
}
