//! Bodies in both directions, as they are made and no faster than they are read.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::sync::{Mutex, oneshot};
use wasm_fn_core::Outcome;

use super::harness::{
    ClientBody, Fake, FakeBody, Node, fed, get, get2, ok, options, request, request2, text, trap, within,
};
use crate::{FailureCause, InvokeFailure, ServerOptions};

/// What sockets, windows and buffers between the two ends may hold, bytes.
const BETWEEN: u64 = 24 << 20;
const FRAME: u64 = 256 << 10;
static ZEROS: [u8; 256 << 10] = [0; 256 << 10];

async fn send(node: &Node, http2: bool, path: &str, body: ClientBody) -> Response<Incoming> {
    let response = if http2 {
        within(node.http2().await.send_request(request2(path, body))).await
    } else {
        within(node.http1().await.send_request(trailing(request(path, body)))).await
    };
    response.unwrap()
}

/// HTTP/1 clients say that they understand trailers, and which they send.
fn trailing(mut request: Request<ClientBody>) -> Request<ClientBody> {
    request.headers_mut().insert(header::TE, HeaderValue::from_static("trailers"));
    request.headers_mut().insert(header::TRAILER, HeaderValue::from_static("x-sum"));
    request
}

fn sum(value: &'static str) -> HeaderMap {
    HeaderMap::from_iter([(http::HeaderName::from_static("x-sum"), HeaderValue::from_static(value))])
}

/// Sends back each frame when it comes, trailers too.
fn echo() -> Fake {
    Fake::new(|mut call| async move {
        let (mut sender, body) = FakeBody::fed();
        tokio::spawn(async move {
            while let Some(frame) = call.request.body_mut().frame().await {
                sender.send(frame.unwrap()).await.unwrap();
            }
        });
        Ok(Response::builder().header(header::TRAILER, "x-sum").body(body).unwrap())
    })
}

#[tokio::test]
async fn frames_and_trailers_travel_both_ways_while_both_bodies_are_open() {
    for http2 in [false, true] {
        let node = Node::bounded(options(), echo()).await;
        let (mut sender, body) = fed();
        let mut answer = send(&node, http2, "/hello", body).await.into_body();
        for word in ["one", "two", "three"] {
            sender.send_data(Bytes::from(word)).await.unwrap();
            assert_eq!(within(answer.frame()).await.unwrap().unwrap().into_data().unwrap(), word);
        }
        sender.send_trailers(sum("6")).await.unwrap();
        drop(sender);
        let trailers = within(answer.frame()).await.unwrap().unwrap().into_trailers().unwrap();
        assert_eq!(trailers, sum("6"));
        assert!(within(answer.frame()).await.is_none());
        node.counts(Outcome::Success, 1).await;
    }
}

#[tokio::test]
async fn guests_are_asked_for_no_more_than_clients_read() {
    for http2 in [false, true] {
        let made = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&made);
        let node = Node::answering(move |_| {
            let made = Arc::clone(&counter);
            async move {
                let (mut sender, body) = FakeBody::fed();
                tokio::spawn(async move {
                    let frame = Bytes::from_static(&ZEROS);
                    for _ in 0..2 * BETWEEN / FRAME {
                        sender.send_data(frame.clone()).await.unwrap();
                        made.fetch_add(FRAME, Ordering::SeqCst);
                    }
                });
                Ok(Response::new(body))
            }
        })
        .await;
        let (_, body) = fed();
        let mut answer = send(&node, http2, "/hello", body).await.into_body();
        let mut read = 0;
        while let Some(frame) = within(answer.frame()).await {
            read += frame.unwrap().data_ref().unwrap().len() as u64;
            assert!(made.load(Ordering::SeqCst) <= read + BETWEEN);
        }
        assert_eq!(read, 2 * BETWEEN);
        node.counts(Outcome::Success, 1).await;
    }
}

#[tokio::test]
async fn clients_are_asked_for_no_more_than_guests_read() {
    for http2 in [false, true] {
        let sent = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&sent);
        let large = ServerOptions { body_bytes_max: 4 * BETWEEN, ..options() };
        let fake = Fake::new(move |mut call| {
            let sent = Arc::clone(&counter);
            async move {
                let mut read = 0;
                while let Some(frame) = call.request.body_mut().frame().await {
                    read += frame.unwrap().data_ref().unwrap().len() as u64;
                    assert!(sent.load(Ordering::SeqCst) <= read + BETWEEN);
                    tokio::task::yield_now().await;
                }
                ok(read.to_string())
            }
        });
        let node = Node::bounded(large, fake).await;
        let (mut sender, body) = fed();
        tokio::spawn(async move {
            let frame = Bytes::from_static(&ZEROS);
            for _ in 0..2 * BETWEEN / FRAME {
                sender.send_data(frame.clone()).await.unwrap();
                sent.fetch_add(FRAME, Ordering::SeqCst);
            }
        });
        let response = send(&node, http2, "/hello", body).await;
        assert_eq!(text(response).await, (2 * BETWEEN).to_string());
    }
}

#[tokio::test]
async fn body_is_invited_when_the_guest_reads_it() {
    let node = Node::answering(|call| async move {
        if call.request.uri().path() == "/hello/unread" {
            return ok("no, thanks");
        }
        let body = call.request.into_body().collect().await.unwrap().to_bytes();
        ok(body)
    })
    .await;
    let head = |path| {
        format!("POST {path} HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\nexpect: 100-continue\r\n\r\n")
    };
    let mut client = node.raw().await;
    client.send(&head("/hello")).await;
    assert_eq!(client.read_until("\r\n\r\n").await, "HTTP/1.1 100 Continue\r\n\r\n");
    client.send("body").await;
    assert!(client.read_until("body").await.starts_with("HTTP/1.1 200 OK"));

    let mut client = node.raw().await;
    client.send(&head("/hello/unread")).await;
    assert!(client.read_until("no, thanks").await.starts_with("HTTP/1.1 200 OK"));
}

#[tokio::test]
async fn failure_after_the_head_is_noticed_by_the_client() {
    for http2 in [false, true] {
        let node = Node::answering(|_| async {
            let (mut sender, body) = FakeBody::fed();
            tokio::spawn(async move {
                sender.send_data(Bytes::from_static(b"half of the ")).await.unwrap();
                sender.abort(trap("unreachable executed"));
            });
            Ok(Response::new(body))
        })
        .await;
        let (_, body) = fed();
        let mut answer = send(&node, http2, "/hello", body).await.into_body();
        let mut end = within(answer.frame()).await.unwrap();
        while end.is_ok() {
            end = within(answer.frame()).await.expect("the body does not look complete");
        }
        node.counts(Outcome::Trap, 1).await;
    }
}

#[tokio::test]
async fn bodies_that_break_the_promise_of_their_head_are_cut() {
    for (http2, frames) in [(false, 1), (true, 1), (true, 3), (false, 3)] {
        let node = Node::answering(move |_| async move {
            let (mut sender, body) = FakeBody::fed();
            tokio::spawn(async move {
                for _ in 0..frames {
                    let _ = sender.send_data(Bytes::from_static(b"1234")).await;
                }
            });
            Ok(Response::builder().header(header::CONTENT_LENGTH, "10").body(body).unwrap())
        })
        .await;
        let (_, body) = fed();
        let response = send(&node, http2, "/hello", body).await;
        assert_eq!(response.headers()[header::CONTENT_LENGTH], "10");
        within(response.into_body().collect()).await.unwrap_err();
        node.counts(Outcome::InvalidResponse, 1).await;
    }
}

#[tokio::test]
async fn kept_promise_is_a_complete_answer() {
    for http2 in [false, true] {
        let node = Node::answering(move |_| async move {
            let (mut sender, body) = FakeBody::fed();
            tokio::spawn(async move {
                sender.send_data(Bytes::from_static(b"12345")).await.unwrap();
                sender.send_data(Bytes::from_static(b"67890")).await.unwrap();
            });
            Ok(Response::builder().header(header::CONTENT_LENGTH, "10").body(body).unwrap())
        })
        .await;
        let (_, body) = fed();
        assert_eq!(text(send(&node, http2, "/hello", body).await).await, "1234567890");
        node.counts(Outcome::Success, 1).await;
    }
}

/// Answers with this status and content-length, and works on without ending its body. Tells when the server
/// needs no more of that.
async fn working_on(status: u16, length: Option<&'static str>) -> (Node, oneshot::Receiver<()>) {
    let (report, completed) = oneshot::channel();
    let state = Arc::new(Mutex::new((Some(report), None)));
    let node = Node::answering(move |_| {
        let state = Arc::clone(&state);
        async move {
            let (mut sender, body) = FakeBody::fed();
            if length == Some("5") {
                sender.send_data(Bytes::from_static(b"hello")).await.unwrap();
            }
            let (report, at_work) = &mut *state.lock().await;
            *at_work = Some(sender);
            let mut response = Response::new(body.reporting(report.take().unwrap()));
            *response.status_mut() = status.try_into().unwrap();
            if let Some(length) = length {
                response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from_static(length));
            }
            Ok(response)
        }
    })
    .await;
    (node, completed)
}

#[tokio::test]
async fn guests_that_work_on_after_their_response_are_not_cancelled() {
    for (method, status, length) in [
        (Method::GET, 200, Some("5")),
        (Method::GET, 200, Some("0")),
        (Method::GET, 204, None),
        (Method::GET, 304, None),
        (Method::HEAD, 200, Some("5")),
        (Method::HEAD, 200, None),
    ] {
        for http2 in [false, true] {
            // Trailers may follow there, so the body goes on until the guest ends it.
            if http2 && method == Method::GET && length == Some("5") {
                continue;
            }
            let (node, completed) = working_on(status, length).await;
            let mut request = if http2 { get2("/hello") } else { get("/hello") };
            *request.method_mut() = method.clone();
            let response = if http2 {
                node.http2().await.send_request(request).await.unwrap()
            } else {
                node.http1().await.send_request(request).await.unwrap()
            };
            assert_eq!(response.status(), status);
            within(response.into_body().collect()).await.unwrap();
            within(completed).await.unwrap();
            node.counts(Outcome::Success, 1).await;
        }
    }
}

#[tokio::test]
async fn connections_are_kept_and_known_lengths_are_declared() {
    let node = Node::answering(|_| async { ok("hello") }).await;
    let (mut http1, mut http2) = (node.http1().await, node.http2().await);
    let mut ids = std::collections::HashSet::new();
    for _ in 0..3 {
        let first = http1.send_request(get("/hello")).await.unwrap();
        let second = http2.send_request(get2("/hello")).await.unwrap();
        for response in [first, second] {
            assert_eq!(response.headers()[header::CONTENT_LENGTH], "5");
            assert!(ids.insert(response.headers()["wasm-fn-request-id"].clone()));
            assert_eq!(text(response).await, "hello");
        }
    }
    node.counts(Outcome::Success, 6).await;
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let node = Node::answering(|call| async move { ok(call.request.uri().path().to_owned()) }).await;
    let mut client = node.raw().await;
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n");
    client.send(&(get("/hello/1") + &get("/hello/2") + &get("/hello/3"))).await;
    for path in ["/hello/1", "/hello/2", "/hello/3"] {
        assert!(client.read_until(path).await.contains("HTTP/1.1 200 OK"));
    }
}

#[tokio::test]
async fn internal_failures_after_the_head_blame_no_guest() {
    let node = Node::answering(|_| async {
        let (sender, body) = FakeBody::fed();
        sender.abort(InvokeFailure::new(FailureCause::Internal, "disk on fire"));
        Ok(Response::new(body))
    })
    .await;
    let answer = node.http1().await.send_request(get("/hello")).await;
    assert!(answer.is_err() || answer.unwrap().into_body().collect().await.is_err());
    node.counts(Outcome::Internal, 1).await;
}
