//! Queues while a node is handed over.

use async_nats::jetstream::consumer::PullConsumer;
use serde_json::json;

use super::Upgraded;
use crate::harness::{broker::Server, orders::publish, patiently};

#[tokio::test]
async fn messages_of_a_queue_go_on_while_a_node_is_handed_over() {
    let test = "messages_of_a_queue_go_on_while_a_node_is_handed_over";
    let Some(server) = Server::plain(test) else { return };
    let jetstream = server.orders().await;
    let mut upgraded = Upgraded::start(&[]).await;
    upgraded.node.deploy_with("hello", "hello-v1", json!({})).await;
    let url = server.url();
    let add =
        ["triggers", "add", "queue", "hello", "--nats", &url, "--stream", "ORDERS", "--subject", "orders.>"];
    upgraded.node.cli_ok(&add).await;
    for round in 0..3 {
        publish(&jetstream, 200 * round, 200).await;
        upgraded.swap().await;
    }
    publish(&jetstream, 600, 200).await;
    patiently("all messages", async {
        loop {
            let consumer: Result<PullConsumer, _> =
                jetstream.get_consumer_from_stream("wasm-fn_hello_live_queue", "ORDERS").await;
            if let Ok(consumer) = consumer
                && consumer.cached_info().ack_floor.stream_sequence == 800
            {
                // What was asked for when a process ended may come to the next one, too.
                let delivered = consumer.cached_info().delivered.consumer_sequence;
                assert!((800..=830).contains(&delivered), "{delivered}");
                return;
            }
        }
    })
    .await;
    upgraded.end().await;
}
