//! Heads that no function sees: malformed, too long, or of a kind that is not served.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use tokio::io::AsyncReadExt as _;
use wasm_fn_core::Outcome;

use super::harness::{ClientBody, Fake, Node, fed, get2, ok, options, problem, request2, text, within};
use crate::ServerOptions;

const SOON: Duration = Duration::from_millis(50);
const GOOD: &str = "GET /hello HTTP/1.1\r\nhost: a\r\n\r\n";

/// Answers with the cookies that the guest sees, one a line.
async fn node() -> Node {
    Node::answering(|call| async move {
        let cookies = call.request.headers().get_all(header::COOKIE).iter();
        let lines: Vec<_> = cookies.map(|cookie| cookie.to_str().unwrap().to_owned()).collect();
        ok(lines.join("\n"))
    })
    .await
}

/// Checks that `answer` is one whole HTTP/1 error with the status and the code.
#[track_caller]
fn is_problem(answer: &str, status: u16, code: &str) {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer:?}"));
    assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    assert!(head.contains("\r\ncontent-type: application/problem+json"), "{answer}");
    assert!(head.contains(&format!("\r\ncontent-length: {}", body.len())), "{answer}");
    let json: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!((&json["status"], &json["code"]), (&status.into(), &code.into()), "{answer}");
    let id = json["request_id"].as_str().unwrap();
    assert!(id.len() == 32 && head.contains(&format!("\r\nwasm-fn-request-id: {id}")), "{answer}");
}

#[tokio::test]
async fn what_the_parser_refuses_is_explained() {
    let node = node().await;
    let head = |line: &str, field: &str| format!("{line}\r\nhost: a\r\n{field}\r\n\r\n");
    let (post, long) = ("POST /hello HTTP/1.1", "x".repeat(70_000));
    let many: Vec<_> = (0..100).map(|number| format!("x-{number}: y")).collect();
    for (request, status, code) in [
        (head("GET /hello HTTP/1.1", "no colon"), 400, "bad-request"),
        (head("GET /hello HTTP/1.1", "name : value"), 400, "bad-request"),
        (head("GET /hello HTTP/1.1", "x: a\r\n folded: b"), 400, "bad-request"),
        (head("GET /hel lo HTTP/1.1", "x: y"), 400, "bad-request"),
        (head("GET /hello HTTP/3.7", "x: y"), 400, "bad-request"),
        (head("G@T\u{fc} /hello HTTP/1.1", "x: y"), 400, "bad-request"),
        (head(post, "content-length: -1"), 400, "bad-request"),
        (head(post, "content-length: 1\r\ncontent-length: 2"), 400, "bad-request"),
        (head(post, "transfer-encoding: gzip"), 400, "bad-request"),
        (head(post, "transfer-encoding: chunked, gzip"), 400, "bad-request"),
        (head("POST /hello HTTP/1.0", "transfer-encoding: chunked"), 400, "bad-request"),
        (head(post, "content-length: 18446744073709551615"), 413, "body-too-large"),
        (head(post, "content-length: 99999999999999999999999"), 413, "body-too-large"),
        (head(post, "content-length: 9000000000000000000"), 413, "body-too-large"),
        (head(&format!("GET /{long} HTTP/1.1"), "x: y"), 414, "uri-too-long"),
        (head("GET /hello HTTP/1.1", &format!("x: {long}")), 431, "too-many-headers"),
        (head("GET /hello HTTP/1.1", &many.join("\r\n")), 431, "too-many-headers"),
        (head(post, "transfer-encoding: gzip, chunked"), 501, "transfer-coding-not-supported"),
        (
            head(post, "transfer-encoding: x\r\ntransfer-encoding: chunked"),
            501,
            "transfer-coding-not-supported",
        ),
    ] {
        // Alone, and behind a request that is answered.
        for before in ["", GOOD] {
            let mut client = node.raw().await;
            client.send(&format!("{before}{request}")).await;
            let answers = client.read_until("}").await;
            let last = answers.rfind("HTTP/1.1 ").unwrap();
            assert_eq!(answers[..last].contains("HTTP/1.1 200 "), !before.is_empty(), "{answers}");
            // Behind another request, the node does not know where the line of this one ends.
            if before.is_empty() || status != 414 {
                is_problem(&answers[last..], status, code);
            }
        }
    }
}

#[tokio::test]
async fn refused_coding_leaves_the_connection_in_step() {
    let node = node().await;
    let mut client = node.raw().await;
    client.send("POST /hello HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n").await;
    client.read_until("}").await;
    client.send(GOOD).await;
    assert!(client.read_until("\r\n\r\n").await.starts_with("HTTP/1.1 200 "));
}

fn with(mut request: Request<ClientBody>, fields: &[(&'static str, &str)]) -> Request<ClientBody> {
    for &(name, value) in fields {
        request.headers_mut().append(name, HeaderValue::from_str(value).unwrap());
    }
    request
}

#[tokio::test]
async fn values_with_outer_blanks_are_malformed_in_http2() {
    let node = node().await;
    let mut client = node.http2().await;
    for value in [" a", "a ", "\ta", "a\t", " "] {
        let (status, body) =
            problem(client.send_request(with(get2("/hello"), &[("x", value)])).await.unwrap()).await;
        assert_eq!((status, &body["code"]), (StatusCode::BAD_REQUEST, &"bad-request".into()), "{value:?}");
    }
    for value in ["", "a b"] {
        let response = client.send_request(with(get2("/hello"), &[("x", value)])).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{value:?}");
    }
}

#[tokio::test]
async fn crumbs_of_cookies_are_one_field() {
    let node = node().await;
    let mut request = get2("/hello");
    let crumbs: Vec<_> = (0..150).map(|number| format!("c{number}=x")).collect();
    for crumb in &crumbs {
        request.headers_mut().append(header::COOKIE, crumb.parse().unwrap());
    }
    let seen = text(node.http2().await.send_request(request).await.unwrap()).await;
    assert_eq!(seen, crumbs.join("; "));
}

#[tokio::test]
async fn long_heads_are_answered_in_http2_too() {
    let node = node().await;
    let mut client = node.http2().await;
    let (long, longer) = ("y".repeat(40_000), "y".repeat(66_000));
    let target = format!("/hello/{}", "x".repeat(30_000));
    let (_sender, unfinished) = fed();
    for (request, status, code) in [
        (with(get2("/hello"), &[("x", &longer)]), 431, "too-many-headers"),
        (with(request2("/hello", unfinished), &[("x", &longer)]), 431, "too-many-headers"),
        (with(get2(&target), &[("x", &long)]), 431, "too-many-headers"),
        (with(get2(&format!("{target}{target}")), &[("x", &long[..20_000])]), 414, "uri-too-long"),
    ] {
        let (found, body) = problem(within(client.send_request(request)).await.unwrap()).await;
        assert_eq!((found.as_u16(), &body["code"]), (status, &code.into()), "{body}");
    }
    let mut many = get2("/hello");
    for number in 0..101 {
        let name = HeaderName::try_from(format!("x-{number}")).unwrap();
        many.headers_mut().insert(name, HeaderValue::from_static("y"));
    }
    assert_eq!(
        client.send_request(many).await.unwrap().status(),
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
    );
    let sent = Full::new(Bytes::from_static(b"x")).boxed_unsync();
    let fine = client.send_request(request2("/hello", sent)).await.unwrap();
    assert_eq!(fine.status(), StatusCode::OK, "the connection is kept");
    node.counts(Outcome::Success, 1).await;
}

#[tokio::test]
async fn goaway_comes_before_the_end_of_an_http2_connection() {
    const GOAWAY: u8 = 7;
    let short = ServerOptions { head_timeout: SOON, ..options() };
    let node = Node::bounded(short, Fake::new(|_| async { ok("hi") })).await;
    let mut client = node.raw().await;
    client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\u{4}\0\0\0\0\0").await;
    let mut read = Vec::new();
    within(client.0.read_to_end(&mut read)).await.unwrap();
    let (mut frames, mut rest) = (Vec::new(), &*read);
    while let [a, b, c, kind, after @ ..] = rest {
        let length = usize::try_from(u32::from_be_bytes([0, *a, *b, *c])).unwrap();
        frames.push(*kind);
        rest = &after[5 + length..];
    }
    assert!(frames.contains(&GOAWAY), "{frames:?}");
}
