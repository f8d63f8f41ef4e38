//! Requests that two parsers may read in two ways, sent to the node and through proxies: what is hidden in
//! one is never answered as a request of its own.

use std::{net::SocketAddr, time::Duration};

use serde_json::json;
use tokio::{io::AsyncWriteExt as _, time::timeout};

use crate::{
    harness::{
        Node,
        client::{connect, read_until},
        programs::installed,
    },
    proxied::{haproxy, nginx},
};

/// What is hidden. Nothing else asks this function.
const HIDDEN: &str = "GET /hello HTTP/1.1\r\nhost: x\r\n\r\n";

/// Requests to `echo`, each with one more hidden in it, by the way in which they are ambiguous.
fn ambiguous() -> Vec<(&'static str, String)> {
    let post = |fields: &str, body: &str| format!("POST /echo HTTP/1.1\r\nhost: x\r\n{fields}\r\n\r\n{body}");
    let chunked = |fields: &str| post(fields, &format!("0\r\n\r\n{HIDDEN}"));
    let sized = |fields: &str| post(fields, HIDDEN);
    let length = HIDDEN.len();
    vec![
        // One parser takes the length, the other the chunks (RFC 9112, section 6.3).
        ("both lengths", chunked(&format!("content-length: {}\r\ntransfer-encoding: chunked", length + 5))),
        ("both, the other way round", chunked("transfer-encoding: chunked\r\ncontent-length: 5")),
        (
            "two codings",
            chunked(&format!("content-length: {}\r\ntransfer-encoding: chunked, identity", length + 5)),
        ),
        (
            "coding twice",
            chunked("transfer-encoding: identity\r\ntransfer-encoding: chunked\r\ncontent-length: 5"),
        ),
        ("coding of another name", sized("transfer-encoding: xchunked\r\ncontent-length: 0")),
        ("blank before the colon", sized("transfer-encoding : chunked\r\ncontent-length: 0")),
        ("tab in the value", chunked("transfer-encoding:\tchunked\r\ncontent-length: 5")),
        ("vertical tab in the value", chunked("transfer-encoding: \x0bchunked\r\ncontent-length: 5")),
        ("quoted coding", chunked("transfer-encoding: \"chunked\"\r\ncontent-length: 5")),
        ("folded line", chunked("transfer-encoding:\r\n chunked\r\ncontent-length: 5")),
        // Lengths that differ, or are none (RFC 9110, section 8.6).
        ("two lengths", sized(&format!("content-length: 0\r\ncontent-length: {length}"))),
        ("list of lengths", sized(&format!("content-length: 0, {length}"))),
        ("signed length", sized("content-length: +0")),
        ("negative length", sized("content-length: -0")),
        ("hexadecimal length", sized("content-length: 0x0")),
        ("length with a blank in it", sized("content-length: 0 0")),
        ("length over 64 bits", sized("content-length: 18446744073709551616")),
        // Ends of lines that only some parsers take for such.
        ("line ends with a bare CR", sized("x: y\rcontent-length: 0")),
        ("bare LF hides a length", sized(&format!("x: y\ncontent-length: {length}"))),
        ("NUL in a value", sized("x: y\0z\r\ncontent-length: 0")),
        // Chunks with sizes and ends that parsers read differently (RFC 9112, section 7.1).
        ("chunk size with a sign", post("transfer-encoding: chunked", &format!("+0\r\n\r\n{HIDDEN}"))),
        ("chunk size in 0x", post("transfer-encoding: chunked", &format!("0x0\r\n\r\n{HIDDEN}"))),
        (
            "chunk size that wraps",
            post("transfer-encoding: chunked", &format!("10000000000000000\r\n\r\n{HIDDEN}")),
        ),
        ("chunk without its end", post("transfer-encoding: chunked", &format!("1\r\nxx0\r\n\r\n{HIDDEN}"))),
        (
            "LF in a chunk extension",
            post("transfer-encoding: chunked", &format!("5;a\nhello\r\n0\r\n\r\n{HIDDEN}")),
        ),
        (
            "CR in a chunk extension",
            post("transfer-encoding: chunked", &format!("2;\rxx\r\n0\r\n\r\n{HIDDEN}")),
        ),
        (
            "long chunk extension",
            post(
                "transfer-encoding: chunked",
                &format!("1;{}\r\nx\r\n0\r\n\r\n{HIDDEN}", "a".repeat(100_000)),
            ),
        ),
        // HTTP/1.0 has no chunks (RFC 9112, section 6.1).
        (
            "chunks in HTTP/1.0",
            format!(
                "POST /echo HTTP/1.0\r\nhost: x\r\nconnection: keep-alive\r\ntransfer-encoding: chunked\r\n\r\n\
             0\r\n\r\n{HIDDEN}"
            ),
        ),
    ]
}

/// How long a peer may wait for the rest of a request that it understands in its own way.
const WAITS: Duration = Duration::from_secs(2);

/// What comes back for `request`, and then for one more on the same connection, which ends it.
async fn answers(address: SocketAddr, request: &str) -> String {
    const LAST: &[u8] = b"GET /nobody HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let mut stream = connect(address).await;
    // A peer that refuses early may close before everything is written.
    let _ = stream.write_all(request.as_bytes()).await;
    let one = read_until(&mut stream, |read| !read.is_empty());
    let mut read = timeout(WAITS, one).await.unwrap_or_default();
    let _ = stream.write_all(LAST).await;
    read.extend(timeout(WAITS, read_until(&mut stream, |_| false)).await.unwrap_or_default());
    String::from_utf8_lossy(&read).into_owned()
}

/// Sends all of them to `address`, one after the other. A proxy may take one for two requests, and pass both
/// on: then it has an answer for each, in their order, and one for what comes next.
async fn send_all(node: &Node, address: SocketAddr, who: &str, is_proxy: bool) {
    let mut wrong = Vec::new();
    let mut answered = 0;
    for (what, request) in ambiguous() {
        let answers = answers(address, &request).await;
        let hello = node.outcomes("hello", "success").await;
        let next = answers.split_once("hello from v1").map(|(_, next)| next);
        let is_known = is_proxy && next.is_some_and(|next| next.contains("no-such-function"));
        if hello > answered && !is_known {
            wrong.push(format!("{what}:\n{answers}"));
        }
        answered = hello;
    }
    assert!(wrong.is_empty(), "{who}: the hidden request was answered:\n{}", wrong.join("\n\n"));
}

async fn node(args: &[&str]) -> Node {
    let node = Node::start_with(args).await;
    node.deploy("echo").await;
    node.deploy_with("hello", "hello-v1", json!({})).await;
    node
}

#[tokio::test]
async fn requests_in_requests_are_not_answered() {
    let node = node(&[]).await;
    send_all(&node, node.listen, "the node", false).await;
}

#[tokio::test]
async fn requests_in_requests_are_not_answered_behind_nginx() {
    if installed("nginx", "requests_in_requests_are_not_answered_behind_nginx") {
        let node = node(&["--trusted-proxy", "127.0.0.1"]).await;
        let (_nginx, address) = nginx(&node).await;
        send_all(&node, address, "nginx", true).await;
    }
}

#[tokio::test]
async fn requests_in_requests_are_not_answered_behind_haproxy() {
    if installed("haproxy", "requests_in_requests_are_not_answered_behind_haproxy") {
        let node = node(&["--trusted-proxy", "127.0.0.1"]).await;
        let (_haproxy, address) = haproxy(&node, "mode http").await;
        send_all(&node, address, "HAProxy", true).await;
    }
}
