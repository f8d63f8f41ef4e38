//! Events that functions handle.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use wasm_fn_core::{FunctionName, InvocationTrigger, Outcome, Side, StageName};
use wasm_fn_router::Placement;

use super::harness::{
    Fake, FakeBody, Node,
    compared::{Setup, Tried, echo},
    get, ok, options, problem, text, trap, v,
};
use crate::{
    Call, Delivered, DeliveryError, DeliveryOptions, DeliveryTarget, EventDispatcher, FailureCause,
    InvokeFailure, OverrideAccess, Redelivery,
};

/// Nobody may choose versions.
struct NoAccess;

impl OverrideAccess for NoAccess {
    fn may_override(&self, _: &FunctionName, _: &StageName, _: Option<&str>) -> bool {
        false
    }

    fn may_preview(&self, _: &FunctionName, _: &StageName, _: &str) -> bool {
        false
    }
}

fn to(function: &str) -> DeliveryOptions {
    DeliveryOptions {
        function: function.parse().unwrap(),
        stage: "live".parse().unwrap(),
        target: DeliveryTarget::Drawn,
        trigger: InvocationTrigger::Timer,
        redelivery: Redelivery::Always,
        answer_bytes_max: 1024,
    }
}

fn event() -> Request<Bytes> {
    Request::post("/_events/nightly").header("ce-id", "7").body(Bytes::from_static(b"the data")).unwrap()
}

fn dispatcher(node: &Node) -> EventDispatcher<Fake> {
    EventDispatcher::new(Arc::clone(&node.tables), options(), Arc::new(NoAccess))
}

async fn deliver(tried: &Tried, options: DeliveryOptions) -> Result<Delivered, DeliveryError> {
    dispatcher(&tried.node).deliver(event(), options).await
}

fn status(status: u16) -> Result<Response<FakeBody>, InvokeFailure> {
    Ok(Response::builder().status(status).body(FakeBody::text("no")).unwrap())
}

#[tokio::test]
async fn an_event_is_a_request_to_the_stage() {
    let node = Node::answering(echo).await;
    let delivered = dispatcher(&node).deliver(event(), to("hello")).await.unwrap();
    assert_eq!((delivered.status.as_u16(), delivered.version), (200, Some(v(1))));
    assert_eq!(delivered.headers["x-method"], "POST");
    assert_eq!(delivered.headers["x-target"], "/_events/nightly");
    assert_eq!(delivered.body, "the data");
    assert!(!delivered.is_of_node);
    node.counts(Outcome::Success, 1).await;
}

#[tokio::test]
async fn only_the_beginning_of_an_answer_is_kept() {
    let node = Node::answering(|_| async { ok(vec![b'x'; 3000]) }).await;
    let delivered = dispatcher(&node).deliver(event(), to("hello")).await.unwrap();
    assert_eq!(delivered.body.len(), 1024);
    node.counts(Outcome::Success, 1).await;
}

#[tokio::test]
async fn an_event_for_nobody_is_an_error() {
    let node = Node::answering(echo).await;
    let error = dispatcher(&node).deliver(event(), to("gone")).await.unwrap_err();
    assert_eq!(error.to_string(), "function `gone` has no stage `live`");
}

#[tokio::test]
async fn a_failure_of_the_node_is_told_apart() {
    for (cause, is_of_node) in [
        (FailureCause::Trap, false),
        (FailureCause::Timeout, false),
        (FailureCause::NodeOverloaded, true),
        (FailureCause::FunctionOverloaded, true),
        (FailureCause::NotReady, true),
        (FailureCause::Internal, true),
    ] {
        let node = Node::answering(move |_| async move { Err(InvokeFailure::new(cause, "")) }).await;
        let delivered = dispatcher(&node).deliver(event(), to("hello")).await.unwrap();
        assert_eq!((delivered.status, delivered.is_of_node), (cause.status(), is_of_node), "{cause}");
    }
}

#[tokio::test]
async fn whatever_a_canary_does_not_acknowledge_goes_to_stable_at_once() {
    type Answer = fn() -> Result<Response<FakeBody>, InvokeFailure>;
    let cases: [(Answer, Outcome); 5] = [
        (|| Err(trap("unreachable")), Outcome::Trap),
        (|| status(500), Outcome::ServerError),
        (|| status(429), Outcome::ServerError),
        (|| status(400), Outcome::ServerError),
        (|| status(302), Outcome::ServerError),
    ];
    for (answer, outcome) in cases {
        // The shield of requests being off does not matter.
        for fallback_after in [Some(Duration::from_secs(3600)), None] {
            let setup = Setup { fallback_after, ..Setup::default() };
            let canary = move |call: Call| async move {
                // This must not matter either.
                assert!(call.effects.unwrap().begin());
                answer()
            };
            let tried = setup.canary(canary).await;
            let delivered = deliver(&tried, to("hello")).await.unwrap();
            assert_eq!((delivered.status.as_u16(), delivered.version), (200, Some(v(1))));
            assert_eq!(delivered.body, "the data");
            tried.charged(outcome).await;
            assert_eq!(tried.observer.under_way(), 0);
            tried.node.counts(Outcome::Success, 1).await;
        }
    }
}

#[tokio::test]
async fn a_trigger_may_forbid_a_second_run_after_an_effect() {
    for had_effect in [false, true] {
        let canary = move |call: Call| async move {
            assert!(!had_effect || call.effects.unwrap().begin());
            status(500)
        };
        let tried = Setup::default().canary(canary).await;
        let options = DeliveryOptions { redelivery: Redelivery::EffectFree, ..to("hello") };
        let delivered = deliver(&tried, options).await.unwrap();
        assert_eq!(delivered.status.as_u16(), if had_effect { 500 } else { 200 });
        tried.charged(Outcome::ServerError).await;
        tried.ran_on_stable(u32::from(!had_effect));
    }
}

#[tokio::test]
async fn a_canary_can_be_asked_without_effects() {
    for (asks, status) in [(false, 500), (true, 500), (true, 200)] {
        let canary = move |call: Call| async move {
            let effects = call.effects.unwrap();
            assert!(!asks || !effects.begin(), "no effect is allowed");
            self::status(status)
        };
        let tried = Setup::default().canary(canary).await;
        let (function, stage) = ("hello".parse().unwrap(), "live".parse().unwrap());
        assert_eq!(dispatcher(&tried.node).canary(&function, &stage), Some(v(2)));
        let options = DeliveryOptions { target: DeliveryTarget::CanaryWithoutEffects, ..to("hello") };
        let delivered = deliver(&tried, options).await.unwrap();
        assert_eq!((delivered.status.as_u16(), delivered.version), (status, Some(v(2))));
        assert_eq!((delivered.is_canary, delivered.refused_effect), (true, asks));
        // Stable is not asked, and nobody is charged.
        tried.ran_on_stable(0);
        let told = tried.observer.heard(1).await.remove(0);
        assert_eq!((told.side, told.placement), (Side::Canary, Placement::Request));
        assert_eq!(tried.canary.snapshot().total(), 0);
        assert_eq!(tried.canary.overrides().total(), 1);
    }
}

#[tokio::test]
async fn stable_can_be_asked_while_a_canary_is_there() {
    // Every request would go to the canary.
    let tried = Setup::default().canary(|_| async { status(500) }).await;
    let options = DeliveryOptions { target: DeliveryTarget::Stable, ..to("hello") };
    let delivered = deliver(&tried, options).await.unwrap();
    assert_eq!((delivered.version, delivered.is_canary), (Some(v(1)), false));
    tried.ran_on_stable(1);
    let told = tried.observer.heard(1).await.remove(0);
    assert_eq!((told.side, told.placement), (Side::Stable, Placement::Request));
    tried.node.counts(Outcome::Success, 1).await;
}

#[tokio::test]
async fn stable_that_refuses_an_event_is_charged_as_well() {
    let node = Node::answering(|_| async { status(400) }).await;
    let delivered = dispatcher(&node).deliver(event(), to("hello")).await.unwrap();
    assert_eq!(delivered.status.as_u16(), 400);
    node.counts(Outcome::ServerError, 1).await;
}

#[tokio::test]
async fn an_answer_that_breaks_off_names_its_version() {
    let tried = Setup::default()
        .canary(|_| async {
            let (mut sender, body) = FakeBody::fed();
            tokio::spawn(async move {
                sender.send_data(Bytes::from_static(b"half")).await.unwrap();
                sender.abort(trap("late"));
            });
            Ok(Response::new(body))
        })
        .await;
    let error = deliver(&tried, to("hello")).await.unwrap_err();
    let DeliveryError::BrokeOff { version, is_canary, .. } = error else { panic!("{error}") };
    assert_eq!((version, is_canary), (v(2), true));
    tried.charged(Outcome::Trap).await;
}

#[tokio::test]
async fn nobody_outside_can_send_an_event() {
    let node = Node::answering(|call| async move {
        let seen = call.request.headers().keys().any(|name| name.as_str().starts_with("wasm-fn-"));
        ok(seen.to_string())
    })
    .await;
    for path in ["/_events/nightly", "/%5Fevents/nightly", "/x/../_events/nightly"] {
        let response = node.http1().await.send_request(get(path)).await.unwrap();
        let (status, problem) = problem(response).await;
        assert_eq!((status.as_u16(), &problem["code"]), (404, &"no-such-function".into()), "{path}");
        assert!(problem["detail"].as_str().unwrap().contains("/_events/"), "{problem}");
    }
    let mut forged = get("/hello");
    for name in ["wasm-fn-trigger", "wasm-fn-attempt"] {
        forged.headers_mut().insert(name, http::HeaderValue::from_static("1"));
    }
    let response = node.http1().await.send_request(forged).await.unwrap();
    assert_eq!(text(response).await, "false");
}
