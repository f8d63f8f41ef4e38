//! Queues of a cluster: nodes share the messages of one durable consumer, and none is lost with a node.

use async_nats::jetstream::{self, consumer::PullConsumer};
use http::Method;
use serde_json::{Value, json};

use super::{Cluster, eventing::LONG};
use crate::harness::{Node, broker::Server, orders::publish, patiently};

/// Messages that are soon handled.
const COUNT: usize = 200;

/// Messages that one node has in progress at most.
const CONCURRENCY: usize = 4;

async fn queue(node: &Node) -> Value {
    let path = "/v1/functions/hello/stages/live/triggers/queue";
    node.api_ok(Method::GET, path, None).await["queue"].clone()
}

/// How many messages this node has handled.
async fn acknowledged(node: &Node) -> usize {
    queue(node).await["acknowledged"].as_u64().unwrap().try_into().unwrap()
}

/// Waits until the broker has heard of `count` messages that they are settled. Returns how many came again
/// at most.
async fn settled(jetstream: &jetstream::Context, count: usize) -> usize {
    let mut again = 0;
    patiently("all messages settled", async {
        loop {
            let consumer: Result<PullConsumer, _> =
                jetstream.get_consumer_from_stream("wasm-fn_hello_live_queue", "ORDERS").await;
            if let Ok(consumer) = consumer {
                let info = consumer.cached_info();
                again = again.max(info.num_redelivered);
                let open = (info.num_pending, info.num_ack_pending);
                if open == (0, 0) && info.ack_floor.stream_sequence == count as u64 {
                    return again;
                }
            }
        }
    })
    .await
}

#[tokio::test]
async fn messages_are_divided_among_nodes_and_those_of_a_killed_one_come_to_another() {
    let test = "messages_are_divided_among_nodes_and_those_of_a_killed_one_come_to_another";
    let Some(cluster) = Cluster::on_one(test).await else { return };
    let Some(server) = Server::plain(test) else { return };
    let jetstream = server.orders().await;
    let [a, b] = cluster.nodes().await;
    a.deploy_with("hello", "hello-v1", json!({})).await;
    let (url, concurrency) = (server.url(), CONCURRENCY.to_string());
    let add = ["triggers", "add", "queue", "hello", "--nats", &url, "--stream", "ORDERS"];
    a.cli_ok(&[&add[..], &["--subject", "orders.>", "--concurrency", &concurrency]].concat()).await;
    b.has_state_of(&a).await;
    for node in [&a, &b] {
        patiently("a queue", async { while queue(node).await["state"] != "connected" {} }).await;
    }
    publish(&jetstream, 0, COUNT).await;
    assert_eq!(settled(&jetstream, COUNT).await, 0, "each came once");
    let (of_a, of_b) = (acknowledged(&a).await, acknowledged(&b).await);
    assert_eq!(of_a + of_b, COUNT);
    assert!(of_a > 0 && of_b > 0, "{of_a} and {of_b}");

    let component = a.upload(wat::parse_str(LONG).unwrap()).await;
    let body = json!({ "component": component, "strategy": { "name": "all-at-once" }, "allow_new": true });
    a.api_ok(Method::POST, "/v1/functions/hello/deployments", Some(&body)).await;
    b.has_state_of(&a).await;
    publish(&jetstream, 1000, 2 * CONCURRENCY).await;
    patiently("messages in progress on both", async {
        for name in ["a", "b"] {
            let path = format!("/v1/functions/hello/logs?node={name}");
            while !a.api(Method::GET, &path, None).await.text().contains("begin") {}
        }
    })
    .await;
    b.kill().await;
    let again = settled(&jetstream, COUNT + 2 * CONCURRENCY).await;
    assert!((1..=2 * CONCURRENCY).contains(&again), "{again}");
    let handled = acknowledged(&a).await - of_a;
    assert!(handled > CONCURRENCY, "{handled}");
}
