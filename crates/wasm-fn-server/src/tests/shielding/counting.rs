//! What the shield did, and could not do, is counted on the version that failed.

use std::{sync::Mutex, time::Duration};

use bytes::Bytes;
use http::Response;
use http_body_util::{BodyExt as _, Full};
use tokio::sync::oneshot;
use wasm_fn_core::Outcome;
use wasm_fn_router::Shielding;

use crate::tests::harness::{
    Fake, FakeBody,
    compared::{Setup, Tried, echo},
    eventually, get, ok, options, request, trap, within,
};
use crate::{Call, FailureCause, InvokeFailure, ServerOptions};

/// Asserts that the canary's failures were met exactly so.
#[track_caller]
fn met(tried: &Tried, expected: &[(Shielding, u64)]) {
    let snapshot = tried.canary.snapshot();
    let counts = Shielding::ALL.map(|shielding| (shielding, snapshot.shielded(shielding)));
    let found: Vec<_> = counts.into_iter().filter(|&(_, count)| count > 0).collect();
    assert_eq!(found, expected);
}

async fn failing(_: Call) -> Result<Response<FakeBody>, InvokeFailure> {
    Err(trap("unreachable"))
}

async fn asked(tried: &Tried) -> u16 {
    let mut client = tried.node.http1().await;
    let response = within(client.send_request(get("/hello"))).await.unwrap();
    let status = response.status().as_u16();
    let _ = within(response.into_body().collect()).await;
    status
}

#[tokio::test]
async fn second_runs_are_counted() {
    let tried = Setup::default().canary(failing).await;
    for _ in 0..2 {
        assert_eq!(asked(&tried).await, 200);
    }
    met(&tried, &[(Shielding::Again, 2)]);
    // One that fails as well has given the answer all the same.
    let tried = Setup::default().start(Fake::new(failing), Fake::new(failing)).await;
    assert_eq!(asked(&tried).await, 500);
    met(&tried, &[(Shielding::Again, 1)]);
}

#[tokio::test]
async fn good_answers_and_runs_without_a_shield_count_nothing() {
    let tried = Setup::default().canary(|_| async { ok("fine") }).await;
    asked(&tried).await;
    met(&tried, &[]);
    let tried = Setup { fallback_after: None, ..Setup::default() }.canary(failing).await;
    asked(&tried).await;
    met(&tried, &[]);
}

#[tokio::test]
async fn effects_and_large_bodies_are_told_apart() {
    let tried = Setup::default()
        .canary(|call| async move {
            assert!(call.effects.unwrap().begin());
            Ok(Response::builder().status(500).body(FakeBody::text("after the effect")).unwrap())
        })
        .await;
    assert_eq!(asked(&tried).await, 500);
    met(&tried, &[(Shielding::HadEffect, 1)]);

    let options = ServerOptions { shield_body_bytes_max: 3, ..options() };
    let tried = Setup { options, ..Setup::default() }
        .canary(|mut call| async move {
            call.request.body_mut().collect().await.unwrap();
            Err(trap("unreachable"))
        })
        .await;
    let body = Full::new(Bytes::from_static(b"four")).boxed_unsync();
    let response = tried.node.http1().await.send_request(request("/hello", body)).await.unwrap();
    assert_eq!(response.status(), 500);
    met(&tried, &[(Shielding::BodyTooLarge, 1)]);
}

#[tokio::test]
async fn response_that_fails_after_its_head_came_too_late() {
    let (mut sender, body) = FakeBody::fed();
    let body = Mutex::new(Some(body));
    let tried = Setup::default()
        .canary(move |_| {
            let body = body.lock().unwrap().take().unwrap();
            async { Ok(Response::new(body)) }
        })
        .await;
    sender.send_data(Bytes::from_static(b"first")).await.unwrap();
    let response = tried.node.http1().await.send_request(get("/hello")).await.unwrap();
    let mut body = response.into_body();
    within(body.frame()).await.unwrap().unwrap();
    sender.abort(trap("in the middle"));
    within(body.frame()).await.unwrap().unwrap_err();
    tried.charged(Outcome::Trap).await;
    met(&tried, &[(Shielding::ResponseBegun, 1)]);
}

#[tokio::test]
async fn second_run_without_time_is_told_apart() {
    let stable = Fake::new(|_| async { Err(InvokeFailure::new(FailureCause::Timeout, "no time was left")) });
    let tried = Setup::default().start(Fake::new(failing), stable).await;
    assert_eq!(asked(&tried).await, 504);
    met(&tried, &[(Shielding::NoTime, 1)]);
    // A canary that used up what was its part leaves some.
    let slow = Fake::new(|_| std::future::pending());
    let fallback_after = Some(Duration::from_millis(20));
    let tried = Setup { fallback_after, ..Setup::default() }.start(slow, Fake::new(echo)).await;
    assert_eq!(asked(&tried).await, 200);
    met(&tried, &[(Shielding::Again, 1)]);
}

#[tokio::test]
async fn client_that_leaves_during_the_second_run_is_told_apart() {
    let (start, started) = oneshot::channel();
    let start = Mutex::new(Some(start));
    let stable = Fake::new(move |_| {
        start.lock().unwrap().take().unwrap().send(()).unwrap();
        std::future::pending()
    });
    let tried = Setup::default().start(Fake::new(failing), stable).await;
    let mut client = tried.node.raw().await;
    client.send("GET /hello HTTP/1.1\r\nhost: a\r\n\r\n").await;
    within(started).await.unwrap();
    drop(client);
    eventually(|| tried.canary.snapshot().shielded(Shielding::ClientGone) == 1).await;
    met(&tried, &[(Shielding::ClientGone, 1)]);
}
