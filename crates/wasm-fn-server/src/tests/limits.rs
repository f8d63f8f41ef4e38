//! Every bound that clients meet.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response};
use http_body::Frame;
use http_body_util::{BodyExt, Full};
use tokio::{
    io::AsyncWriteExt as _,
    sync::{Mutex, oneshot},
};
use wasm_fn_core::Outcome;

use super::harness::{
    Fake, FakeBody, Node, eventually, fed, get, get2, ok, options, problem, request, request2, text, within,
};
use crate::{RequestBodyError, ServerOptions};

const SOON: Duration = Duration::from_millis(50);

fn many_headers<B>(mut request: http::Request<B>, count: usize) -> http::Request<B> {
    for number in 0..count {
        let name = HeaderName::try_from(format!("x-{number}")).unwrap();
        request.headers_mut().insert(name, HeaderValue::from_static("y"));
    }
    request
}

#[tokio::test]
async fn heads_over_their_limits_are_refused() {
    let node = Node::answering(|_| async { ok("hi") }).await;
    let fine = node.http1().await.send_request(many_headers(get("/hello"), 99)).await.unwrap();
    assert_eq!(fine.status(), 200);
    let many = node.http1().await.send_request(many_headers(get("/hello"), 100)).await.unwrap();
    assert_eq!(many.status(), 431);
    let many = node.http2().await.send_request(many_headers(get2("/hello"), 101)).await.unwrap();
    assert_eq!(problem(many).await.1["code"], "too-many-headers");

    let long = HeaderValue::from_str(&"y".repeat(66_000)).unwrap();
    let mut first = get("/hello");
    first.headers_mut().insert("x", long.clone());
    assert_eq!(node.http1().await.send_request(first).await.unwrap().status(), 431);
    let mut second = get2("/hello");
    second.headers_mut().insert("x", long);
    let refused = node.http2().await.send_request(second).await;
    assert!(refused.is_err() || refused.unwrap().status() == 431);
    node.counts(Outcome::Success, 1).await;
}

#[tokio::test]
async fn declared_body_over_the_limit_never_reaches_the_guest() {
    let asked = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&asked);
    let limited = ServerOptions { body_bytes_max: 10, ..options() };
    let fake = Fake::new(move |_| {
        seen.store(true, Ordering::SeqCst);
        async { ok("hi") }
    });
    let node = Node::bounded(limited, fake).await;
    let body = || Full::new(Bytes::from_static(b"12345678901")).boxed_unsync();
    for response in [
        node.http1().await.send_request(request("/hello", body())).await.unwrap(),
        node.http2().await.send_request(request2("/hello", body())).await.unwrap(),
    ] {
        let (status, body) = problem(response).await;
        assert_eq!((status.as_u16(), &body["code"]), (413, &"body-too-large".into()));
    }
    assert!(!asked.load(Ordering::SeqCst));
    node.counts(Outcome::Cancelled, 2).await;
}

#[tokio::test]
async fn refused_upload_does_not_lose_its_answer() {
    let node = Node::answering(|_| async { ok("hi") }).await;
    let mut client = node.raw().await;
    client.send("POST /hello HTTP/1.1\r\nhost: a\r\ncontent-length: 33554432\r\n\r\n").await;
    let part = "x".repeat(1 << 20);
    for _ in 0..32 {
        client.send(&part).await;
    }
    assert!(client.read_to_end().await.contains("body-too-large"));
}

#[tokio::test]
async fn body_that_grows_over_the_limit_fails_the_guests_read_and_gets_413() {
    let limited = ServerOptions { body_bytes_max: 10, ..options() };
    let fake = Fake::new(|mut call| async move {
        let body = call.request.body_mut();
        let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
        for _ in 0..2 {
            let error = body.frame().await.unwrap().unwrap_err();
            assert!(matches!(error, RequestBodyError::TooLarge { limit: 10 }));
        }
        ok(first)
    });
    let node = Node::bounded(limited, fake).await;
    let (mut sender, body) = fed();
    let mut client = node.http1().await;
    let response = client.send_request(request("/hello", body));
    let feed = async {
        sender.send_data(Bytes::from_static(b"1234567890")).await.unwrap();
        let _ = sender.send_data(Bytes::from_static(b"1")).await;
    };
    let (response, ()) = within(async { tokio::join!(response, feed) }).await;
    assert_eq!(problem(response.unwrap()).await.1["code"], "body-too-large");
    node.counts(Outcome::Cancelled, 1).await;
}

#[tokio::test]
async fn body_that_grows_over_the_limit_after_the_head_cuts_the_answer() {
    let limited = ServerOptions { body_bytes_max: 10, ..options() };
    let fake = Fake::new(|mut call| async move {
        let (mut sender, body) = FakeBody::fed();
        tokio::spawn(async move {
            while let Some(Ok(frame)) = call.request.body_mut().frame().await {
                sender.send(frame).await.unwrap();
            }
            let _ = sender.send_data(Bytes::from_static(b"the guest goes on")).await;
        });
        Ok(Response::new(body))
    });
    let node = Node::bounded(limited, fake).await;
    let (mut sender, body) = fed();
    sender.send_data(Bytes::from_static(b"1234567890")).await.unwrap();
    let response = node.http2().await.send_request(request2("/hello", body)).await.unwrap();
    let mut answer = response.into_body();
    assert_eq!(within(answer.frame()).await.unwrap().unwrap().into_data().unwrap(), "1234567890");
    sender.send_data(Bytes::from_static(b"1")).await.unwrap();
    within(answer.frame()).await.unwrap().unwrap_err();
    node.counts(Outcome::Cancelled, 1).await;
}

#[tokio::test]
async fn slow_heads_and_silent_connections_are_cut() {
    let node =
        Node::bounded(ServerOptions { head_timeout: SOON, ..options() }, Fake::new(|_| async { ok("hi") }))
            .await;
    for head in ["", "GET /he", "PRI * HT"] {
        let mut client = node.raw().await;
        client.send(head).await;
        assert_eq!(client.read_to_end().await, "", "{head:?}");
    }
    let mut client = node.raw().await;
    client.send("GET /hello HTTP/1.1\r\nhost: a\r\n\r\n").await;
    client.read_until("hi").await;
    client.send("GET /hello HTTP/1.1\r\nho").await;
    assert_eq!(client.read_to_end().await, "", "a later head has the same limit");
}

#[tokio::test]
async fn idle_connections_are_closed() {
    let node =
        Node::bounded(ServerOptions { idle_timeout: SOON, ..options() }, Fake::new(|_| async { ok("hi") }))
            .await;
    let mut client = node.raw().await;
    client.send("GET /hello HTTP/1.1\r\nhost: a\r\n\r\n").await;
    client.read_until("hi").await;
    assert_eq!(client.read_to_end().await, "");
    let mut client = node.http2().await;
    client.send_request(get2("/hello")).await.unwrap();
    within(std::future::poll_fn(|cx| match client.poll_ready(cx) {
        std::task::Poll::Ready(Err(_)) => std::task::Poll::Ready(()),
        _ => {
            cx.waker().wake_by_ref();
            std::task::Poll::Pending
        }
    }))
    .await;
}

#[tokio::test]
async fn working_guests_do_not_make_a_connection_idle() {
    let (release, held) = oneshot::channel::<()>();
    let held = Arc::new(Mutex::new(Some(held)));
    let fake = Fake::new(move |_| {
        let held = Arc::clone(&held);
        async move {
            let held = held.lock().await.take().unwrap();
            held.await.unwrap();
            ok("hi")
        }
    });
    let short = ServerOptions { idle_timeout: SOON, head_timeout: SOON, stall_timeout: SOON, ..options() };
    let node = Node::bounded(short, fake).await;
    let silent = node.raw();
    let mut client = node.http1().await;
    let response = client.send_request(get("/hello"));
    let later = async {
        // A connection that is opened later than the request and times out first.
        silent.await.read_to_end().await;
        node.raw().await.read_to_end().await;
        release.send(()).unwrap();
    };
    let (response, ()) = within(async { tokio::join!(response, later) }).await;
    assert_eq!(text(response.unwrap()).await, "hi");
}

#[tokio::test]
async fn clients_that_do_not_read_are_cut() {
    for http2 in [false, true] {
        let (gone, noticed) = oneshot::channel();
        let gone = Arc::new(Mutex::new(Some(gone)));
        let fake = Fake::new(move |_| {
            let gone = Arc::clone(&gone);
            async move {
                let (mut sender, body) = FakeBody::fed();
                tokio::spawn(async move {
                    let frame = Bytes::from(vec![b'x'; 64 << 10]);
                    while sender.send(Frame::data(frame.clone())).await.is_ok() {}
                });
                Ok(Response::new(body.telling(gone.lock().await.take().unwrap())))
            }
        });
        let node = Node::bounded(ServerOptions { stall_timeout: SOON, ..options() }, fake).await;
        let (mut first, mut second) = (node.raw().await, node.http2().await);
        let _unread = if http2 {
            Some(second.send_request(get2("/hello")).await.unwrap())
        } else {
            first.send("GET /hello HTTP/1.1\r\nhost: a\r\n\r\n").await;
            None
        };
        within(noticed).await.unwrap();
        node.counts(Outcome::Cancelled, 1).await;
    }
}

#[tokio::test]
async fn connections_over_the_limit_wait_their_turn() {
    let node = Node::bounded(
        ServerOptions { connections_max: 1, ..options() },
        Fake::new(|call| async move { ok(call.client.to_string()) }),
    )
    .await;
    let mut first = node.raw().await;
    first.send("GET /hello HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let port = first.0.local_addr().unwrap().port();
    first.read_until(&port.to_string()).await;
    let mut second = node.raw().await;
    second.send("GET /hello HTTP/1.1\r\nhost: a\r\n\r\n").await;
    first.send("GET /hello HTTP/1.1\r\nhost: a\r\n\r\n").await;
    first.read_until(&port.to_string()).await;
    assert_eq!(node.tally.snapshot().total(), 2);
    drop(first);
    let port = second.0.local_addr().unwrap().port();
    second.read_until(&port.to_string()).await;
    node.counts(Outcome::Success, 3).await;
}

#[tokio::test]
async fn address_with_its_share_of_connections_gets_no_more() {
    let bounded = ServerOptions { connections_per_address: 2, ..options() };
    let hi = || Fake::new(|_| async { ok("hi") });
    let node = Node::bounded(bounded.clone(), hi()).await;
    let request = "GET /hello HTTP/1.1\r\nhost: a\r\n\r\n";
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut client = node.raw().await;
        client.send(request).await;
        client.read_until("hi").await;
        held.push(client);
    }
    for _ in 0..20 {
        assert_eq!(node.raw().await.read_to_end().await, "", "it is closed");
    }
    // Those that it has are served, and a place that is given back can be taken.
    held[0].send(request).await;
    held[0].read_until("hi").await;
    held.pop();
    let again = async {
        loop {
            let mut client = node.raw().await;
            // One that is closed may be reset before it has sent anything.
            let _ = client.0.write_all(b"GET /hello HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
            if client.read_to_end().await.ends_with("hi") {
                return;
            }
        }
    };
    within(again).await;

    let trusting = ServerOptions { trusted_proxies: vec!["127.0.0.1".parse().unwrap()], ..bounded };
    let node = Node::bounded(trusting, hi()).await;
    let mut proxied = Vec::new();
    for _ in 0..20 {
        let mut client = node.raw().await;
        client.send(request).await;
        client.read_until("hi").await;
        proxied.push(client);
    }
}

#[tokio::test]
async fn requests_that_wait_too_long_for_a_thread_are_refused() {
    let impatient = ServerOptions { schedule_delay_max: Duration::ZERO, ..options() };
    let node = Node::bounded(impatient, Fake::new(|_| async { ok("hi") })).await;
    let mut client = node.http1().await;
    // What is there already when the connection's task looks has not waited.
    let refused = within(async {
        loop {
            let response = client.send_request(get("/hello")).await.unwrap();
            if response.status() != 200 {
                break response;
            }
            assert_eq!(text(response).await, "hi");
            client.ready().await.unwrap();
        }
    });
    let refused = refused.await;
    assert_eq!(refused.headers()["retry-after"], "1");
    assert_eq!(refused.headers()["wasm-fn-version"], "v1");
    assert_eq!(problem(refused).await.1["code"], "node-overloaded");
    eventually(|| node.tally.snapshot().count(Outcome::Shed) == 1).await;
}
