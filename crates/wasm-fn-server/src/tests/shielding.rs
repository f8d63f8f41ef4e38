//! Canaries that fail while the version they are to replace stands by.

mod counting;
mod recalling;

use std::{
    sync::{Arc, Mutex, atomic::Ordering::SeqCst},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, header};
use http_body_util::{BodyExt, Full};
use tokio::sync::oneshot;
use wasm_fn_core::{Outcome, Side, TrafficSplit, Trap};
use wasm_fn_router::Placement;

use super::harness::{
    Fake, FakeBody,
    compared::{Setup, Tried, echo},
    eventually, fed, get, get2, ok, options, problem, request, request2, text, trap, v, within,
};
use crate::{Call, FailureCause, InvokeFailure, ServerOptions};

/// What is kept of a request's body.
const KEPT: usize = 64 << 10;

fn full(bytes: &Bytes) -> super::harness::ClientBody {
    Full::new(bytes.clone()).boxed_unsync()
}

/// Bytes of which no two neighbours are alike.
fn bytes(count: usize) -> Bytes {
    (0..count).map(|at| u8::try_from(at % 251).unwrap()).collect()
}

#[track_caller]
fn check<B>(response: &Response<B>, status: u16, version: &str) {
    assert_eq!(response.status().as_u16(), status);
    assert_eq!(response.headers()["wasm-fn-version"], version);
}

/// A value for the one call that takes it.
pub(super) fn once<T>(value: T) -> impl Fn() -> T {
    let value = Mutex::new(Some(value));
    move || value.lock().unwrap().take().expect("called once")
}

/// A canary that reads its whole body and traps.
async fn read_and_trap(mut call: Call) -> Result<Response<FakeBody>, InvokeFailure> {
    call.request.body_mut().collect().await.unwrap();
    Err(trap("unreachable"))
}

#[tokio::test]
async fn a_canary_that_fails_is_charged_and_stable_answers() {
    type Answer = fn() -> Result<Response<FakeBody>, InvokeFailure>;
    let cases: [(Answer, Outcome); 9] = [
        (|| Err(trap("unreachable")), Outcome::Trap),
        (|| Err(InvokeFailure::new(FailureCause::Timeout, "")), Outcome::Timeout),
        (|| Err(InvokeFailure::new(FailureCause::OutOfMemory, "")), Outcome::OutOfMemory),
        (|| Err(InvokeFailure::new(FailureCause::InvalidResponse, "")), Outcome::InvalidResponse),
        (|| Err(InvokeFailure::new(FailureCause::FunctionOverloaded, "")), Outcome::Shed),
        (|| Err(InvokeFailure::new(FailureCause::NodeOverloaded, "")), Outcome::Shed),
        (|| Err(InvokeFailure::new(FailureCause::Internal, "")), Outcome::Internal),
        (|| Ok(Response::builder().status(503).body(FakeBody::text("sorry")).unwrap()), Outcome::ServerError),
        (|| Ok(Response::builder().status(100).body(FakeBody::text("")).unwrap()), Outcome::InvalidResponse),
    ];
    for (answer, outcome) in cases {
        for http2 in [false, true] {
            let tried = Setup::default().canary(move |_| async move { answer() }).await;
            let body = Bytes::from_static(b"the body");
            let response = if http2 {
                tried.node.http2().await.send_request(request2("/hello/a?b=c", full(&body))).await.unwrap()
            } else {
                tried.node.http1().await.send_request(request("/hello/a?b=c", full(&body))).await.unwrap()
            };
            assert_eq!(response.status(), 200, "{outcome}");
            assert_eq!(response.headers()["wasm-fn-version"], "v1");
            assert_eq!(response.headers()["wasm-fn-shielded"], "1");
            assert_eq!(response.headers()["x-method"], "POST");
            assert!(response.headers()["x-target"].to_str().unwrap().ends_with("/hello/a?b=c"));
            assert_eq!(text(response).await, "the body");
            let told = tried.charged(outcome).await;
            assert_eq!(told.placement, Placement::Chance);
            assert_eq!(tried.observer.under_way(), 0);
            tried.node.counts(Outcome::Success, 1).await;
            tried.ran_on_stable(1);
        }
    }
}

#[tokio::test]
async fn both_runs_are_the_same_request() {
    let calls = Arc::new(Mutex::new(Vec::new()));
    let note = |calls: &Arc<Mutex<Vec<_>>>, call: &Call| {
        let headers = call.request.headers().clone();
        calls.lock().unwrap().push((call.request_id, call.arrived, headers, call.effects.is_some()));
    };
    let (first, second) = (Arc::clone(&calls), Arc::clone(&calls));
    let canary = Fake::new(move |call| {
        note(&first, &call);
        async { Err(trap("unreachable")) }
    });
    let stable = Fake::new(move |call| {
        note(&second, &call);
        assert_eq!(call.version, v(1));
        async { ok("fine") }
    });
    let tried = Setup::default().start(canary, stable).await;
    let mut asking = get("/hello");
    asking.headers_mut().insert("x-one", HeaderValue::from_static("1"));
    asking.headers_mut().append("x-one", HeaderValue::from_static("2"));
    asking.headers_mut().insert("wasm-fn-token", HeaderValue::from_static("secret"));
    let response = tried.node.http1().await.send_request(asking).await.unwrap();
    let id = response.headers()["wasm-fn-request-id"].to_str().unwrap().to_owned();
    let calls = calls.lock().unwrap();
    let [first, second] = &calls[..] else { panic!("{calls:?}") };
    assert_eq!((first.0, first.1, &first.2), (second.0, second.1, &second.2));
    assert_eq!(first.2.get_all("x-one").iter().count(), 2);
    assert!(!first.2.contains_key("wasm-fn-token"));
    assert_eq!(first.0.to_string(), id);
    assert_eq!((first.3, second.3), (true, false), "the second run is the last");
}

#[tokio::test]
async fn a_trap_is_remembered_and_told_with_its_request() {
    let tried = Setup::default()
        .canary(|_| async {
            let trap = Some(Trap { fingerprint: 77, backtrace: "unreachable".into() });
            Err(InvokeFailure { trap, ..InvokeFailure::new(FailureCause::Trap, "unreachable") })
        })
        .await;
    let mut asking = get("/hello");
    asking.headers_mut().insert("wasm-fn-key", HeaderValue::from_static("somebody"));
    let response = tried.node.http1().await.send_request(asking).await.unwrap();
    let id = response.headers()["wasm-fn-request-id"].to_str().unwrap().to_owned();
    let told = tried.charged(Outcome::Trap).await;
    assert_eq!((told.trap, format!("{:032x}", told.request_id)), (Some(77), id));
    assert!(told.user.is_some());
    assert_eq!(tried.canary.traps(), [77]);
    assert!(tried.node.tally.traps().is_empty());
}

/// A canary that never answers; tells when it works, and when it is dropped.
pub(super) fn stuck() -> (Fake, oneshot::Receiver<()>, oneshot::Receiver<()>) {
    let (start, started) = oneshot::channel();
    let (held, dropped) = oneshot::channel::<()>();
    let ends = once((start, held));
    let fake = Fake::new(move |_| {
        let (start, mut held) = ends();
        async move {
            start.send(()).unwrap();
            held.closed().await;
            unreachable!("the receiver outlives the guest")
        }
    });
    (fake, started, dropped)
}

#[tokio::test]
async fn a_canary_that_has_not_answered_in_time_is_dropped_and_stable_answers() {
    for shield in [Duration::ZERO, Duration::from_millis(20)] {
        let (fake, _started, dropped) = stuck();
        let tried =
            Setup { fallback_after: Some(shield), ..Setup::default() }.start(fake, Fake::new(echo)).await;
        let response = within(tried.node.http1().await.send_request(get("/hello"))).await.unwrap();
        check(&response, 200, "v1");
        within(dropped).await.unwrap_err();
        tried.charged(Outcome::Timeout).await;
        assert!(tried.canary.snapshot().latency_quantile(1.0).unwrap() >= shield);
        tried.node.counts(Outcome::Success, 1).await;
    }
}

#[tokio::test]
async fn after_an_effect_nothing_runs_twice() {
    let tried = Setup::default()
        .canary(|call| async move {
            assert!(call.effects.unwrap().begin());
            Err(trap("after the effect"))
        })
        .await;
    let response = tried.node.http1().await.send_request(get("/hello")).await.unwrap();
    assert_eq!(response.headers()["wasm-fn-version"], "v2");
    assert!(!response.headers().contains_key("wasm-fn-shielded"));
    let (status, body) = problem(response).await;
    assert_eq!((status.as_u16(), &body["code"]), (500, &"guest-trap".into()));
    tried.charged(Outcome::Trap).await;
    tried.ran_on_stable(0);
}

#[tokio::test]
async fn a_slow_canary_that_cannot_run_again_keeps_its_time() {
    // Long enough for a body that came with its head to be read.
    let after = Duration::from_millis(250);
    for effect in [true, false] {
        let (start, started) = oneshot::channel();
        let (go, gone) = oneshot::channel::<()>();
        let ends = once((start, gone));
        let shield_body_bytes_max = if effect { KEPT } else { 3 };
        let options = ServerOptions { shield_body_bytes_max, ..options() };
        let setup = Setup { fallback_after: Some(after), options, ..Setup::default() };
        let tried = setup
            .canary(move |mut call| {
                let (start, gone) = ends();
                // What makes a second run impossible comes before anything that could take time.
                assert!(!effect || call.effects.as_ref().unwrap().begin());
                async move {
                    call.request.body_mut().collect().await.unwrap();
                    start.send(call.arrived).unwrap();
                    gone.await.unwrap();
                    ok("slowly")
                }
            })
            .await;
        let mut client = tried.node.http1().await;
        let body = full(&Bytes::from_static(b"four"));
        let answer = tokio::spawn(async move { client.send_request(request("/hello", body)).await.unwrap() });
        let arrived = within(started).await.unwrap();
        eventually(|| arrived.elapsed() > after).await;
        go.send(()).unwrap();
        let response = within(answer).await.unwrap();
        check(&response, 200, "v2");
        assert_eq!(text(response).await, "slowly");
        tried.charged(Outcome::Success).await;
        tried.ran_on_stable(0);
    }
}

#[tokio::test]
async fn a_canary_that_was_taken_over_from_can_have_no_effect_any_more() {
    let kept = Arc::new(Mutex::new(None));
    let slot = Arc::clone(&kept);
    let tried = Setup::default()
        .canary(move |call| {
            *slot.lock().unwrap() = call.effects;
            async { Ok(Response::builder().status(500).body(FakeBody::text("goes on")).unwrap()) }
        })
        .await;
    let response = tried.node.http1().await.send_request(get("/hello")).await.unwrap();
    assert_eq!(response.status(), 200);
    assert!(!kept.lock().unwrap().take().unwrap().begin());
    tried.charged(Outcome::ServerError).await;
}

#[tokio::test]
async fn a_body_within_the_bound_is_replayed_byte_for_byte() {
    for count in [0, 1, KEPT] {
        let tried = Setup::default().canary(read_and_trap).await;
        let sent = bytes(count);
        let first = tried.node.http1().await.send_request(request("/hello", full(&sent))).await.unwrap();
        let second = tried.node.http2().await.send_request(request2("/hello", full(&sent))).await.unwrap();
        for response in [first, second] {
            assert_eq!(response.headers()["wasm-fn-version"], "v1");
            assert_eq!(within(response.into_body().collect()).await.unwrap().to_bytes(), sent);
        }
    }
}

#[tokio::test]
async fn a_body_over_the_bound_runs_once_if_it_was_read_and_twice_if_not() {
    let sent = bytes(KEPT + 1);
    let tried = Setup::default().canary(read_and_trap).await;
    let response = tried.node.http1().await.send_request(request("/hello", full(&sent))).await.unwrap();
    check(&response, 500, "v2");
    tried.charged(Outcome::Trap).await;
    tried.ran_on_stable(0);
    let tried = Setup::default().canary(|_| async { Err(trap("unreachable")) }).await;
    let response = tried.node.http1().await.send_request(request("/hello", full(&sent))).await.unwrap();
    assert_eq!(within(response.into_body().collect()).await.unwrap().to_bytes(), sent);
    tried.charged(Outcome::Trap).await;
}

#[tokio::test]
async fn a_body_that_is_still_sent_goes_on_where_the_canary_stopped_and_has_its_trailers() {
    for read_all in [false, true] {
        let (read, has_read) = oneshot::channel();
        let read = once(read);
        let tried = Setup::default()
            .canary(move |mut call| {
                let read = read();
                async move {
                    let frame = call.request.body_mut().frame().await.unwrap().unwrap();
                    assert_eq!(frame.into_data().unwrap(), "first ");
                    read.send(()).unwrap();
                    if read_all {
                        let rest = call.request.body_mut().collect().await.unwrap();
                        assert_eq!(rest.trailers().map(HeaderMap::len), Some(1));
                    }
                    Err(trap("unreachable"))
                }
            })
            .await;
        let (mut sender, body) = fed();
        let mut client = tried.node.http2().await;
        let answer =
            tokio::spawn(async move { client.send_request(request2("/hello", body)).await.unwrap() });
        sender.send_data(Bytes::from_static(b"first ")).await.unwrap();
        within(has_read).await.unwrap();
        if !read_all {
            eventually(|| tried.stable_runs.load(SeqCst) == 1).await;
        }
        sender.send_data(Bytes::from_static(b"second")).await.unwrap();
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", HeaderValue::from_static("12"));
        sender.send_trailers(trailers).await.unwrap();
        drop(sender);
        let response = within(answer).await.unwrap();
        check(&response, 200, "v1");
        assert_eq!(response.headers()["x-trailers"], "1");
        assert_eq!(text(response).await, "first second");
        tried.charged(Outcome::Trap).await;
    }
}

#[tokio::test]
async fn clients_that_expect_to_be_asked_for_their_body_are_asked_once() {
    let tried = Setup::default().canary(read_and_trap).await;
    let mut client = tried.node.raw().await;
    client.send("POST /hello HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n").await;
    assert_eq!(client.read_until("\r\n\r\n").await, "HTTP/1.1 100 Continue\r\n\r\n");
    client.send("body").await;
    let answer = client.read_until("body").await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("wasm-fn-version: v1"), "{answer}");
    tried.charged(Outcome::Trap).await;
}

#[tokio::test]
async fn head_requests_are_shielded_and_have_no_body() {
    let tried = Setup::default()
        .start(Fake::new(|_| async { Err(trap("unreachable")) }), Fake::new(|_| async { ok("four") }));
    let tried = tried.await;
    let mut client = tried.node.http1().await;
    for _ in 0..2 {
        let mut asking = get("/hello");
        *asking.method_mut() = Method::HEAD;
        let response = client.send_request(asking).await.unwrap();
        assert_eq!(response.headers()["wasm-fn-version"], "v1");
        assert_eq!(response.headers()[header::CONTENT_LENGTH], "4");
        assert_eq!(text(response).await, "");
    }
    tried.node.counts(Outcome::Success, 2).await;
}

#[tokio::test]
async fn whoever_asks_for_the_canary_gets_its_failure() {
    let tried = Setup::default()
        .canary(|call| async move {
            assert!(call.effects.is_none());
            Err(trap("unreachable"))
        })
        .await;
    let mut asking = get("/hello");
    asking.headers_mut().insert("wasm-fn-version", HeaderValue::from_static("canary"));
    asking.headers_mut().insert("wasm-fn-token", HeaderValue::from_static("open sesame"));
    let response = tried.node.http1().await.send_request(asking).await.unwrap();
    check(&response, 500, "v2");
    eventually(|| tried.canary.overrides().count(Outcome::Trap) == 1).await;
    assert_eq!(tried.observer.heard(1).await.remove(0).placement, Placement::Request);
    tried.ran_on_stable(0);
}

#[tokio::test]
async fn without_a_shield_the_canary_s_failure_is_the_answer() {
    let setup = Setup { fallback_after: None, ..Setup::default() };
    let tried = setup.canary(|_| async { Err(trap("unreachable")) }).await;
    let response = tried.node.http1().await.send_request(get("/hello")).await.unwrap();
    check(&response, 500, "v2");
    tried.charged(Outcome::Trap).await;
    tried.ran_on_stable(0);
}

#[tokio::test]
async fn when_stable_fails_too_its_failure_is_the_answer() {
    let tried = Setup::default()
        .start(
            Fake::new(|_| async { Err(trap("the canary's")) }),
            Fake::new(|_| async { Err(InvokeFailure::new(FailureCause::OutOfMemory, "stable's")) }),
        )
        .await;
    let response = tried.node.http1().await.send_request(get("/hello")).await.unwrap();
    assert_eq!(response.headers()["wasm-fn-version"], "v1");
    let (_, body) = problem(response).await;
    assert_eq!((&body["code"], &body["detail"]), (&"guest-out-of-memory".into(), &"stable's".into()));
    tried.charged(Outcome::Trap).await;
    tried.node.counts(Outcome::OutOfMemory, 1).await;
    tried.ran_on_stable(1);
}

#[tokio::test]
async fn a_second_run_is_not_shown_unless_the_node_says_so() {
    let setup = Setup { options: ServerOptions { show_shielded: false, ..options() }, ..Setup::default() };
    let tried = setup.canary(|_| async { Err(trap("unreachable")) }).await;
    let response = tried.node.http1().await.send_request(get("/hello")).await.unwrap();
    assert_eq!(response.headers()["wasm-fn-version"], "v1");
    assert!(!response.headers().contains_key("wasm-fn-shielded"));
}

#[tokio::test]
async fn a_client_that_leaves_is_not_answered_by_stable() {
    let (fake, started, dropped) = stuck();
    let tried = Setup::default().start(fake, Fake::new(echo)).await;
    let mut client = tried.node.raw().await;
    client.send("GET /hello HTTP/1.1\r\nhost: a\r\n\r\n").await;
    within(started).await.unwrap();
    drop(client);
    within(dropped).await.unwrap_err();
    tried.charged(Outcome::Cancelled).await;
    tried.ran_on_stable(0);
}

#[tokio::test]
async fn a_body_that_breaks_off_or_is_too_large_is_not_run_twice() {
    let canary = |mut call: Call| async move {
        call.request.body_mut().collect().await.unwrap_err();
        Err(trap("no whole body"))
    };
    let tried = Setup::default().canary(canary).await;
    let mut client = tried.node.raw().await;
    client.send("POST /hello HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nhalf").await;
    drop(client);
    tried.charged(Outcome::Cancelled).await;
    tried.ran_on_stable(0);

    let setup = Setup { options: ServerOptions { body_bytes_max: 10, ..options() }, ..Setup::default() };
    let tried = setup.canary(canary).await;
    let mut client = tried.node.raw().await;
    client
        .send("POST /hello HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nb\r\n01234567890\r\n")
        .await;
    let answer = client.read_until("}").await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    tried.charged(Outcome::Cancelled).await;
    tried.ran_on_stable(0);
}

#[tokio::test]
async fn a_drain_waits_for_the_second_run() {
    let (start, started) = oneshot::channel();
    let (go, gone) = oneshot::channel::<()>();
    let ends = once((start, gone));
    let stable = Fake::new(move |_| {
        let (start, gone) = ends();
        async move {
            start.send(()).unwrap();
            gone.await.unwrap();
            ok("at last")
        }
    });
    let tried = Setup::default().start(Fake::new(|_| async { Err(trap("unreachable")) }), stable).await;
    let tried = Arc::new(tried);
    let mut client = tried.node.http1().await;
    let answer = tokio::spawn(async move { client.send_request(get("/hello")).await.unwrap() });
    within(started).await.unwrap();
    let draining = Arc::clone(&tried);
    let drained = tokio::spawn(async move { draining.node.handle.drain(Duration::from_secs(20)).await });
    tokio::task::yield_now().await;
    assert!(!drained.is_finished());
    go.send(()).unwrap();
    assert_eq!(text(within(answer).await.unwrap()).await, "at last");
    assert_eq!(within(drained).await.unwrap().cut, 0);
}

#[tokio::test]
async fn a_panic_of_the_host_counts_on_the_canary_and_is_heard() {
    let tried = Setup::default().canary(|_| async { panic!("a bug of ours") }).await;
    let mut client = tried.node.raw().await;
    client.send("GET /hello HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!(client.read_to_end().await, "");
    tried.charged(Outcome::Internal).await;
    tried.ran_on_stable(0);
}
