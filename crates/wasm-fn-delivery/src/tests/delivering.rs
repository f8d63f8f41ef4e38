//! Events that are delivered, and what becomes of them.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method};
use wasm_fn_events::{Interval, Overlap, ScheduleOptions, ScheduleTime, Trigger};
use wasm_fn_store::{DeadLetters, EventKey, EventPage, EventState};

use super::{NOON, Node, Under, eventually, id, minutely, trigger, triggers};
use crate::{Ended, EventList, EventOperations, EventRequest, EventsError, Triggers};

const ALL: EventPage = EventPage { after: None, limit: 100 };

fn request(text: &'static str) -> EventRequest {
    EventRequest {
        method: Method::PUT,
        target: "/hello/x?y".parse().unwrap(),
        headers: HeaderMap::new(),
        body: Bytes::from_static(text.as_bytes()),
    }
}

async fn accept(node: &Node, text: &'static str) -> EventKey {
    let (function, stage) = ("hello".parse().unwrap(), "live".parse().unwrap());
    let id = node.events.accept(&function, &stage, request(text)).await.unwrap();
    EventKey { trigger: "hello/live/@async".to_owned(), id }
}

#[tokio::test]
async fn asynchronous_requests_are_in_order_by_a_header() {
    let place = ("hello".parse().unwrap(), "live".parse().unwrap());
    let asynchronous = [(place.clone(), Some("x-user".parse().unwrap()))].into_iter().collect();
    let node = Node::start(Triggers { asynchronous, ..triggers(Vec::new()) }).await;
    for (text, user) in [("a1", "a"), ("a2", "a"), ("b1", "b")] {
        let mut request = request(text);
        request.headers.insert("x-user", user.parse().unwrap());
        node.events.accept(&place.0, &place.1, request).await.unwrap();
    }
    let (first, other) = (node.next().await, node.next().await);
    assert_eq!((first.request.body(), other.request.body()), (&Bytes::from("a1"), &Bytes::from("b1")));
    node.nothing_more();
    first.answer(200);
    let second = node.next().await;
    assert_eq!(second.request.body(), "a2");
    second.answer(200);
    other.answer(200);
    node.stop().await;
}

async fn state(node: &Node, key: &EventKey) -> EventState {
    node.events.state(key.clone()).await.unwrap()
}

#[tokio::test]
async fn what_becomes_of_an_asynchronous_request_is_told() {
    let node = Node::start(triggers(Vec::new())).await;
    let key = accept(&node, "the body").await;
    let delivery = node.next().await;
    assert_eq!(
        (delivery.request.method(), &delivery.request.uri().to_string()[..]),
        (&Method::PUT, "/hello/x?y")
    );
    assert_eq!(delivery.request.body(), "the body");
    assert_eq!(state(&node, &key).await, EventState::Running { attempts: 0 });
    delivery.answer(201);
    eventually(|| async {
        matches!(state(&node, &key).await, EventState::Acknowledged { text, .. } if text == "201 by v3")
    })
    .await;
    node.stop().await;
}

#[tokio::test]
async fn a_failure_is_tried_again_and_given_up_in_the_end() {
    let daily = trigger("nightly", minutely(Overlap::Skip), 3);
    let node = Node::start(triggers(vec![("nightly", daily)])).await;
    let event = node.events.run_now(&id("nightly")).await.unwrap();
    let key = EventKey { trigger: "hello/live/nightly".to_owned(), id: event };
    for attempt in 1..=3 {
        let delivery = node.next().await;
        assert_eq!(delivery.header("wasm-fn-attempt"), attempt.to_string());
        delivery.answer(500);
        eventually(|| async { !matches!(state(&node, &key).await, EventState::Running { .. }) }).await;
        if let EventState::Waiting { due_ms, attempts, reason } = state(&node, &key).await {
            assert_eq!((attempts, &reason[..]), (attempt, "500 by v3: so it says"));
            node.time.send_replace(wasm_fn_events::Timestamp::from_unix_ms(due_ms));
        }
    }
    let EventState::Dead { attempts, reason, .. } = state(&node, &key).await else { panic!("it is dead") };
    assert_eq!(
        (attempts, &reason[..]),
        (3, "it was delivered 3 times, as often as allowed; the last answer was 500 by v3: so it says")
    );
    // Redriven, it begins anew.
    let letters = DeadLetters::Ids(vec![key.id.clone()]);
    assert_eq!(node.events.redrive(&key.trigger, letters).await.unwrap(), 1);
    let delivery = node.next().await;
    assert_eq!(delivery.header("wasm-fn-attempt"), "1");
    delivery.answer(200);
    eventually(|| async { matches!(state(&node, &key).await, EventState::Acknowledged { .. }) }).await;
    node.stop().await;
}

#[tokio::test]
async fn an_event_that_the_function_refuses_is_a_dead_letter_at_once() {
    let node = Node::start(triggers(Vec::new())).await;
    let key = accept(&node, "poison").await;
    node.next().await.answer(422);
    eventually(|| async { matches!(state(&node, &key).await, EventState::Dead { attempts: 1, .. }) }).await;
    let dead = node.events.list(&key.trigger, EventList::Dead, ALL).await.unwrap();
    assert_eq!(dead.iter().map(|event| &event.id).collect::<Vec<_>>(), [&key.id]);
    assert_eq!(node.events.show(key.clone()).await.unwrap().request.body, "poison");
    assert_eq!(node.events.discard(&key.trigger, DeadLetters::All).await.unwrap(), 1);
    assert!(matches!(state(&node, &key).await, EventState::Discarded { .. }));
    assert!(matches!(node.events.show(key).await.unwrap_err(), EventsError::NoSuchEvent(_)));
    node.stop().await;
}

#[tokio::test]
async fn what_the_node_is_to_blame_for_spends_no_attempt() {
    let node = Node::start(triggers(Vec::new())).await;
    accept(&node, "x").await;
    for round in 0..3 {
        let Under { request, end, .. } = node.next().await;
        assert_eq!(request.headers()["wasm-fn-attempt"], "1");
        let of_node = Ended::OfNode { retry_after: None, detail: "node is at its limits".to_owned() };
        end.send(of_node).unwrap();
        eventually(|| async { node.events.stats("hello/live/@async").of_node == round + 1 }).await;
        let later = node.events.now().saturating_add(Duration::from_secs(2));
        node.time.send_replace(later);
    }
    node.next().await.answer(200);
    node.stop().await;
}

#[tokio::test]
async fn what_was_not_settled_is_delivered_again_after_a_crash() {
    let node = Node::start(triggers(Vec::new())).await;
    accept(&node, "x").await;
    let delivery = node.next().await;
    let Node { events, runner, folder, time, .. } = node;
    let now = *time.borrow();
    // Its process ends in the middle.
    assert!(!runner.stop(Duration::ZERO).await);
    drop((delivery, events));
    let node = Node::in_folder(folder, now, triggers(Vec::new())).await;
    let again = node.next().await;
    assert_eq!((again.header("wasm-fn-attempt"), again.request.body()), ("1", &Bytes::from_static(b"x")));
    again.answer(200);
    node.stop().await;
}

#[tokio::test]
async fn events_of_a_trigger_that_is_gone_are_removed() {
    let daily = trigger("nightly", minutely(Overlap::Skip), 3);
    let node = Node::start(triggers(vec![("nightly", daily)])).await;
    node.events.run_now(&id("nightly")).await.unwrap();
    node.next().await.answer(400);
    eventually(|| async { node.events.counts().await.unwrap()[0].dead == 1 }).await;
    node.triggers.send_replace(Triggers::default().into());
    eventually(|| async { node.events.counts().await.unwrap().is_empty() }).await;
    node.stop().await;
}

#[tokio::test]
async fn deliveries_begin_no_faster_than_the_rate_retries_included() {
    let rarely = Interval::new(Duration::from_secs(86_400), Duration::ZERO).unwrap();
    let times = vec![ScheduleTime::Every(rarely)];
    let rare = trigger("nightly", ScheduleOptions { times, ..minutely(Overlap::AllowAll) }, 20);
    let paced = Trigger { rate: Some("2/m".parse().unwrap()), ..rare };
    let node = Node::start(triggers(vec![("nightly", paced)])).await;
    for _ in 0..3 {
        node.events.run_now(&id("nightly")).await.unwrap();
    }
    let key = "hello/live/nightly";
    let held_back_until = async |seconds| {
        let next = Some(NOON.saturating_add(Duration::from_secs(seconds)));
        eventually(|| async { node.events.pacer.next() == next }).await;
        node.nothing_more();
    };
    let first = node.next().await;
    // The other two are due, and only the rate holds them back.
    held_back_until(30).await;
    first.answer(500);
    let retried = || async { node.events.stats(key).versions.values().any(|version| version.retried == 1) };
    eventually(retried).await;
    for (seconds, attempt) in [(30, "1"), (60, "1"), (90, "2")] {
        held_back_until(seconds).await;
        node.set_time(seconds);
        let delivery = node.next().await;
        assert_eq!(delivery.header("wasm-fn-attempt"), attempt);
        delivery.answer(200);
    }
    node.idle(key).await;
    node.stop().await;
}
