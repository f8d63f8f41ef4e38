//! Nodes whose native code is gone, and clients that are slow: what callers are told, and that no version is
//! charged.

use std::fs;

use http::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;

use crate::harness::{
    Folder, Node,
    client::{Client, connect, read_until},
    guests, patiently,
};

/// Functions with components of their own, in the order in which a node compiles them; it takes a while.
const GUESTS: [&str; 8] = ["broken", "cgi", "echo", "env", "fetch", "hello-p3", "hello-v1", "stdout-flood"];

/// Takes the native code of a node that has ended.
fn without_code(folder: Folder) -> Folder {
    fs::remove_dir_all(folder.data().join("artifacts")).unwrap();
    folder
}

/// How many requests of `function` ended so that its version is to blame.
async fn failures(node: &Node, function: &str) -> u64 {
    let mut failures = 0;
    for outcome in ["server-error", "trap", "timeout", "out-of-memory", "invalid-response"] {
        failures += node.outcomes(function, outcome).await;
    }
    failures
}

/// The fields of the log lines that say `message`.
fn said(node: &Node, message: &str) -> Vec<Value> {
    let log = node.process().log();
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line["message"] == message).collect()
}

#[tokio::test]
async fn node_without_native_code_is_ready_once_it_has_compiled_what_has_traffic() {
    let node = Node::start().await;
    for guest in GUESTS {
        node.deploy(guest).await;
    }
    let node = Node::start_on(without_code(node.kill().await), &[]).await;

    let unready = node.api(Method::GET, "/readyz", None).await;
    assert_eq!(unready.status, StatusCode::SERVICE_UNAVAILABLE, "{}", unready.text());
    let told: Value = serde_json::from_slice(&unready.body).unwrap();
    assert_eq!(told["code"], "not-ready", "{told}");
    assert_eq!(node.api(Method::GET, "/healthz", None).await.status, StatusCode::OK);

    // The last of them waits for the others, its requests do not.
    let last = format!("/{}", GUESTS[7]);
    let refused = node.http.get(&last).await;
    refused.problem(503, "function-not-ready");
    assert!(refused.header("retry-after").parse::<u32>().unwrap() >= 1);
    let mut refusals = 1;
    let answered = async {
        loop {
            let answer = node.http.get(&last).await;
            if answer.status != StatusCode::SERVICE_UNAVAILABLE {
                break answer;
            }
            answer.problem(503, "function-not-ready");
            refusals += 1;
        }
    };
    patiently("the first answer", answered).await;
    let ready = async { while node.api(Method::GET, "/readyz", None).await.status != StatusCode::OK {} };
    patiently("readiness", ready).await;

    for guest in &GUESTS[..7] {
        node.http.get(&format!("/{guest}")).await;
        assert_eq!(node.outcomes(guest, "shed").await, 0, "{guest}");
    }
    assert_eq!(node.outcomes(GUESTS[7], "shed").await, refusals);
    assert_eq!(node.outcomes(GUESTS[7], "timeout").await, 0);
    let ended = said(&node, "component was compiled");
    assert_eq!(ended.len(), GUESTS.len(), "{}", node.process().log());
    for (line, begun) in ended.iter().zip(said(&node, "component is compiled: the cache has no code of it")) {
        assert!(line["took"].is_string() && line["version"] == "v1", "{line}");
        assert!(GUESTS.iter().any(|guest| begun["function"] == *guest), "{begun}");
        assert_eq!(begun["component"].as_str().map(str::len), Some(64), "{begun}");
    }
}

#[tokio::test]
async fn component_that_is_gone_keeps_no_node_from_being_ready() {
    let node = Node::start().await;
    let digest = node.upload(guests::bytes("hello-v1")).await;
    node.deploy_with("hello", "hello-v1", json!({})).await;
    node.deploy("echo").await;
    let folder = without_code(node.kill().await);
    fs::remove_file(folder.data().join("blobs").join(digest)).unwrap();
    let node = Node::start_on(folder, &[]).await;
    let ready = async { while node.api(Method::GET, "/readyz", None).await.status != StatusCode::OK {} };
    patiently("readiness", ready).await;
    assert_eq!(said(&node, "version cannot be compiled, and cannot be called").len(), 1);
    node.http.get("/hello").await.problem(500, "internal-error");
    node.http.post("/echo", "said").await.ok();
    assert_eq!(failures(&node, "hello").await, 0);
}

/// Posts a part of a body to `path`, and gives what comes before the node closes the connection.
async fn stalled(node: &Node, path: &str) -> String {
    let mut stream = connect(node.listen).await;
    let request = format!("POST {path} HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nhalf");
    stream.write_all(request.as_bytes()).await.unwrap();
    String::from_utf8_lossy(&read_until(&mut stream, |_| false).await).into_owned()
}

#[tokio::test]
async fn uploads_that_stall_are_the_clients_and_abort_no_canary() {
    let node = Node::start().await;
    let component = node.upload(guests::reader()).await;
    let path = "/v1/functions/reader/deployments";
    for (mark, strategy) in
        [("a", json!({ "name": "all-at-once" })), ("b", json!({ "name": "canary", "steps": ["50%"] }))]
    {
        let config = json!({ "timeout_ms": 2000, "env": { "MARK": mark } });
        let body = json!({ "component": component, "config": config, "strategy": strategy });
        node.api_ok(Method::POST, path, Some(&body)).await;
    }
    assert_eq!(node.http.post("/reader", "all of it").await.ok().text(), "read\n");
    let answers = futures_util::future::join_all((0..40).map(|_| stalled(&node, "/reader"))).await;
    for answer in &answers {
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
        assert!(answer.contains("request-timeout") && answer.contains("connection: close"), "{answer}");
    }
    assert_eq!(node.outcomes("reader", "cancelled").await, 40);
    assert_eq!(failures(&node, "reader").await, 0);
    let live = node.live("reader").await;
    assert_eq!(live["rollout"]["weight"], "50%", "{live}");

    // The same over HTTP/2, whose streams end without their connection.
    let client = Client::http2(node.listen);
    let (mut sender, body) = http_body_util::channel::Channel::<bytes::Bytes>::new(1);
    sender.send_data(bytes::Bytes::from_static(b"half")).await.unwrap();
    let request = client.request(Method::POST, "/reader");
    let response = client.open(request.body(http_body_util::BodyExt::boxed(body)).unwrap()).await.unwrap();
    assert_eq!(response.status(), StatusCode::REQUEST_TIMEOUT);
    client.post("/reader", "all of it").await.ok();
}

#[tokio::test]
async fn an_echo_whose_client_stalls_is_cut_off_and_not_charged() {
    let node = Node::start().await;
    node.deploy_with("echo", "echo", json!({ "timeout_ms": 1000 })).await;
    let answer = stalled(&node, "/echo").await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("half"), "{answer}");
    assert_eq!((node.outcomes("echo", "cancelled").await, failures(&node, "echo").await), (1, 0));
}

#[tokio::test]
async fn an_answer_that_nobody_reads_is_not_charged() {
    let node = Node::start().await;
    node.deploy_with("flood", "flood", json!({ "timeout_ms": 500 })).await;
    let mut stream = connect(node.listen).await;
    stream.write_all(b"GET /flood HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let head = async {
        let mut byte = [0];
        stream.peek(&mut byte).await.unwrap();
    };
    patiently("the head", head).await;
    // Nothing is read until the guest's time is over, and then all that there is.
    let begun = tokio::time::Instant::now();
    let late = async {
        while begun.elapsed() < std::time::Duration::from_secs(2) {
            node.http.get("/nobody").await;
        }
    };
    patiently("the end of the guest's time", late).await;
    read_until(&mut stream, |_| false).await;
    let counted = async {
        while node.outcomes("flood", "cancelled").await == 0 {
            tokio::task::yield_now().await;
        }
    };
    patiently("the end of the request", counted).await;
    assert_eq!(failures(&node, "flood").await, 0);
}
