//! Tests of what holds for every path: tokens, description, problems; and of logs and shutdown.

use std::collections::BTreeSet;

use wasm_fn_core::{StageName, VersionNo};

use super::*;
use wasm_fn_api::{AccessRule, Operation};
use wasm_fn_control::host::{LogLine, LogStream};

fn paths() -> (Vec<&'static str>, Vec<&'static str>) {
    let paths = |closed| {
        let is_closed = |operation: &Operation| matches!(operation.access(), AccessRule::Permission(_));
        let operations = Operation::ALL.into_iter().filter(move |operation| is_closed(operation) == closed);
        operations.map(|operation| operation.route().1).collect()
    };
    (paths(true), paths(false))
}

fn concrete(path: &str) -> String {
    let ends = if path.ends_with("/watch") { "?once=true" } else { "" };
    let path = path.to_owned() + ends;
    path.replace("{function}", "hello")
        .replace("{stage}", "staging")
        .replace("{digest}", &"0".repeat(64))
        .replace("{token}", "ci")
        .replace("{trigger}", "tick")
        .replace("{event}", "1")
}

/// Writes `line` to the host's log.
fn write(api: &Api, line: LogLine) {
    api.node.host.lines.lock().unwrap().push(line);
    api.node.host.changes.send_modify(|changes| *changes += 1);
}

#[tokio::test]
async fn everything_needs_the_token_but_what_is_open() {
    let api = Api::start().await;
    let (closed, open) = paths();
    for path in closed {
        let uri = format!("http://{}{}", api.address, concrete(path));
        let mut details = BTreeSet::new();
        for header in ["", "Bearer wrong", "Bearer ", "Basic d3Jvbmc=", "Bearer wfn_tes", TOKEN] {
            // Every path allows another method.
            for method in ["GET", "PUT", "POST", "DELETE"] {
                let request = Request::builder().method(method).uri(&uri);
                let request =
                    if header.is_empty() { request } else { request.header("authorization", header) };
                let answer = api.send(request.body(Full::default()).unwrap()).await;
                match answer.status {
                    405 => {}
                    // Too many wrong tokens came from this address; the clock stands still.
                    429 => assert_eq!(answer.headers[header::RETRY_AFTER], "1"),
                    _ => {
                        assert_eq!(answer.problem(), (401, "unauthorized".to_owned()), "{method} {path}");
                        assert_eq!(answer.headers[header::WWW_AUTHENTICATE], "Bearer");
                        details.insert(answer.json()["detail"].as_str().unwrap().to_owned());
                    }
                }
            }
        }
        assert!(!details.is_empty(), "a missing token never has to wait: {path}");
    }
    for path in open {
        let request = Request::builder().uri(format!("http://{}{path}", api.address));
        assert_eq!(api.send(request.body(Full::default()).unwrap()).await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn description_has_exactly_the_routes_there_are() {
    let api = Api::start().await;
    let description = api.get("/openapi.json").await.json();
    let described = description["paths"].as_object().unwrap();
    let (closed, open) = paths();
    let routes: BTreeSet<_> = closed.iter().chain(&open).map(|path| (*path).to_owned()).collect();
    assert_eq!(described.keys().cloned().collect::<BTreeSet<_>>(), routes);
    for (path, operations) in described {
        for method in [Method::GET, Method::PUT, Method::POST, Method::DELETE, Method::PATCH, Method::HEAD] {
            let operation = &operations[method.as_str().to_ascii_lowercase()];
            let status = api.raw(method.as_str(), &concrete(path), "").await.status;
            // Every GET also answers HEAD.
            let answered = status != StatusCode::METHOD_NOT_ALLOWED.as_u16()
                && !(method == Method::HEAD && operations.get("get").is_some());
            assert_eq!(answered, operation.is_object(), "{method} {path}");
            if operation.is_object() && closed.contains(&path.as_str()) {
                let security = &operation["security"][0]["token"];
                assert!(security[0].is_string(), "{method} {path}: {operation}");
                assert!(operation["responses"]["4XX"].is_object(), "{method} {path}");
            }
        }
    }
    assert_eq!(description["components"]["securitySchemes"]["token"]["scheme"], "bearer");
}

#[tokio::test]
async fn references_of_the_description_lead_somewhere() {
    let description = serde_json::to_value(wasm_fn_api::openapi()).unwrap();
    let mut waiting = vec![&description];
    let mut found = 0;
    while let Some(value) = waiting.pop() {
        match value {
            Value::Object(fields) => {
                if let Some(Value::String(reference)) = fields.get("$ref") {
                    let pointer = reference.strip_prefix('#').unwrap();
                    assert!(description.pointer(pointer).is_some(), "{reference}");
                    found += 1;
                }
                waiting.extend(fields.values());
            }
            Value::Array(items) => waiting.extend(items),
            _ => {}
        }
    }
    assert!(found > 50, "{found}");
}

#[tokio::test]
async fn unknown_paths_and_methods_are_problems_too() {
    let api = Api::start().await;
    for path in ["/", "/v1", "/v1/nonsense", "/v1/functions/a/b/c", "/healthz/x"] {
        assert_eq!(api.get(path).await.problem(), (404, "not-found".to_owned()), "{path}");
    }
    let answer = api.raw("DELETE", "/v1/functions", "").await;
    assert_eq!(answer.problem(), (405, "method-not-allowed".to_owned()));
    assert!(answer.headers.contains_key(header::ALLOW));
}

fn line(seq: u64, version: u32, failed: bool) -> LogLine {
    LogLine {
        seq,
        at_ms: 1,
        request_id: format!("{seq:032x}"),
        stage: Some("live".parse().unwrap()),
        version: VersionNo::new(version).unwrap(),
        stream: LogStream::Stderr,
        failed,
        status: failed.then_some(500),
        request: None,
        text: format!("line {seq}"),
    }
}

#[tokio::test]
async fn logs_are_filtered_and_gaps_told() {
    let api = Api::start().await;
    api.deploy("hello", b"1", json!({})).await;
    api.deploy("hello", b"2", canary()).await;
    for (seq, version, failed) in [(3, 1, false), (4, 2, true), (5, 1, true), (6, 2, false)] {
        write(&api, line(seq, version, failed));
    }
    let seqs = async |query: &str| {
        let answer = api.get(&format!("/v1/functions/hello/logs{query}")).await;
        assert_eq!(answer.headers[header::CONTENT_TYPE], NDJSON, "{answer:?}");
        let lines = answer.lines().into_iter().filter(|line| line["event"] == "line");
        lines.map(|line| line["seq"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(seqs("").await, [3, 4, 5, 6]);
    assert_eq!(seqs("?after=4").await, [5, 6]);
    assert_eq!(seqs("?version=canary").await, [4, 6]);
    assert_eq!(seqs("?version=v1&status=error").await, [5]);
    assert_eq!(seqs("?status=500&request=00000000000000000000000000000004").await, [4]);
    assert_eq!(seqs("?status=503").await, [0; 0]);
    assert_eq!(seqs("?since_ms=2").await, [0; 0]);
    assert_eq!(seqs("?since_ms=1&until_ms=2").await, [3, 4, 5, 6]);
    assert_eq!(seqs("?after=99").await, [0; 0]);
    let all = api.get("/v1/functions/hello/logs").await.lines();
    assert_eq!(all[0], json!({ "event": "lost", "lines": 2 }));
    assert_eq!(all[1]["text"], "line 3");
    for (query, code) in [
        ("?status=ok", "invalid-request"),
        ("?request=hello", "invalid-request"),
        ("?follow=true&until_ms=2", "invalid-request"),
        ("?version=x", "invalid-version"),
        ("?version=v9", "no-such-version"),
        ("?after=-1", "invalid-request"),
        ("?tail=1", "invalid-request"),
    ] {
        let answer = api.get(&format!("/v1/functions/hello/logs{query}")).await;
        assert_eq!(answer.problem().1, code, "{query}");
    }
}

#[tokio::test]
async fn followed_logs_bring_lines_as_they_come_and_end_with_the_node() {
    let mut api = Api::start().await;
    api.deploy("hello", b"1", json!({})).await;
    write(&api, line(1, 1, false));
    let request = api.request("GET", "/v1/functions/hello/logs?follow=true").body(Full::default()).unwrap();
    let mut body = api.open(request).await.into_body();
    for seq in 1..5 {
        let frame = body.frame().await.unwrap().unwrap().into_data().unwrap();
        let event: Value = serde_json::from_slice(&frame).unwrap();
        assert_eq!(event["seq"], seq);
        write(&api, line(seq + 1, 1, false));
    }
    api.shutdown.take().unwrap().send(()).unwrap();
    while let Some(frame) = body.frame().await {
        frame.unwrap();
    }
    api.served.await.unwrap();
}

#[tokio::test]
async fn followed_logs_end_with_the_token_and_not_at_the_next_line() {
    let mut api = Api::start().await;
    api.deploy("hello", b"1", json!({})).await;
    write(&api, line(1, 1, false));
    let rights = json!({ "roles": ["viewer"] });
    let created = api.call("POST", "/v1/tokens", json!({ "name": "ci", "rights": rights })).await.json();
    api.token = created["secret"].as_str().unwrap().to_owned();
    let request = api.request("GET", "/v1/functions/hello/logs?follow=true").body(Full::default()).unwrap();
    let mut body = api.open(request).await.into_body();
    let frame = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&frame).unwrap()["seq"], 1);
    TOKEN.clone_into(&mut api.token);
    assert_eq!(api.raw("DELETE", "/v1/tokens/ci", "").await.status, 200);
    assert!(body.frame().await.is_none(), "no line came, and none will");
}

#[tokio::test]
async fn a_log_shows_the_stages_that_somebody_is_for() {
    let mut api = Api::start().await;
    api.deploy("hello", b"1", json!({})).await;
    api.deploy("hello", b"1", json!({ "stage": "staging" })).await;
    let staging = || Some("staging".parse().unwrap());
    for (seq, stage) in [(1, Some(StageName::live())), (2, staging()), (3, None), (4, staging())] {
        write(&api, LogLine { stage, ..line(seq, 1, false) });
    }
    let lines = async |api: &Api, query: &str| {
        let lines = api.get(&format!("/v1/functions/hello/logs{query}")).await.lines();
        lines.iter().map(|line| (line["seq"].as_u64().unwrap(), line["stage"].clone())).collect::<Vec<_>>()
    };
    let (live, of_staging) = ((1, json!("live")), [(2, json!("staging")), (4, json!("staging"))]);
    let [second, fourth] = of_staging.clone();
    assert_eq!(lines(&api, "").await, [live.clone(), second, (3, Value::Null), fourth]);
    assert_eq!(lines(&api, "?stage=live").await, [live]);
    assert_eq!(lines(&api, "?stage=staging&version=stable").await, of_staging);
    assert_eq!(api.get("/v1/functions/hello/logs?stage=qa").await.problem().1, "no-such-stage");
    assert_eq!(api.get("/v1/functions/hello/logs?stage=-").await.problem().1, "invalid-name");

    let rights = json!({ "roles": ["viewer"], "stages": ["staging"] });
    let created = api.call("POST", "/v1/tokens", json!({ "name": "ci", "rights": rights })).await.json();
    api.token = created["secret"].as_str().unwrap().to_owned();
    assert_eq!(lines(&api, "").await, of_staging);
    assert_eq!(lines(&api, "?version=v1").await, of_staging);
    assert_eq!(lines(&api, "?stage=staging").await, of_staging);
    // Neither is there, as far as this token knows.
    for query in ["?stage=live", "?stage=qa", "?version=stable"] {
        let problem = api.get(&format!("/v1/functions/hello/logs{query}")).await.problem();
        assert_eq!(problem, (404, "no-such-stage".to_owned()), "{query}");
    }
}

#[tokio::test]
async fn shutdown_lets_requests_under_way_end() {
    let mut api = Api::start().await;
    let component = api.upload(b"slow").await;
    let body = json!({ "component": component }).to_string();
    let request =
        api.request("POST", "/v1/functions/hello/deployments").body(Full::new(body.into())).unwrap();
    let client = api.client.clone();
    let answer = tokio::spawn(async move { client.request(request).await.unwrap().status() });
    api.node.host.preparing.subscribe().wait_for(|&preparing| preparing == 1).await.unwrap();
    api.shutdown.take().unwrap().send(()).unwrap();
    api.admin.stopping.subscribe().wait_for(|&stopping| stopping).await.unwrap();
    api.node.host.go.notify_one();
    assert_eq!(answer.await.unwrap(), 200);
    assert_eq!(api.revision(), 1);
    api.served.await.unwrap();
}
