//! Deliveries while a canary is there.

use std::collections::BTreeSet;

use bytes::Bytes;
use http::HeaderMap;
use wasm_fn_core::VersionNo;
use wasm_fn_events::{
    CloudEvent, Overlap, Provider, Redeliver, ScheduleOptions, Trigger, TriggerKind, WebhookSource,
};

use super::{CANARY, Node, Under, eventually, id, minutely, trigger, triggers};
use crate::{CanaryRuns, EventOperations, Recipient};

const KEY: &str = "hello/live/nightly";

fn webhook(ordered_by: Option<&str>, redeliver: Redeliver) -> Trigger {
    let source = WebhookSource::new(Provider::GitHub, vec!["KEY".parse().unwrap()]).unwrap();
    Trigger {
        kind: TriggerKind::Webhook(source),
        ordered_by: ordered_by.map(|header| header.parse().unwrap()),
        redeliver,
        ..trigger("nightly", minutely(Overlap::Skip), 20)
    }
}

/// Receives an event of a service, which sent this `subject` with it.
async fn receive(node: &Node, trigger: &Trigger, event: &str, subject: Option<&str>) {
    let received = CloudEvent {
        id: event.parse().unwrap(),
        data: Bytes::from(event.to_owned()),
        ..CloudEvent::tick(&id("nightly"), wasm_fn_events::Tick { at: super::NOON, run_at: super::NOON })
    };
    let subject = subject.map(|subject| ("ce-subject".parse().unwrap(), subject.parse().unwrap()));
    let headers: HeaderMap = subject.into_iter().collect();
    node.events.receive_with(&id("nightly"), trigger, received, &headers).await.unwrap();
}

fn body(under: &Under) -> &[u8] {
    under.request.body()
}

#[tokio::test]
async fn events_with_the_same_key_are_delivered_in_order_and_on_one_version() {
    let webhook = webhook(Some("ce-subject"), Redeliver::Always);
    let node = Node::start(triggers(vec![("nightly", webhook.clone())])).await;
    for (event, subject) in
        [("a1", Some("a")), ("a2", Some("a")), ("b1", Some("b")), ("x", None), ("y", None)]
    {
        receive(&node, &webhook, event, subject).await;
    }
    let mut first = Vec::new();
    while first.len() < 4 {
        first.push(node.next().await);
    }
    let bodies: BTreeSet<_> = first.iter().map(body).collect();
    assert_eq!(bodies, BTreeSet::from([&b"a1"[..], b"b1", b"x", b"y"]), "a2 waits for a1");
    node.nothing_more();
    for under in first {
        // It is what a request is placed by.
        let key = under.request.headers().get("wasm-fn-key").map(|key| key.to_str().unwrap());
        let expected = match body(&under) {
            b"a1" => Some("a"),
            b"b1" => Some("b"),
            _ => None,
        };
        assert_eq!(key, expected);
        under.answer(200);
    }
    let last = node.next().await;
    assert_eq!(body(&last), b"a2");
    last.answer(200);
    node.idle(KEY).await;
    node.stop().await;
}

#[tokio::test]
async fn a_canary_alone_cannot_give_an_event_up() {
    let webhook = webhook(None, Redeliver::EffectFree);
    let node = Node::start(triggers(vec![("nightly", webhook.clone())])).await;
    receive(&node, &webhook, "x", None).await;
    let first = node.next().await;
    assert_eq!(first.destination.redeliver, Redeliver::EffectFree);
    // It had an effect, so stable was not asked.
    first.answer_by(CANARY, 400, false);
    let retried = || async { node.events.stats(KEY).versions.values().any(|version| version.retried == 1) };
    eventually(retried).await;
    node.set_time(1);
    let again = node.next().await;
    assert_eq!((again.header("wasm-fn-attempt"), again.destination.recipient), ("2", Recipient::Drawn));
    again.answer(400);
    eventually(|| async { node.events.counts().await.unwrap()[0].dead == 1 }).await;
    node.stop().await;
}

/// A node with a schedule of which two ticks run on each canary.
async fn with_canary_runs() -> Node {
    let options = ScheduleOptions { canary_runs: 2, ..minutely(Overlap::Skip) };
    let node = Node::start(triggers(vec![("nightly", trigger("nightly", options, 3))])).await;
    *node.plane.canary.lock().unwrap() = VersionNo::new(CANARY);
    node
}

/// Runs the schedule. Returns its run on stable and the one on the canary.
async fn both(node: &Node) -> (Under, Under) {
    node.events.run_now(&id("nightly")).await.unwrap();
    let (a, b) = (node.next().await, node.next().await);
    let is_stable = a.destination.recipient == Recipient::Stable;
    let (stable, canary) = if is_stable { (a, b) } else { (b, a) };
    let recipients = (stable.destination.recipient, canary.destination.recipient);
    assert_eq!(recipients, (Recipient::Stable, Recipient::CanaryWithoutEffects));
    assert_eq!(stable.request.headers(), canary.request.headers());
    (stable, canary)
}

fn runs(node: &Node) -> CanaryRuns {
    node.events.stats(KEY).canary_runs[&VersionNo::new(CANARY).unwrap()]
}

#[tokio::test]
async fn a_few_ticks_run_on_stable_and_on_the_canary() {
    let node = with_canary_runs().await;
    for (status, refused_effect) in [(200, false), (500, true)] {
        let (stable, canary) = both(&node).await;
        canary.answer_by(CANARY, status, refused_effect);
        stable.answer(200);
        node.idle(KEY).await;
    }
    assert_eq!(runs(&node), CanaryRuns { begun: 2, passed: 1, failed: 0, unclear: 1 });
    assert!(node.paused.1.lock().unwrap().is_empty());
    // Only stable's count for the event.
    let stats = node.events.stats(KEY);
    assert_eq!(stats.versions.values().map(|version| version.acknowledged).sum::<u64>(), 2);
    assert_eq!(stats.versions.len(), 1);
    // From now on the version is drawn.
    node.events.run_now(&id("nightly")).await.unwrap();
    let drawn = node.next().await;
    assert_eq!(drawn.destination.recipient, Recipient::Drawn);
    drawn.answer(200);
    node.idle(KEY).await;
    node.nothing_more();
    node.stop().await;
}

#[tokio::test]
async fn a_canary_that_fails_a_tick_by_itself_has_its_rollout_paused() {
    let node = with_canary_runs().await;
    let (stable, canary) = both(&node).await;
    canary.answer_by(CANARY, 500, false);
    stable.answer(200);
    node.idle(KEY).await;
    assert_eq!(runs(&node), CanaryRuns { begun: 1, passed: 0, failed: 1, unclear: 0 });
    let paused = node.paused.1.lock().unwrap().clone();
    let reason = "v4 answered 500 to a tick of `nightly` that stable handled: so it says";
    assert_eq!(paused, [(VersionNo::new(CANARY).unwrap(), reason.to_owned())]);
    node.stop().await;
}

#[tokio::test]
async fn a_tick_is_retried_on_stable_alone() {
    let node = with_canary_runs().await;
    let (stable, canary) = both(&node).await;
    canary.answer_by(CANARY, 500, false);
    stable.answer(500);
    let retried = || async { node.events.stats(KEY).versions.values().any(|version| version.retried == 1) };
    eventually(retried).await;
    node.set_time(1);
    let again = node.next().await;
    assert_eq!((again.header("wasm-fn-attempt"), again.destination.recipient), ("2", Recipient::Stable));
    again.answer(200);
    node.idle(KEY).await;
    node.nothing_more();
    assert_eq!(runs(&node), CanaryRuns { begun: 1, passed: 0, failed: 0, unclear: 1 });
    node.stop().await;
}
