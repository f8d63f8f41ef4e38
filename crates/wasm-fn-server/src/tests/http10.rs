//! Clients that speak HTTP/1.0.

use std::{io::ErrorKind, sync::Arc};

use bytes::Bytes;
use http::Response;
use tokio::{
    io::AsyncReadExt as _,
    sync::{Mutex, oneshot},
};
use wasm_fn_core::Outcome;

use super::harness::{Fake, FakeBody, Node, ok, options, trap, within};

const KEPT: &str = "GET /hello HTTP/1.0\r\nconnection: keep-alive\r\n\r\n";

#[tokio::test]
async fn a_response_that_is_cut_off_ends_in_a_reset() {
    let (fail, failing) = oneshot::channel::<()>();
    let failing = Arc::new(Mutex::new(Some(failing)));
    let fake = Fake::new(move |_| {
        let failing = Arc::clone(&failing);
        async move {
            let failing = failing.lock().await.take().unwrap();
            let (mut sender, body) = FakeBody::fed();
            tokio::spawn(async move {
                sender.send_data(Bytes::from_static(b"half of the ")).await.unwrap();
                failing.await.unwrap();
                sender.abort(trap("unreachable executed"));
            });
            Ok(Response::new(body))
        }
    });
    let node = Node::bounded(options(), fake).await;
    let mut client = node.raw().await;
    client.send(KEPT).await;
    client.read_until("half of the ").await;
    fail.send(()).unwrap();
    let end = within(client.0.read_u8()).await.unwrap_err();
    assert_eq!(end.kind(), ErrorKind::ConnectionReset);
    node.counts(Outcome::Trap, 1).await;
}

#[tokio::test]
async fn a_node_that_cuts_an_answer_resets_the_connection() {
    let (sender, body) = FakeBody::fed();
    let body = Arc::new(Mutex::new(Some(body)));
    let fake = Fake::new(move |_| {
        let body = Arc::clone(&body);
        async move { Ok(Response::new(body.lock().await.take().unwrap())) }
    });
    let node = Node::bounded(options(), fake).await;
    let mut client = node.raw().await;
    client.send(KEPT).await;
    client.read_until("\r\n\r\n").await;
    node.handle.abort();
    let end = within(client.0.read_u8()).await.unwrap_err();
    assert_eq!(end.kind(), ErrorKind::ConnectionReset);
    drop(sender);
    node.counts(Outcome::Shed, 1).await;
}

#[tokio::test]
async fn keeping_the_connection_is_announced_where_it_holds() {
    let node = Node::answering(|call| async move {
        if call.request.uri().path() == "/hello/known" {
            return ok("known");
        }
        let (mut sender, body) = FakeBody::fed();
        tokio::spawn(async move {
            sender.send_data(Bytes::from_static(b"unknown")).await.unwrap();
        });
        Ok(Response::new(body))
    })
    .await;
    let mut client = node.raw().await;
    let ask = |path: &str, fields: &str| format!("GET {path} HTTP/1.0\r\n{fields}\r\n");
    for _ in 0..2 {
        client.send(&ask("/hello/known", "connection: keep-alive\r\n")).await;
        let answer = client.read_until("\r\n\r\nknown").await;
        assert!(answer.contains("\r\nconnection: keep-alive\r\n"), "{answer}");
    }
    client.send(&ask("/hello/unknown", "connection: keep-alive\r\n")).await;
    let answer = client.read_to_end().await;
    assert!(!answer.contains("keep-alive") && answer.ends_with("\r\n\r\nunknown"), "{answer}");
    assert!(answer.starts_with("HTTP/1.0 200 "), "{answer}");
    let mut client = node.raw().await;
    client.send(&ask("/hello/known", "")).await;
    let answer = client.read_to_end().await;
    assert!(!answer.contains("keep-alive") && answer.ends_with("\r\n\r\nknown"), "{answer}");
    node.counts(Outcome::Success, 4).await;
}
