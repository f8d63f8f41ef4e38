//! Brokers that restart, are replaced, or hang.

use std::time::Duration;

use async_nats::jetstream::consumer::PullConsumer;
use rustix::process::Signal;

use super::{
    Recorder, Server, always, orders,
    orders::{create, publish},
    start,
};
use crate::Settled;

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_may_restart_while_messages_are_in_progress() {
    let test = "a_broker_may_restart_while_messages_are_in_progress";
    let Some(mut server) = Server::plain(test) else { return };
    let jetstream = server.orders().await;
    publish(&jetstream, 0, 30).await;
    let handler = Recorder::new(10, always);
    handler.held.send_replace(true);
    let queue = start(orders(&server.url()), &handler);
    handler.until("ten", |seen| seen.now == 10).await;
    server.restart();
    // They end while the broker is away, or has just come back: it hears of them once it is there.
    handler.held.send_replace(false);
    let seen = handler.until("all", |seen| seen.attempts.len() == 30).await;
    assert!(seen.attempts.values().all(|attempts| *attempts == [1]), "{seen:?}");
    handler.until("the connection", |seen| seen.connected >= 2).await;
    assert!(queue.stop(super::PATIENCE).await);
    let jetstream = server.jetstream().await;
    let consumer: PullConsumer =
        jetstream.get_consumer_from_stream("wasm-fn_hello_live_orders", "ORDERS").await.unwrap();
    assert_eq!((consumer.cached_info().num_pending, consumer.cached_info().num_ack_pending), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_may_restart_many_times() {
    let Some(mut server) = Server::plain("a_broker_may_restart_many_times") else { return };
    let jetstream = server.orders().await;
    publish(&jetstream, 0, 200).await;
    let handler = Recorder::new(10, |message, attempt| match &message.data[..] {
        data if data.ends_with(b"7") && attempt == 1 => Settled::Retry { after: Duration::from_millis(100) },
        _ => Settled::Acknowledged,
    });
    let queue = start(orders(&server.url()), &handler);
    handler.until("a connection", |seen| seen.connected == 1).await;
    for round in 1..=3_u32 {
        server.restart();
        let jetstream = server.jetstream().await;
        publish(&jetstream, 200 * round as usize, 200).await;
        handler.until("a new connection", |seen| seen.connected > round).await;
    }
    let seen = handler.until("all", |seen| seen.attempts.len() == 800).await;
    let twice = |text: &String| text.ends_with('7');
    handler
        .until("what failed", |seen| {
            seen.attempts.iter().filter(|(text, _)| twice(text)).all(|(_, attempts)| attempts.len() >= 2)
        })
        .await;
    let odd: Vec<_> =
        seen.attempts.iter().filter(|(text, attempts)| !twice(text) && attempts.len() > 1).collect();
    assert!(odd.is_empty(), "{odd:?}");
    assert!(queue.stop(super::PATIENCE).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_broker_may_take_its_place() {
    let Some(mut server) = Server::plain("another_broker_may_take_its_place") else { return };
    let jetstream = server.orders().await;
    publish(&jetstream, 0, 5).await;
    let handler = Recorder::new(10, always);
    let queue = start(orders(&server.url()), &handler);
    handler.until("all", |seen| seen.attempts.len() == 5).await;
    server.replace();
    let missing = "broker has no stream ORDERS, expected it to be there: triggers make no streams";
    handler.until("the reason", |seen| seen.failures.iter().any(|failure| failure == missing)).await;
    let jetstream = server.orders().await;
    // It counts from 1 again, and these are other messages.
    publish(&jetstream, 100, 5).await;
    let seen = handler.until("the others", |seen| seen.attempts.len() == 10).await;
    assert!(seen.attempts.values().all(|attempts| *attempts == [1]), "{seen:?}");
    assert!(queue.stop(super::PATIENCE).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_may_be_made_anew() {
    let Some(server) = Server::plain("a_stream_may_be_made_anew") else { return };
    let jetstream = server.orders().await;
    publish(&jetstream, 0, 5).await;
    let handler = Recorder::new(10, always);
    let queue = start(orders(&server.url()), &handler);
    handler.until("all", |seen| seen.attempts.len() == 5).await;
    jetstream.delete_stream("ORDERS").await.unwrap();
    create(&jetstream, "orders.>").await;
    publish(&jetstream, 100, 5).await;
    let seen = handler.until("the others", |seen| seen.attempts.len() == 10).await;
    assert!(seen.attempts.values().all(|attempts| *attempts == [1]), "{seen:?}");
    assert!(queue.stop(super::PATIENCE).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_that_somebody_deleted_goes_on_where_it_was() {
    let test = "a_consumer_that_somebody_deleted_goes_on_where_it_was";
    let Some(server) = Server::plain(test) else { return };
    let jetstream = server.orders().await;
    publish(&jetstream, 0, 5).await;
    let handler = Recorder::new(10, always);
    let queue = start(orders(&server.url()), &handler);
    handler.until("all", |seen| seen.attempts.len() == 5).await;
    jetstream.delete_consumer_from_stream("wasm-fn_hello_live_orders", "ORDERS").await.unwrap();
    handler.until("a new connection", |seen| seen.connected == 2).await;
    publish(&jetstream, 5, 5).await;
    let seen = handler.until("the next", |seen| seen.attempts.len() == 10).await;
    assert!(seen.attempts.values().all(|attempts| *attempts == [1]), "{seen:?}");
    assert!(queue.stop(super::PATIENCE).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_hangs_is_left_and_tried_again() {
    let Some(mut server) = Server::plain("a_broker_that_hangs_is_left_and_tried_again") else { return };
    let jetstream = server.orders().await;
    publish(&jetstream, 0, 5).await;
    let handler = Recorder::new(10, always);
    let queue = start(orders(&server.url()), &handler);
    handler.until("all", |seen| seen.attempts.len() == 5).await;
    server.signal(Signal::STOP);
    handler.until("the failure", |seen| !seen.failures.is_empty()).await;
    server.signal(Signal::CONT);
    handler.until("a new connection", |seen| seen.connected == 2).await;
    publish(&server.jetstream().await, 5, 5).await;
    handler.until("the next", |seen| seen.attempts.len() == 10).await;

    // And one that is killed while it hangs.
    server.signal(Signal::STOP);
    server.restart();
    publish(&server.jetstream().await, 10, 5).await;
    let seen = handler.until("the last", |seen| seen.attempts.len() == 15).await;
    assert!(seen.attempts.values().all(|attempts| *attempts == [1]), "{seen:?}");
    assert!(queue.stop(super::PATIENCE).await);
}
