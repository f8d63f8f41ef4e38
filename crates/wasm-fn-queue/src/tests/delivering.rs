//! Messages that come, and what becomes of them.

use std::{sync::Arc, time::Duration};

use async_nats::jetstream::consumer::PullConsumer;
use futures_util::StreamExt as _;
use rustix::process::Signal;
use tokio::time::{Instant, timeout};
use wasm_fn_events::QueueStart;

use super::{
    Recorder, Server, always, options, orders,
    orders::{create, publish},
    start,
};
use crate::{ACK_WAIT, QueueConsumer, Settled};

/// The consumer, as the broker sees it.
async fn consumer(jetstream: &async_nats::jetstream::Context) -> PullConsumer {
    jetstream.get_consumer_from_stream("wasm-fn_hello_live_orders", "ORDERS").await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_are_acknowledged_once_they_are_handled() {
    let Some(server) = Server::plain("messages_are_acknowledged_once_they_are_handled") else { return };
    let jetstream = server.orders().await;
    publish(&jetstream, 0, 100).await;
    let handler = Recorder::new(10, always);
    let queue = start(orders(&server.url()), &handler);
    let seen = handler.until("all", |seen| seen.attempts.len() == 100).await;
    assert!(seen.most <= 10, "{} at a time", seen.most);
    assert!(queue.stop(super::PATIENCE).await);
    let info = consumer(&jetstream).await.cached_info().clone();
    assert_eq!((info.num_pending, info.num_ack_pending, info.ack_floor.stream_sequence), (0, 0, 100));

    // It goes on where it was, and each message came once.
    publish(&jetstream, 100, 5).await;
    let queue = start(orders(&server.url()), &handler);
    let seen = handler.until("the next", |seen| seen.attempts.len() == 105).await;
    assert!(seen.attempts.values().all(|attempts| *attempts == [1]), "{seen:?}");
    assert!(queue.stop(super::PATIENCE).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_failed_comes_again_later_and_is_given_up_in_the_end() {
    let test = "a_message_that_failed_comes_again_later_and_is_given_up_in_the_end";
    let Some(server) = Server::plain(test) else { return };
    let jetstream = server.orders().await;
    publish(&jetstream, 0, 3).await;
    let handler = Recorder::new(10, |message, attempt| match (&message.data[..], attempt) {
        (b"1", 1..=2) => Settled::Retry { after: Duration::from_millis(20) },
        (b"2", 1) => Settled::Dead,
        // What spends no attempt comes again as the same.
        (b"0", 1) if message.headers.is_empty() => Settled::Acknowledged,
        _ => Settled::Acknowledged,
    });
    let queue = start(orders(&server.url()), &handler);
    let seen =
        handler.until("the third attempt", |seen| seen.attempts.get("1").is_some_and(|a| a.len() == 3)).await;
    assert_eq!(seen.attempts["1"], [1, 2, 3]);
    assert!(queue.stop(super::PATIENCE).await);
    let info = consumer(&jetstream).await.cached_info().clone();
    assert_eq!((info.num_pending, info.num_ack_pending), (0, 0));
    let attempts = handler.seen.borrow().attempts.clone();
    assert_eq!((&attempts["0"][..], &attempts["2"][..]), (&[1][..], &[1][..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_released_comes_again_as_the_same_attempt() {
    let Some(server) = Server::plain("what_is_released_comes_again_as_the_same_attempt") else { return };
    let jetstream = server.orders().await;
    let once = super::Once::default();
    let handler = Recorder::new(10, move |message, _| {
        if once.first(&String::from_utf8_lossy(&message.data)) {
            return Settled::Released { after: Duration::ZERO };
        }
        Settled::Acknowledged
    });
    let queue = start(orders(&server.url()), &handler);
    publish(&jetstream, 0, 2).await;
    let twice = |attempts: &Vec<u32>| attempts.len() == 2;
    let seen =
        handler.until("both again", |seen| seen.attempts.len() == 2 && seen.attempts.values().all(twice));
    let seen = seen.await;
    assert!(seen.attempts.values().all(|attempts| *attempts == [1, 1]), "{seen:?}");
    assert!(queue.stop(super::PATIENCE).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_run_does_not_make_the_message_come_again() {
    let Some(server) = Server::plain("a_long_run_does_not_make_the_message_come_again") else { return };
    let jetstream = server.orders().await;
    publish(&jetstream, 0, 1).await;
    let handler = Recorder::new(10, always);
    handler.held.send_replace(true);
    let mut signals = jetstream.client().subscribe("$JS.ACK.ORDERS.>").await.unwrap();
    let began = Instant::now();
    let queue = start(orders(&server.url()), &handler);
    handler.until("the message", |seen| seen.now == 1).await;
    // One comes in each third of the time after which the broker would deliver it again.
    for _ in 0..5 {
        let signal = timeout(super::PATIENCE, signals.next()).await.unwrap().unwrap();
        assert_eq!(&signal.payload[..], b"+WPI");
    }
    assert!(began.elapsed() > ACK_WAIT);
    let info = consumer(&jetstream).await.info().await.unwrap().clone();
    assert_eq!((info.num_redelivered, info.num_ack_pending), (0, 1));
    handler.held.send_replace(false);
    assert!(queue.stop(super::PATIENCE).await);
    assert_eq!(consumer(&jetstream).await.cached_info().num_ack_pending, 0);
    assert_eq!(handler.seen.borrow().attempts["0"], [1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_broken_off_comes_again_at_once() {
    let Some(server) = Server::plain("what_is_broken_off_comes_again_at_once") else { return };
    let jetstream = server.orders().await;
    publish(&jetstream, 0, 20).await;
    let handler = Recorder::new(10, always);
    handler.held.send_replace(true);
    let queue = start(orders(&server.url()), &handler);
    handler.until("ten", |seen| seen.now == 10).await;
    assert!(!queue.stop(Duration::from_millis(50)).await, "they are held");
    let next = Recorder::new(10, always);
    let began = tokio::time::Instant::now();
    let queue = start(orders(&server.url()), &next);
    next.until("all", |seen| seen.attempts.len() == 20).await;
    assert!(began.elapsed() < ACK_WAIT, "nobody waited for the broker to give up");
    assert!(queue.stop(super::PATIENCE).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_may_begin_with_what_comes_next() {
    let Some(server) = Server::plain("a_queue_may_begin_with_what_comes_next") else { return };
    let jetstream = server.orders().await;
    publish(&jetstream, 0, 3).await;
    let handler = Recorder::new(10, always);
    let queue = start(orders(&server.url()).from(QueueStart::New), &handler);
    handler.until("the connection", |seen| seen.connected == 1).await;
    publish(&jetstream, 3, 1).await;
    let seen = handler.until("the next", |seen| !seen.attempts.is_empty()).await;
    assert_eq!(seen.attempts.keys().collect::<Vec<_>>(), ["3"]);
    assert!(queue.stop(super::PATIENCE).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_messages_with_the_subject_come_and_a_removed_queue_leaves_nothing() {
    let test = "only_messages_with_the_subject_come_and_a_removed_queue_leaves_nothing";
    let Some(server) = Server::plain(test) else { return };
    let jetstream = server.jetstream().await;
    create(&jetstream, "orders.>,invoices.>").await;
    jetstream.publish("invoices.new", "no".into()).await.unwrap().await.unwrap();
    publish(&jetstream, 0, 1).await;
    let handler = Recorder::new(10, always);
    let queue = start(orders(&server.url()), &handler);
    let seen = handler.until("the order", |seen| !seen.attempts.is_empty()).await;
    assert_eq!(seen.attempts.keys().collect::<Vec<_>>(), ["0"]);
    assert!(queue.remove(super::PATIENCE).await);
    let left: Result<PullConsumer, _> =
        jetstream.get_consumer_from_stream("wasm-fn_hello_live_orders", "ORDERS").await;
    assert!(left.is_err(), "the consumer is deleted");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_asked_for_without_room() {
    let Some(server) = Server::plain("nothing_is_asked_for_without_room") else { return };
    let jetstream = server.orders().await;
    publish(&jetstream, 0, 3).await;
    let handler = Recorder::new(0, always);
    let queue = start(orders(&server.url()), &handler);
    let seen = handler.until("the backlog", |seen| seen.backlog == (3, 0)).await;
    assert!(seen.attempts.is_empty());
    assert!(queue.stop(super::PATIENCE).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_gone_does_not_hold_up_the_end() {
    let Some(server) = Server::plain("a_broker_that_is_gone_does_not_hold_up_the_end") else { return };
    let jetstream = server.orders().await;
    publish(&jetstream, 0, 1).await;
    let handler = Recorder::new(10, always);
    let queue = QueueConsumer::start(options(orders(&server.url())), Arc::clone(&handler));
    handler.until("the message", |seen| seen.attempts.len() == 1).await;
    server.signal(Signal::STOP);
    let began = tokio::time::Instant::now();
    queue.remove(Duration::from_secs(1)).await;
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    server.signal(Signal::CONT);
}
