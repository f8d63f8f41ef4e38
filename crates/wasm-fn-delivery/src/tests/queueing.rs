//! Messages of a queue, which are delivered past the inbox.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::HeaderMap;
use wasm_fn_events::{
    BrokerUrl, QueueMessage as Message, QueueSource, StreamName, SubjectFilter, Trigger, TriggerKind,
};
use wasm_fn_store::{DeadLetters, EventKey, EventState};

use super::{Held, NOON, Node, Under, eventually, id, minutely, trigger, triggers};
use crate::{
    Ended, EventOperations, MESSAGE_BYTES_MAX, QueueDeliveries, QueueStanding, QueuedEnd, QueuedMessage,
};

type Deliveries = Arc<QueueDeliveries<wasm_fn_store::EmbeddedInbox, Held>>;

fn queue() -> Trigger {
    let (stream, subject): (StreamName, SubjectFilter) = ("ORDERS".parse().unwrap(), ">".parse().unwrap());
    let broker: BrokerUrl = "nats://broker".parse().unwrap();
    let source = QueueSource::new(vec![broker], stream, subject).unwrap();
    let some = trigger("orders", minutely(wasm_fn_events::Overlap::Skip), 3);
    Trigger { kind: TriggerKind::Queue(source), ..some }
}

async fn start() -> (Node, Deliveries) {
    let node = Node::start(triggers(vec![("orders", queue())])).await;
    let (events, plane) = (Arc::clone(&node.events), Arc::clone(&node.plane));
    (node, Arc::new(QueueDeliveries::new(events, plane, id("orders"), 8)))
}

fn message(sequence: u64, attempt: u32, data: Bytes) -> QueuedMessage {
    let stream: StreamName = "ORDERS".parse().unwrap();
    let message = Message {
        subject: "orders.new".to_owned(),
        sequence,
        published: NOON,
        headers: HeaderMap::new(),
        data,
    };
    QueuedMessage {
        position: message.position(&stream),
        event: message.event(&stream),
        headers: message.headers(&stream),
        published: NOON,
        attempt,
    }
}

fn small(sequence: u64, attempt: u32) -> QueuedMessage {
    message(sequence, attempt, Bytes::from_static(b"{}"))
}

fn begin(deliveries: &Deliveries, message: QueuedMessage) -> tokio::task::JoinHandle<QueuedEnd> {
    let deliveries = Arc::clone(deliveries);
    tokio::spawn(async move { deliveries.handle(message).await })
}

fn key(sequence: u64) -> EventKey {
    let id = format!("ORDERS:{sequence}:{}", NOON.unix_ms());
    EventKey { trigger: "hello/live/orders".to_owned(), id }
}

#[tokio::test]
async fn the_answer_decides_what_becomes_of_a_message() {
    let (node, deliveries) = start().await;
    let ending = begin(&deliveries, small(1, 1));
    let delivery = node.next().await;
    assert_eq!(delivery.request.uri(), "/_events/orders");
    for (name, value) in [("wasm-fn-attempt", "1"), ("nats-sequence", "1"), ("ce-type", "nats.message")] {
        assert_eq!(delivery.header(name), value);
    }
    delivery.answer(204);
    assert_eq!(ending.await.unwrap(), QueuedEnd::Acknowledged);

    let ending = begin(&deliveries, small(2, 1));
    node.next().await.answer(500);
    let QueuedEnd::Retry(after) = ending.await.unwrap() else { panic!("it comes again") };
    assert!(after <= Duration::from_secs(1), "{after:?}");
    assert!(matches!(node.events.state(key(2)).await, Err(crate::EventsError::NoSuchEvent(_))));

    let ending = begin(&deliveries, small(2, 3));
    node.next().await.answer(500);
    assert_eq!(ending.await.unwrap(), QueuedEnd::Dead);
    let EventState::Dead { attempts: 3, reason, .. } = node.events.state(key(2)).await.unwrap() else {
        panic!("it is dead")
    };
    assert!(reason.contains("it was delivered 3 times"), "{reason}");

    // The broker did not hear of it: it is not delivered once more.
    assert_eq!(deliveries.handle(small(2, 4)).await, QueuedEnd::Dead);
    node.nothing_more();
    let stats = node.events.stats("hello/live/orders").queue.unwrap();
    assert_eq!((stats.delivered, stats.acknowledged, stats.retried, stats.dead), (3, 1, 1, 1));
    assert_eq!(stats.standing, QueueStanding::Connecting);
    node.stop().await;
}

#[tokio::test]
async fn a_node_at_its_limits_takes_fewer_messages_and_spends_no_attempt() {
    let (node, deliveries) = start().await;
    assert_eq!(deliveries.room(), 8);
    let ending = begin(&deliveries, small(1, 1));
    let Under { request, end, .. } = node.next().await;
    assert_eq!(request.headers()["wasm-fn-attempt"], "1");
    end.send(Ended::OfNode { retry_after: None, detail: "at its limits".to_owned() }).unwrap();
    eventually(|| async { deliveries.room() == 4 }).await;
    node.set_time(20);
    let again = node.next().await;
    assert_eq!(again.header("wasm-fn-attempt"), "1");
    again.end.send(Ended::OfNode { retry_after: None, detail: "at its limits".to_owned() }).unwrap();
    // Whoever stops does not wait for a node that refuses.
    deliveries.stop();
    assert_eq!(ending.await.unwrap(), QueuedEnd::Released(Duration::ZERO));
    node.stop().await;
}

#[tokio::test]
async fn a_message_that_is_too_large_is_a_dead_letter_without_its_body() {
    let (node, deliveries) = start().await;
    let large = message(7, 1, Bytes::from(vec![b'x'; MESSAGE_BYTES_MAX + 1]));
    assert_eq!(deliveries.handle(large).await, QueuedEnd::Dead);
    node.nothing_more();
    let shown = node.events.show(key(7)).await.unwrap();
    assert_eq!(
        (&shown.request.headers["nats-bytes"], shown.request.body.len()),
        (&"1048577".parse().unwrap(), 0)
    );
    let EventState::Dead { reason, .. } = shown.event.state else { panic!("it is dead") };
    assert_eq!(reason, "message has 1048577 bytes, expected at most 1048576; its body is left out");
    node.stop().await;
}

#[tokio::test]
async fn nothing_is_asked_for_while_there_is_no_room_for_a_dead_letter() {
    let (node, deliveries) = start().await;
    // The box takes 100 MiB.
    let half = Bytes::from(vec![b'x'; 1 << 20]);
    let mut sequence = 0;
    while !node.events.counts().await.unwrap().first().is_some_and(|counts| counts.is_blocked) {
        sequence += 1;
        let ending = begin(&deliveries, message(sequence, 1, half.slice(..(1 << 20) - 4096)));
        node.next().await.answer(400);
        assert_eq!(ending.await.unwrap(), QueuedEnd::Dead);
    }
    let ending = begin(&deliveries, small(sequence + 1, 1));
    node.next().await.answer(400);
    eventually(|| async { deliveries.room() == 0 }).await;
    let key = key(sequence + 1);
    node.events.discard(&key.trigger, DeadLetters::All).await.unwrap();
    node.set_time(60);
    assert_eq!(ending.await.unwrap(), QueuedEnd::Dead);
    assert_eq!(deliveries.room(), 8);
    assert!(matches!(node.events.state(key).await.unwrap(), EventState::Dead { .. }));
    node.stop().await;
}
