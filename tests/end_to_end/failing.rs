//! Functions that fail, each in its own way: what callers are told, and what the node keeps.

use std::{cell::Cell, time::Duration};

use http::StatusCode;
use http_body_util::BodyExt as _;
use serde_json::json;
use tokio::time::Instant;

use crate::harness::{Node, client::Client, patiently};

/// How much later than its timeout a guest may end on a machine that does other things too; on an idle
/// one it is a tenth of this.
const LATENESS_MAX: Duration = Duration::from_millis(500);

#[tokio::test]
async fn every_failure_has_its_own_code() {
    let node = Node::start().await;
    for guest in ["trap", "hog", "mute", "deep"] {
        node.deploy_with(guest, guest, json!({ "memory_bytes": 16 << 20 })).await;
    }
    for guest in ["spin", "slow"] {
        node.deploy_with(guest, guest, json!({ "timeout_ms": 300 })).await;
    }
    for client in [Client::http1(node.listen), Client::http2(node.listen)] {
        for (path, status, code) in [
            ("/trap/before", 500, "guest-trap"),
            // Its first bytes had not left yet, so there is still time for a proper error.
            ("/trap/after", 500, "guest-trap"),
            ("/spin/loop", 504, "guest-timeout"),
            ("/slow?ms=3600000", 504, "guest-timeout"),
            ("/hog", 500, "guest-out-of-memory"),
            ("/mute", 500, "guest-invalid-response"),
            ("/deep/deep", 500, "guest-trap"),
            ("/nobody", 404, "no-such-function"),
        ] {
            client.get(path).await.problem(status, code);
        }
    }
    for (function, outcome) in [
        ("trap", "trap"),
        ("spin", "timeout"),
        ("slow", "timeout"),
        ("hog", "out-of-memory"),
        ("mute", "invalid-response"),
        ("deep", "trap"),
    ] {
        let requests = if function == "trap" { 4 } else { 2 };
        assert_eq!(node.outcomes(function, outcome).await, requests, "{function}");
    }
    for path in ["/trap", "/spin", "/slow", "/hog?mb=1", "/deep/shallow"] {
        node.http.get(path).await.ok();
    }
}

#[tokio::test]
async fn failure_after_the_head_cuts_the_answer() {
    let node = Node::start().await;
    node.deploy_with("flood", "flood", json!({ "timeout_ms": 500 })).await;
    for client in [Client::http1(node.listen), Client::http2(node.listen)] {
        let request = client.request(http::Method::GET, "/flood").body("").unwrap();
        let response =
            client.open(request.map(|body| http_body_util::Full::from(body).boxed())).await.unwrap();
        assert_eq!(response.status(), 200);
        let mut body = response.into_body();
        let read = async {
            let mut bytes = 0;
            loop {
                match body.frame().await {
                    Some(Ok(frame)) => bytes += frame.data_ref().map_or(0, bytes::Bytes::len),
                    Some(Err(_)) => return Some(bytes),
                    None => return None,
                }
            }
        };
        let bytes = patiently("the end of an endless answer", read).await;
        assert!(bytes.is_some_and(|bytes| bytes > 64 << 10), "the answer seems complete: {bytes:?}");
    }
    // A client that gets no processor is too slow to read it.
    let ended = node.outcomes("flood", "timeout").await + node.outcomes("flood", "cancelled").await;
    assert_eq!(ended, 2);
}

#[tokio::test]
async fn full_function_sheds_and_says_when_to_come_again() {
    let node = Node::start().await;
    node.deploy_with("echo", "echo", json!({ "concurrency": 1, "queue": 0 })).await;
    let mut exchange = node.http.begin("/echo", "here", &[]).await.unwrap();
    exchange.read("here").await;
    let shed = node.http.get("/echo").await;
    shed.problem(503, "function-overloaded");
    assert!(shed.header("retry-after").parse::<u32>().unwrap() >= 1);
    exchange.finish().await.unwrap().ok();
    node.http.get("/echo").await.ok();
}

#[tokio::test]
async fn full_node_sheds_and_says_when_to_come_again() {
    let node = Node::start_with(&["--instances-max", "4"]).await;
    node.deploy_with("echo", "echo", json!({ "queue_wait_ms": 100 })).await;
    node.deploy_with("hello", "hello-v1", json!({ "queue_wait_ms": 100 })).await;
    let client = Client::http2(node.listen);
    let mut held = Vec::new();
    loop {
        let mut exchange = client.begin("/echo", "here", &[]).await.unwrap();
        if exchange.response.status() != StatusCode::OK {
            break;
        }
        exchange.read("here").await;
        held.push(exchange);
    }
    // Some of the instances may be kept ready instead of running.
    assert!((1..=4).contains(&held.len()), "{} of 4 instances run", held.len());
    let shed = node.http.get("/hello").await;
    shed.problem(503, "node-overloaded");
    assert!(shed.header("retry-after").parse::<u32>().unwrap() >= 1);
    for exchange in held {
        exchange.finish().await.unwrap().ok();
    }
    let free = async { while node.http.get("/hello").await.status != StatusCode::OK {} };
    patiently("room on the node", free).await;
}

#[tokio::test]
async fn queued_requests_are_answered_in_their_turn() {
    let node = Node::start().await;
    let config = json!({ "concurrency": 1, "queue": 10, "queue_wait_ms": 30_000, "timeout_ms": 60_000 });
    node.deploy_with("slow", "slow", config).await;
    let answers = (0..8).map(|_| node.http.get("/slow?ms=20"));
    for answer in futures_util::future::join_all(answers).await {
        assert_eq!(answer.ok().text(), "slept 20 ms\n");
    }
}

#[tokio::test]
async fn endless_loop_ends_at_its_timeout_while_others_answer() {
    let node = Node::start().await;
    let timeout = Duration::from_millis(500);
    node.deploy_with("spin", "spin", json!({ "timeout_ms": 500 })).await;
    node.deploy_with("hello", "hello-v1", json!({})).await;
    node.http.get("/hello").await.ok();

    let spin = async {
        let begun = Instant::now();
        let answer = node.http.get("/spin/loop").await;
        (answer, begun.elapsed())
    };
    let (answered, slowest) = (Cell::new(0_u32), Cell::new(Duration::ZERO));
    let others = async {
        loop {
            let begun = Instant::now();
            node.http.get("/hello").await.ok();
            slowest.set(slowest.get().max(begun.elapsed()));
            answered.set(answered.get() + 1);
        }
    };
    let (answer, took) = tokio::select! {
        ended = spin => ended,
        () = others => unreachable!("it has no end"),
    };
    let (answered, slowest) = (answered.get(), slowest.get());
    answer.problem(504, "guest-timeout");
    println!(
        "endless loop with timeout {timeout:?} ended after {took:?}; beside it hello answered {answered} times, slowest {slowest:?}"
    );
    assert!(took >= timeout && took < timeout + LATENESS_MAX, "took {took:?}");
    assert!(answered > 10, "hello answered {answered} times beside an endless loop");
}

#[tokio::test]
async fn memory_that_was_refused_is_given_back() {
    let node = Node::start().await;
    node.deploy_with("hog", "hog", json!({ "memory_bytes": 64 << 20 })).await;
    node.deploy_with("hello", "hello-v1", json!({})).await;
    for _ in 0..20 {
        node.http.get("/hello").await.ok();
        assert_eq!(node.http.get("/hog?mb=1").await.ok().text(), "1\n");
    }
    node.http.get("/hog").await.problem(500, "guest-out-of-memory");
    let before = node.resident_bytes();
    let mut peak = 0;
    for _ in 0..5 {
        node.http.get("/hog").await.problem(500, "guest-out-of-memory");
        peak = peak.max(node.resident_bytes());
    }
    // Each may have had a slot of its own, which keeps some megabytes: less than half of one memory is left
    // of five.
    let left_max = 32 << 20;
    let back = async {
        while node.resident_bytes() > before + left_max {
            node.http.get("/hello").await.ok();
        }
    };
    patiently("the node's memory to be what it was", back).await;
    println!("resident bytes: {before} before, {peak} at most, {} after", node.resident_bytes());
}
