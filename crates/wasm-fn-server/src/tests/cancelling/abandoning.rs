//! What an observer learns of clients that leave, and that every request that begins for it ends once.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::Response;
use http_body_util::BodyExt;
use tokio::sync::oneshot;
use wasm_fn_core::{Outcome, TrafficSplit};
use wasm_fn_router::Placement;

use crate::tests::{
    harness::{
        Fake, FakeBody,
        compared::{Setup, Told, Tried, echo},
        eventually, fed, get, get2, ok, options, request2, text, trap, v, within,
    },
    shielding::{once, stuck},
};
use crate::{Call, FailureCause, InvokeFailure, ServerOptions};

impl Tried {
    /// What the observer learned of the only request, once that has ended.
    async fn told(&self) -> Told {
        let told = self.observer.heard(1).await.remove(0);
        assert_eq!(self.observer.under_way(), 0);
        told
    }
}

/// A canary that does `first` with its request, tells that, reads what is left of it, and never answers if
/// that was all.
fn stuck_after<F>(first: impl Fn(Call) -> F + Send + Sync + 'static) -> (Fake, oneshot::Receiver<()>)
where
    F: Future<Output = Call> + Send + 'static,
{
    let (start, started) = oneshot::channel();
    let start = once(start);
    let fake = Fake::new(move |call| {
        let (first, start) = (first(call), start());
        async move {
            let mut call = first.await;
            start.send(()).unwrap();
            match call.request.body_mut().collect().await {
                Ok(_) => std::future::pending().await,
                Err(_) => Err(trap("no whole body")),
            }
        }
    });
    (fake, started)
}

/// What is told of a client that sends `text` to a canary that never answers, and leaves.
async fn left<F>(text: &str, first: impl Fn(Call) -> F + Send + Sync + 'static) -> Told
where
    F: Future<Output = Call> + Send + 'static,
{
    let (fake, started) = stuck_after(first);
    let tried = Setup::default().start(fake, Fake::new(echo)).await;
    let mut client = tried.node.raw().await;
    client.send(text).await;
    within(started).await.unwrap();
    assert_eq!(tried.observer.under_way(), 1);
    drop(client);
    tried.told().await
}

async fn as_it_is(call: Call) -> Call {
    call
}

async fn with_its_body_read(mut call: Call) -> Call {
    call.request.body_mut().collect().await.unwrap();
    call
}

async fn with_a_frame_read(mut call: Call) -> Call {
    call.request.body_mut().frame().await.unwrap().unwrap();
    call
}

#[tokio::test]
async fn client_that_sent_all_and_leaves_unanswered_has_abandoned_its_request() {
    let get = left("GET /hello HTTP/1.1\r\nhost: a\r\n\r\n", as_it_is).await;
    let post = "POST /hello HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nbody";
    let post = left(post, with_its_body_read).await;
    let chunks =
        "POST /hello HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n";
    let chunks = left(chunks, with_its_body_read).await;
    for told in [get, post, chunks] {
        assert_eq!((told.outcome, told.abandoned), (Outcome::Cancelled, true));
    }
}

#[tokio::test]
async fn client_that_leaves_in_the_middle_of_its_body_has_not() {
    let half = "POST /hello HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nhalf";
    let told = left(half, with_a_frame_read).await;
    assert_eq!((told.outcome, told.abandoned), (Outcome::Cancelled, false));
}

#[tokio::test]
async fn client_that_resets_its_stream_has_abandoned_its_request_if_it_sent_all_of_it() {
    for (whole, abandoned) in [(true, true), (false, false)] {
        let (fake, started, _dropped) = stuck();
        let tried = Setup::default().start(fake, Fake::new(echo)).await;
        let mut client = tried.node.http2().await;
        let (_sender, half) = fed();
        let asking = if whole { get2("/hello") } else { request2("/hello", half) };
        let mut response = Box::pin(client.send_request(asking));
        tokio::select! {
            answer = &mut response => panic!("{answer:?}"),
            started = within(started) => started.unwrap(),
        }
        drop(response);
        assert_eq!(tried.told().await.abandoned, abandoned);
    }
}

#[tokio::test]
async fn client_that_leaves_during_the_answer_has_not_waited_in_vain() {
    let (mut sender, body) = FakeBody::fed();
    let body = once(body);
    let tried = Setup::default()
        .canary(move |_| {
            let body = body();
            async { Ok(Response::new(body)) }
        })
        .await;
    sender.send_data(Bytes::from_static(b"first")).await.unwrap();
    let mut client = tried.node.http1().await;
    let response = client.send_request(get("/hello")).await.unwrap();
    let mut body = response.into_body();
    within(body.frame()).await.unwrap().unwrap();
    drop((body, client));
    let told = tried.told().await;
    assert_eq!((told.outcome, told.abandoned), (Outcome::Cancelled, false));
}

#[tokio::test]
async fn request_that_was_recalled_was_abandoned_by_nobody() {
    for fallback_after in [None, Setup::default().fallback_after] {
        let (fake, started, _dropped) = stuck();
        let tried = Setup { fallback_after, ..Setup::default() }.start(fake, Fake::new(echo)).await;
        let mut client = tried.node.http1().await;
        let answer = tokio::spawn(async move { client.send_request(get("/hello")).await.unwrap() });
        within(started).await.unwrap();
        tried.observer.recall();
        within(answer).await.unwrap();
        let told = tried.told().await;
        assert_eq!((told.outcome, told.abandoned), (Outcome::Shed, false), "{fallback_after:?}");
    }
}

#[tokio::test]
async fn client_that_leaves_stable_after_the_canary_failed_is_told_of_once() {
    let (stable, started) = stuck_after(as_it_is);
    let tried = Setup::default().start(Fake::new(|_| async { Err(trap("unreachable")) }), stable).await;
    let mut client = tried.node.raw().await;
    client.send("GET /hello HTTP/1.1\r\nhost: a\r\n\r\n").await;
    within(started).await.unwrap();
    drop(client);
    tried.node.counts(Outcome::Cancelled, 1).await;
    let told = tried.told().await;
    assert_eq!((told.outcome, told.abandoned), (Outcome::Trap, false));
}

#[tokio::test]
async fn client_of_stable_that_leaves_unanswered_is_told_of_too() {
    let (stable, started) = stuck_after(as_it_is);
    let setup = Setup { split: TrafficSplit::all(v(1)), ..Setup::default() };
    let tried = setup.start(Fake::new(echo), stable).await;
    let mut client = tried.node.raw().await;
    client.send("GET /hello HTTP/1.1\r\nhost: a\r\n\r\n").await;
    within(started).await.unwrap();
    drop(client);
    assert!(tried.told().await.abandoned);
}

#[tokio::test]
async fn requests_that_the_node_refuses_begin_and_end_once() {
    let setup = Setup { options: ServerOptions { body_bytes_max: 10, ..options() }, ..Setup::default() };
    let tried = setup.canary(|_| async { ok("canary") }).await;
    let mut client = tried.node.raw().await;
    client.send("POST /hello HTTP/1.1\r\nhost: a\r\ncontent-length: 11\r\n\r\n01234567890").await;
    let answer = client.read_until("\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    let told = tried.told().await;
    assert_eq!((told.outcome, told.abandoned), (Outcome::Cancelled, false));

    let setup = Setup {
        options: ServerOptions { schedule_delay_max: Duration::ZERO, ..options() },
        ..Setup::default()
    };
    let tried = setup.canary(|_| async { ok("canary") }).await;
    let mut client = tried.node.http1().await;
    let mut asked = 0;
    loop {
        asked += 1;
        let response = client.send_request(get("/hello")).await.unwrap();
        let status = response.status();
        text(response).await;
        if status == 503 {
            break;
        }
        client.ready().await.unwrap();
    }
    let told = tried.observer.heard(asked).await;
    assert_eq!((told[asked - 1].outcome, told[asked - 1].abandoned), (Outcome::Shed, false));
    assert_eq!(tried.observer.under_way(), 0);
}

#[tokio::test]
async fn requests_that_the_canary_sheds_begin_and_end_once() {
    for cause in [FailureCause::FunctionOverloaded, FailureCause::NodeOverloaded, FailureCause::Internal] {
        for fallback_after in [None, Setup::default().fallback_after] {
            let setup = Setup { fallback_after, ..Setup::default() };
            let tried = setup.canary(move |_| async move { Err(InvokeFailure::new(cause, "")) }).await;
            tried.node.http1().await.send_request(get("/hello")).await.unwrap();
            let told = tried.told().await;
            assert!(!told.outcome.is_failure() && !told.abandoned, "{told:?}");
            assert_eq!(told.placement, Placement::Chance);
        }
    }
}

#[tokio::test]
async fn requests_under_way_when_the_node_stops_end_too() {
    let (fake, started) = stuck_after(as_it_is);
    let tried = Setup::default().start(fake, Fake::new(echo)).await;
    let mut client = tried.node.raw().await;
    client.send("GET /hello HTTP/1.1\r\nhost: a\r\n\r\n").await;
    within(started).await.unwrap();
    assert_eq!(tried.node.handle.drain(Duration::from_millis(1)).await.cut, 1);
    let observer = Arc::clone(&tried.observer);
    eventually(move || observer.under_way() == 0).await;
    assert_eq!(tried.told().await.outcome, Outcome::Shed);
}
