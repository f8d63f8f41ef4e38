//! Bodies that guests leave unread, and the requests behind them.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use http_body_util::BodyExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use wasm_fn_core::Outcome;

use super::harness::{Fake, Node, Raw, eventually, ok, options, within};
use crate::ServerOptions;

const SOON: Duration = Duration::from_millis(50);
const MIB: usize = 1 << 20;

/// What every body here consists of: a request that must not be taken for one.
const SMUGGLED: &str = "GET /hello/smuggled HTTP/1.1\r\nhost: a\r\n\r\n";

/// A body of `length` bytes.
fn body(length: usize) -> String {
    SMUGGLED.repeat(length / SMUGGLED.len() + 1)[..length].to_owned()
}

/// A request to `path` with a body of `length` bytes, of known length or in chunks.
fn post(path: &str, length: usize, chunked: bool) -> String {
    let head = format!("POST {path} HTTP/1.1\r\nhost: a\r\n");
    if chunked {
        let half = body(length.div_ceil(2));
        let (size, rest) = (half.len(), &half[..length - half.len()]);
        let rest_size = rest.len();
        let last = if rest.is_empty() { String::new() } else { format!("{rest_size:x}\r\n{rest}\r\n") };
        format!("{head}transfer-encoding: chunked\r\n\r\n{size:x}\r\n{half}\r\n{last}0\r\n\r\n")
    } else {
        format!("{head}content-length: {length}\r\n\r\n{}", body(length))
    }
}

/// Reads one response, which ends with `hi`. Returns its head.
async fn answered(client: &mut Raw) -> String {
    client.read_until("\r\n\r\nhi").await
}

/// Answers every path below `/hello`, which no smuggled request has. Reads nothing, or one frame.
fn careless() -> (Fake, Arc<AtomicU32>) {
    Fake::new(|mut call| async move {
        let path = call.request.uri().path().to_owned();
        assert!(!path.contains("smuggled"), "{path}");
        if path.ends_with("/first") {
            call.request.body_mut().frame().await.unwrap().unwrap();
        }
        ok("hi")
    })
    .counting()
}

#[tokio::test]
async fn requests_behind_an_unread_body_are_answered() {
    for path in ["/hello", "/hello/first"] {
        for (length, chunked) in
            [1, 64 << 10, MIB].into_iter().flat_map(|length| [(length, false), (length, true)])
        {
            let (fake, calls) = careless();
            let node = Node::bounded(options(), fake).await;
            let mut client = node.raw().await;
            for _ in 0..3 {
                client.send(&post(path, length, chunked)).await;
                let head = answered(&mut client).await;
                assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
                assert!(!head.contains("connection:"), "{head}");
            }
            assert_eq!(calls.load(Ordering::SeqCst), 3, "{length} {chunked}");
        }
    }
}

#[tokio::test]
async fn requests_behind_a_refused_one_are_answered() {
    let (fake, _) = careless();
    let node = Node::bounded(ServerOptions { body_bytes_max: 10, ..options() }, fake).await;
    let mut client = node.raw().await;
    for (path, length, code) in [("/other", 64 << 10, "no-such-function"), ("/hello", 11, "body-too-large")] {
        client.send(&post(path, length, false)).await;
        let refusal = client.read_until("}").await;
        assert!(refusal.contains(code) && !refusal.contains("connection:"), "{refusal}");
    }
    client.send("GET /hello HTTP/1.1\r\nhost: a\r\n\r\n").await;
    answered(&mut client).await;
}

#[tokio::test]
async fn long_rest_is_not_read_and_the_response_says_that_the_connection_closes() {
    let (fake, calls) = careless();
    let node = Node::bounded(ServerOptions { body_bytes_max: 4 << 20, ..options() }, fake).await;
    let mut client = node.raw().await;
    client.send(&post("/hello", 2 * MIB, false)).await;
    let answer = client.read_to_end().await;
    assert!(answer.contains("\r\nconnection: close\r\n") && answer.ends_with("hi"), "{answer}");
    assert_eq!(calls.load(Ordering::SeqCst), 1);
    node.counts(Outcome::Success, 1).await;
}

#[tokio::test]
async fn chunks_beyond_the_limit_end_the_connection() {
    let (fake, calls) = careless();
    let node = Node::bounded(ServerOptions { body_bytes_max: 100_000, ..options() }, fake).await;
    let mut client = node.raw().await;
    let request = post("/hello", 2 * MIB, true) + SMUGGLED;
    // The node may close before it has read all of that.
    let _ = within(client.0.write_all(request.as_bytes())).await;
    assert!(client.read_to_end().await.ends_with("hi"));
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn body_that_a_guest_holds_is_discarded_when_it_lets_go() {
    let held = Arc::new(Mutex::new(Vec::new()));
    let holds = Arc::clone(&held);
    let (fake, calls) = Fake::new(move |call| {
        holds.lock().unwrap().push(call.request);
        async { ok("hi") }
    })
    .counting();
    let node = Node::bounded(options(), fake).await;
    let mut client = node.raw().await;
    client.send(&post("/hello", MIB / 2, false)).await;
    answered(&mut client).await;
    client.send("GET /hello HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!(calls.load(Ordering::SeqCst), 1);
    held.lock().unwrap().clear();
    answered(&mut client).await;
    assert_eq!(calls.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn clients_that_do_not_send_the_rest_are_cut() {
    let (fake, _) = careless();
    let node = Node::bounded(ServerOptions { stall_timeout: SOON, ..options() }, fake).await;
    let mut client = node.raw().await;
    client.send("POST /hello HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\n1").await;
    assert!(answered(&mut client).await.starts_with("HTTP/1.1 200 "));
    assert_eq!(client.read_to_end().await, "");
}

#[tokio::test]
async fn idle_time_begins_when_the_rest_has_come() {
    let (fake, _) = careless();
    let head_is_short = ServerOptions { head_timeout: SOON, ..options() };
    let node = Node::bounded(head_is_short, fake).await;
    let (mut client, mut silent) = (node.raw().await, node.raw().await);
    client.send("POST /hello HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\n1").await;
    answered(&mut client).await;
    client.send("2345").await;
    assert_eq!(silent.read_to_end().await, "", "a connection without a request is cut");
    client.send("67890GET /hello HTTP/1.1\r\nhost: a\r\n\r\n").await;
    answered(&mut client).await;
}

#[tokio::test]
async fn clients_that_were_not_invited_learn_that_the_connection_closes() {
    let (fake, calls) = careless();
    let node = Node::bounded(options(), fake).await;
    let mut client = node.raw().await;
    // Without an invitation the client sends its next request instead of the body.
    let head = "POST /hello HTTP/1.1\r\nhost: a\r\ncontent-length: 45\r\nexpect: 100-continue\r\n\r\n";
    client.send(head).await;
    let mut answer = answered(&mut client).await;
    client.send(&SMUGGLED.repeat(2)).await;
    answer += &client.read_to_end().await;
    assert!(answer.contains("\r\nconnection: close\r\n") && answer.ends_with("hi"), "{answer}");
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn clients_that_close_do_not_have_to_send_the_rest() {
    let (fake, _) = careless();
    let node = Node::bounded(options(), fake).await;
    for head in ["POST /hello HTTP/1.1\r\nhost: a\r\nconnection: close", "POST /hello HTTP/1.0"] {
        let mut client = node.raw().await;
        client.send(&format!("{head}\r\ncontent-length: 10\r\n\r\n1")).await;
        assert!(client.read_to_end().await.ends_with("\r\n\r\nhi"), "{head}");
    }
    eventually(|| node.tally.snapshot().total() == 2).await;
}

/// The kind, flags, stream and payload of an HTTP/2 frame.
type Frame<'a> = (u8, u8, u32, &'a [u8]);

/// The frames in `bytes`.
fn frames(mut bytes: &[u8]) -> Vec<Frame<'_>> {
    let mut found = Vec::new();
    while let [a, b, c, kind, flags, s0, s1, s2, s3, after @ ..] = bytes {
        let length = usize::try_from(u32::from_be_bytes([0, *a, *b, *c])).unwrap();
        let Some((payload, rest)) = after.split_at_checked(length) else { break };
        found.push((*kind, *flags, u32::from_be_bytes([*s0, *s1, *s2, *s3]), payload));
        bytes = rest;
    }
    found
}

/// A frame as it is sent.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

#[tokio::test]
async fn http2_streams_end_in_order_when_a_guest_leaves_the_body_unread() {
    const DATA: u8 = 0;
    const HEADERS: u8 = 1;
    const RESET: u8 = 3;
    const PING: u8 = 6;
    let (fake, _) = careless();
    let node = Node::bounded(options(), fake).await;
    let mut client = node.raw().await;
    // `:method: POST`, `:scheme: http`, `:path: /hello` and `:authority: a`, without a dynamic table.
    let head = [&[0x83, 0x86, 0x04, 6][..], b"/hello", &[0x01, 1], b"a"].concat();
    let again = frame(HEADERS, 4, 3, &head);
    let begin =
        [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &frame(4, 0, 0, &[]), &frame(HEADERS, 4, 1, &head)];
    within(client.0.write_all(&begin.concat())).await.unwrap();
    let mut read = Vec::new();
    let mut until = async |read: &mut Vec<u8>, enough: fn(&Frame<'_>) -> bool, send: &[u8]| {
        within(client.0.write_all(send)).await.unwrap();
        while !frames(read).iter().any(enough) {
            assert_ne!(within(client.0.read_buf(read)).await.unwrap(), 0, "the connection ended");
        }
    };
    // The response is complete before the body is.
    until(&mut read, |&(kind, flags, stream, _)| kind == DATA && flags & 1 == 1 && stream == 1, &[]).await;
    let rest = [frame(DATA, 0, 1, &[b'x'; 10_000]), frame(DATA, 1, 1, b"x"), frame(PING, 0, 0, &[7; 8])];
    until(&mut read, |&(kind, _, _, payload)| kind == PING && payload == [7; 8], &rest.concat()).await;
    assert!(frames(&read).iter().all(|&(kind, ..)| kind != RESET), "{:?}", frames(&read));
    // A client that stops sending gets the reset that it may wait for, and the connection goes on.
    until(&mut read, |&(kind, flags, stream, _)| kind == DATA && flags & 1 == 1 && stream == 3, &again).await;
    until(&mut read, |&(kind, _, stream, reason)| kind == RESET && stream == 3 && reason == [0; 4], &[])
        .await;
}
