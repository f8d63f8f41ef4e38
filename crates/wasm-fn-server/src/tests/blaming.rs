//! What clients and the node do, and no version is charged with.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::Mutex,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Response, header};
use http_body::Body as _;
use http_body_util::BodyExt;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{net::TcpStream, sync::oneshot};
use wasm_fn_core::{Outcome, Usage};

use super::harness::{
    Fake, FakeBody, Node,
    compared::{Setup, echo},
    eventually, fed, get, get2, ok, problem, request, request2, text, trap, within,
};
use crate::{Call, FailureCause, InvokeFailure, clock};

/// Reads what there is of the body, and waits for more when `asks`; then its time is up.
async fn read_until_timeout(mut call: Call, asks: bool) -> Result<Response<FakeBody>, InvokeFailure> {
    let body = call.request.body_mut();
    body.frame().await.unwrap().unwrap();
    if asks {
        poll_fn(|cx| {
            assert!(Pin::new(&mut *body).poll_frame(cx).is_pending());
            std::task::Poll::Ready(())
        })
        .await;
    }
    Err(InvokeFailure::new(FailureCause::Timeout, "the guest did not answer"))
}

#[tokio::test]
async fn an_upload_that_stalls_is_the_clients() {
    for http2 in [false, true] {
        let node = Node::answering(|call| read_until_timeout(call, true)).await;
        let (mut sender, body) = fed();
        sender.send_data(Bytes::from_static(b"some")).await.unwrap();
        let response = if http2 {
            node.http2().await.send_request(request2("/hello", body)).await.unwrap()
        } else {
            node.http1().await.send_request(request("/hello", body)).await.unwrap()
        };
        let closes = response.headers().get(header::CONNECTION).is_some_and(|value| value == "close");
        assert_eq!(closes, !http2, "what is left of the body is no request");
        let (status, told) = problem(response).await;
        assert_eq!((status.as_u16(), &told["code"]), (408, &"request-timeout".into()));
        node.counts(Outcome::Cancelled, 1).await;
        drop(sender);
    }
}

#[tokio::test]
async fn a_guest_that_does_not_ask_for_the_body_is_late_itself() {
    let node = Node::answering(|call| read_until_timeout(call, false)).await;
    let (mut sender, body) = fed();
    sender.send_data(Bytes::from_static(b"some")).await.unwrap();
    let (status, told) =
        problem(node.http1().await.send_request(request("/hello", body)).await.unwrap()).await;
    assert_eq!((status.as_u16(), &told["code"]), (504, &"guest-timeout".into()));
    node.counts(Outcome::Timeout, 1).await;
    drop(sender);
}

#[tokio::test]
async fn an_upload_that_takes_most_of_the_time_is_the_clients() {
    let (begin, began) = oneshot::channel();
    let begin = Mutex::new(Some(begin));
    let node = Node::answering(move |mut call| {
        let begin = begin.lock().unwrap().take();
        async move {
            let body = call.request.body_mut();
            body.frame().await.unwrap().unwrap();
            begin.unwrap().send(()).unwrap();
            while body.frame().await.is_some() {}
            Err(InvokeFailure::new(FailureCause::Timeout, "the guest had little time"))
        }
    })
    .await;
    let (mut sender, body) = fed();
    sender.send_data(Bytes::from_static(b"some")).await.unwrap();
    let sent = clock::now();
    let mut client = node.http1().await;
    let answer = tokio::spawn(async move { client.send_request(request("/hello", body)).await.unwrap() });
    within(began).await.unwrap();
    as_long_again(sent).await;
    sender.send_data(Bytes::from_static(b"rest")).await.unwrap();
    drop(sender);
    let (status, told) = problem(within(answer).await.unwrap()).await;
    assert_eq!((status.as_u16(), &told["code"]), (408, &"request-timeout".into()));
    node.counts(Outcome::Cancelled, 1).await;
}

/// Lets as much time go by as has since `begun`, and a twentieth of a second more.
async fn as_long_again(begun: Instant) {
    let now = clock::now();
    let before = now - begun + Duration::from_millis(50);
    eventually(|| clock::now() - now > before).await;
}

#[tokio::test]
async fn a_slow_upload_makes_no_version_slow() {
    let (begin, began) = oneshot::channel();
    let begin = Mutex::new(Some(begin));
    let node = Node::answering(move |mut call| {
        let begin = begin.lock().unwrap().take();
        async move {
            let body = call.request.body_mut();
            body.frame().await.unwrap().unwrap();
            begin.unwrap().send(()).unwrap();
            while body.frame().await.is_some() {}
            ok("done")
        }
    })
    .await;
    let (mut sender, body) = fed();
    sender.send_data(Bytes::from_static(b"some")).await.unwrap();
    let mut client = node.http1().await;
    let answer = tokio::spawn(async move { client.send_request(request("/hello", body)).await.unwrap() });
    within(began).await.unwrap();
    let (held, while_held) = (clock::now(), Duration::from_millis(300));
    eventually(|| clock::now() - held > while_held).await;
    drop(sender);
    assert_eq!(text(within(answer).await.unwrap()).await, "done");
    node.counts(Outcome::Success, 1).await;
    let latency = node.tally.snapshot().latency_quantile(1.0).unwrap();
    assert!(latency < while_held, "{latency:?}");
}

#[tokio::test]
async fn a_canary_that_waits_for_the_client_keeps_its_time_and_is_not_charged() {
    let (end, ended) = oneshot::channel::<()>();
    let ended = Mutex::new(Some(ended));
    let canary = move |call| {
        let ended = ended.lock().unwrap().take().unwrap();
        async move {
            let failed = read_until_timeout(call, true).await;
            ended.await.unwrap();
            failed
        }
    };
    // Late before it has begun.
    let setup = Setup { fallback_after: Some(Duration::ZERO), ..Setup::default() };
    let tried = setup.start(Fake::new(canary), Fake::new(echo)).await;
    let (mut sender, body) = fed();
    sender.send_data(Bytes::from_static(b"some")).await.unwrap();
    let mut client = tried.node.http1().await;
    let answer = tokio::spawn(async move { client.send_request(request("/hello", body)).await.unwrap() });
    tokio::task::yield_now().await;
    end.send(()).unwrap();
    let response = within(answer).await.unwrap();
    assert_eq!(response.headers()["wasm-fn-version"], "v2");
    let (status, told) = problem(response).await;
    assert_eq!((status.as_u16(), &told["code"]), (408, &"request-timeout".into()));
    tried.charged(Outcome::Cancelled).await;
    tried.ran_on_stable(0);
    drop(sender);
}

#[tokio::test]
async fn a_canary_whose_code_is_not_there_is_not_charged_and_stable_answers() {
    let tried = Setup::default()
        .canary(|_| async { Err(InvokeFailure::new(FailureCause::NotReady, "being compiled")) })
        .await;
    let response = tried.node.http1().await.send_request(get("/hello")).await.unwrap();
    assert_eq!(
        (response.status().as_u16(), &response.headers()["wasm-fn-version"]),
        (200, &"v1".parse().unwrap())
    );
    tried.charged(Outcome::Shed).await;
    tried.node.counts(Outcome::Success, 1).await;
}

/// A client that takes `window` bytes of an answer before it reads them.
async fn reading_late(node: &Node, window: u32) -> super::harness::Http2 {
    let io = TokioIo::new(TcpStream::connect(node.addr()).await.unwrap());
    let mut builder = http2::Builder::new(TokioExecutor::new());
    let handshake =
        builder.initial_stream_window_size(window).initial_connection_window_size(window).handshake(io);
    let (client, connection) = handshake.await.unwrap();
    tokio::spawn(connection);
    client
}

#[tokio::test]
async fn an_answer_that_is_not_read_is_the_clients() {
    const WINDOW: u32 = 65_535;
    let (mut sender, body) = FakeBody::fed();
    let body = Mutex::new(Some(body));
    let node = Node::answering(move |_| {
        let body = body.lock().unwrap().take().unwrap();
        async { Ok(Response::new(body)) }
    })
    .await;
    let begun = clock::now();
    let mut client = reading_late(&node, WINDOW).await;
    sender.send_data(Bytes::from(vec![b'x'; 4 * WINDOW as usize])).await.unwrap();
    let response = client.send_request(get2("/hello")).await.unwrap();
    // The first fills the window, and the second waits for room.
    sender.send_data(Bytes::from_static(b"more")).await.unwrap();
    as_long_again(begun).await;
    // The guest is asked for more only when the client has read, and then its time is up.
    sender.abort(InvokeFailure::new(FailureCause::Timeout, "the guest did not answer"));
    within(response.into_body().collect()).await.unwrap_err();
    node.counts(Outcome::Cancelled, 1).await;
}

#[tokio::test]
async fn an_answer_that_is_read_and_has_no_end_is_the_versions() {
    let (mut sender, body) = FakeBody::fed();
    let body = Mutex::new(Some(body));
    let node = Node::answering(move |_| {
        let body = body.lock().unwrap().take().unwrap();
        async { Ok(Response::new(body)) }
    })
    .await;
    let mut client = node.http1().await;
    sender.send_data(Bytes::from_static(b"some")).await.unwrap();
    let mut body = client.send_request(get("/hello")).await.unwrap().into_body();
    within(body.frame()).await.unwrap().unwrap();
    sender.abort(InvokeFailure::new(FailureCause::Timeout, "the guest did not answer"));
    within(body.frame()).await.unwrap().unwrap_err();
    node.counts(Outcome::Timeout, 1).await;
}

#[tokio::test]
async fn what_a_guest_without_memory_does_is_the_nodes() {
    let usage = Usage { starved: true, ..Usage::default() };
    type Answer = fn(Usage) -> Result<Response<FakeBody>, InvokeFailure>;
    let answers: [(Answer, u16, Outcome); 3] = [
        (|usage| Err(InvokeFailure { usage, ..trap("no memory") }), 500, Outcome::Shed),
        (
            |usage| Ok(Response::builder().status(500).body(FakeBody::text("sorry").using(usage)).unwrap()),
            500,
            Outcome::Shed,
        ),
        (|usage| Ok(Response::new(FakeBody::text("fine").using(usage))), 200, Outcome::Success),
    ];
    for (answer, status, outcome) in answers {
        let node = Node::answering(move |_| async move { answer(usage) }).await;
        let response = node.http1().await.send_request(get("/hello")).await.unwrap();
        assert_eq!(response.status(), status);
        node.counts(outcome, 1).await;
    }
}
