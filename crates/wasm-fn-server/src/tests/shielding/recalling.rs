//! Canaries that are recalled, and observers that withhold theirs.

use super::*;

/// Recalls the canary while it works. Returns the answer.
async fn recall_at_work(setup: Setup) -> (Tried, Response<hyper::body::Incoming>) {
    let (fake, started, dropped) = stuck();
    let tried = setup.start(fake, Fake::new(echo)).await;
    let mut client = tried.node.http1().await;
    let answer = tokio::spawn(async move { client.send_request(get("/hello")).await.unwrap() });
    within(started).await.unwrap();
    tried.observer.recall();
    within(dropped).await.unwrap_err();
    (tried, within(answer).await.unwrap())
}

#[tokio::test]
async fn requests_of_a_recalled_canary_are_answered_by_stable() {
    let (tried, response) = recall_at_work(Setup::default()).await;
    check(&response, 200, "v1");
    assert!(!Outcome::Shed.is_failure());
    tried.charged(Outcome::Shed).await;
    tried.node.counts(Outcome::Success, 1).await;
}

#[tokio::test]
async fn requests_of_a_recalled_canary_that_may_not_run_again_are_told_so() {
    let (tried, response) = recall_at_work(Setup { fallback_after: None, ..Setup::default() }).await;
    assert_eq!(response.headers()["wasm-fn-version"], "v2");
    assert_eq!(response.headers()[header::RETRY_AFTER], "1");
    let (status, body) = problem(response).await;
    assert_eq!((status.as_u16(), &body["code"]), (503, &"version-recalled".into()));
    tried.charged(Outcome::Shed).await;
    tried.ran_on_stable(0);
}

#[tokio::test]
async fn answers_of_a_recalled_canary_are_cut_off() {
    for http2 in [false, true] {
        let (gone, dropped) = oneshot::channel();
        let (mut sender, body) = FakeBody::fed();
        let body = once(body.telling(gone));
        let tried = Setup::default()
            .canary(move |_| {
                let body = body();
                async { Ok(Response::new(body)) }
            })
            .await;
        sender.send_data(Bytes::from_static(b"first")).await.unwrap();
        let (mut first, mut second) = (tried.node.http1().await, tried.node.http2().await);
        let response = if http2 {
            second.send_request(get2("/hello")).await.unwrap()
        } else {
            first.send_request(get("/hello")).await.unwrap()
        };
        check(&response, 200, "v2");
        let mut body = response.into_body();
        assert_eq!(within(body.frame()).await.unwrap().unwrap().into_data().unwrap(), "first");
        tried.observer.recall();
        within(body.frame()).await.unwrap().unwrap_err();
        within(dropped).await.unwrap();
        tried.charged(Outcome::Shed).await;
        tried.ran_on_stable(0);
    }
}

#[tokio::test]
async fn nobody_waits_for_the_recall_of_a_guest_that_answers_at_once() {
    let tried = Setup::default().canary(|_| async { ok("at once") }).await;
    let response = tried.node.http1().await.send_request(get("/hello")).await.unwrap();
    assert_eq!(text(response).await, "at once");
    tried.charged(Outcome::Success).await;
    assert_eq!(tried.observer.watched.load(SeqCst), 0);
}

#[tokio::test]
async fn requests_of_stable_are_heard_and_not_recalled() {
    let setup = Setup { split: TrafficSplit::all(v(1)), ..Setup::default() };
    let stable = Fake::new(|call| async move {
        assert!(call.effects.is_none());
        tokio::task::yield_now().await;
        Err(trap("stable's own"))
    });
    let tried = setup.start(Fake::new(|_| async { ok("canary") }), stable).await;
    tried.observer.recall();
    let response = tried.node.http1().await.send_request(get("/hello")).await.unwrap();
    check(&response, 500, "v1");
    let told = tried.observer.heard(1).await.remove(0);
    assert_eq!((told.side, told.placement, told.outcome), (Side::Stable, Placement::Chance, Outcome::Trap));
    assert_eq!(tried.observer.watched.load(SeqCst), 0);
    tried.ran_on_stable(1);
}

#[tokio::test]
async fn answers_of_stable_are_not_cut_off_by_a_recall() {
    let (mut sender, body) = FakeBody::fed();
    let body = once(body);
    let stable = Fake::new(move |_| {
        let body = body();
        async { Ok(Response::new(body)) }
    });
    let setup = Setup { split: TrafficSplit::all(v(1)), ..Setup::default() };
    let tried = setup.start(Fake::new(|_| async { ok("canary") }), stable).await;
    tried.observer.recall();
    sender.send_data(Bytes::from_static(b"first ")).await.unwrap();
    let response = tried.node.http1().await.send_request(get("/hello")).await.unwrap();
    let mut body = response.into_body();
    assert_eq!(within(body.frame()).await.unwrap().unwrap().into_data().unwrap(), "first ");
    sender.send_data(Bytes::from_static(b"second")).await.unwrap();
    drop(sender);
    assert_eq!(within(body.collect()).await.unwrap().to_bytes(), "second");
    tried.node.counts(Outcome::Success, 1).await;
}

#[tokio::test]
async fn a_withheld_canary_gets_no_request_and_its_observer_hears_of_none() {
    let tried = Setup::default().canary(|_| async { ok("canary") }).await;
    tried.observer.withheld.store(true, SeqCst);
    let response = tried.node.http1().await.send_request(get("/hello")).await.unwrap();
    assert_eq!(response.headers()["wasm-fn-version"], "v1");
    assert!(!response.headers().contains_key("wasm-fn-shielded"));
    tried.node.counts(Outcome::Success, 1).await;
    assert_eq!(tried.canary.snapshot().total(), 0);
    tried.observer.heard(0).await;
}
