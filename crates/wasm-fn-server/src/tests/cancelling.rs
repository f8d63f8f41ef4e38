//! Clients that leave.

mod abandoning;

use std::{pin::Pin, sync::Arc};

use bytes::Bytes;
use http::Response;
use http_body_util::BodyExt;
use tokio::sync::{Mutex, oneshot};
use wasm_fn_core::Outcome;

use super::harness::{Fake, FakeBody, Node, fed, get, get2, options, request, request2, trap, within};
use crate::RequestBodyError;

/// A guest that tells when it has started and when it is dropped, and never answers.
struct Stuck {
    node: Node,
    started: oneshot::Receiver<()>,
    dropped: oneshot::Receiver<()>,
}

async fn stuck() -> Stuck {
    let (start, started) = oneshot::channel::<()>();
    let (held, dropped) = oneshot::channel::<()>();
    let ends = Arc::new(Mutex::new(Some((start, held))));
    let node = Node::answering(move |_| {
        let ends = Arc::clone(&ends);
        async move {
            let (start, mut held) = ends.lock().await.take().unwrap();
            start.send(()).unwrap();
            held.closed().await;
            unreachable!("the receiver outlives the guest")
        }
    })
    .await;
    Stuck { node, started, dropped }
}

#[tokio::test]
async fn leaving_before_the_head_drops_the_invocation() {
    let Stuck { node, started, dropped } = stuck().await;
    let mut client = node.raw().await;
    client.send("GET /hello HTTP/1.1\r\nhost: a\r\n\r\n").await;
    within(started).await.unwrap();
    drop(client);
    within(dropped).await.unwrap_err();
    node.counts(Outcome::Cancelled, 1).await;
}

#[tokio::test]
async fn resetting_a_stream_drops_its_invocation_and_no_other() {
    let Stuck { node, started, dropped } = stuck().await;
    let mut client = node.http2().await;
    let mut response = Box::pin(client.send_request(get2("/hello")));
    tokio::select! {
        answer = &mut response => panic!("{answer:?}"),
        started = within(started) => started.unwrap(),
    }
    drop(response);
    within(dropped).await.unwrap_err();
    node.counts(Outcome::Cancelled, 1).await;
    let other = within(client.send_request(get2("/other"))).await.unwrap();
    assert_eq!(other.status(), 404);
}

#[tokio::test]
async fn leaving_during_the_body_drops_the_body() {
    for http2 in [false, true] {
        let (gone, dropped) = oneshot::channel();
        let ends = Arc::new(Mutex::new(Some(gone)));
        let senders = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&senders);
        let node = Node::answering(move |_| {
            let (ends, kept) = (Arc::clone(&ends), Arc::clone(&kept));
            async move {
                let (mut sender, body) = FakeBody::fed();
                sender.send_data(Bytes::from_static(b"first")).await.unwrap();
                kept.lock().await.push(sender);
                Ok(Response::new(body.telling(ends.lock().await.take().unwrap())))
            }
        })
        .await;
        let (mut first, mut second) = (node.http1().await, node.http2().await);
        let response = if http2 {
            second.send_request(get2("/hello")).await.unwrap()
        } else {
            first.send_request(get("/hello")).await.unwrap()
        };
        let mut body = response.into_body();
        assert_eq!(within(body.frame()).await.unwrap().unwrap().into_data().unwrap(), "first");
        drop((body, first, second));
        within(dropped).await.unwrap();
        node.counts(Outcome::Cancelled, 1).await;
    }
}

#[tokio::test]
async fn breaking_off_an_upload_blames_no_version() {
    for http2 in [false, true] {
        let (start, started) = oneshot::channel();
        let start = Arc::new(Mutex::new(Some(start)));
        let fake = Fake::new(move |mut call| {
            let start = Arc::clone(&start);
            async move {
                let body = call.request.body_mut();
                body.frame().await.unwrap().unwrap();
                start.lock().await.take().unwrap().send(()).unwrap();
                let error = body.frame().await.unwrap().unwrap_err();
                assert!(matches!(error, RequestBodyError::Broken(_)));
                Err(trap("unreachable executed: no whole body"))
            }
        });
        let node = Node::bounded(options(), fake).await;
        let (mut sender, body) = fed();
        sender.send_data(Bytes::from_static(b"half")).await.unwrap();
        let (mut first, mut second) = (node.http1().await, node.http2().await);
        let mut response: Pin<Box<dyn Future<Output = _>>> = if http2 {
            Box::pin(second.send_request(request2("/hello", body)))
        } else {
            Box::pin(first.send_request(request("/hello", body)))
        };
        tokio::select! {
            answer = &mut response => panic!("{answer:?}"),
            started = within(started) => started.unwrap(),
        }
        drop(response);
        drop((first, second, sender));
        node.counts(Outcome::Cancelled, 1).await;
    }
}
