//! Guests that compute without end, and what those beside them notice.

use std::time::Duration;

use http::StatusCode;
use serde_json::json;
use tokio::time::Instant;

use crate::harness::{Node, client::Client, patiently};

/// Requests that compute, always so many at once.
const LOOPS: usize = 8;

/// Calls of hello whose latency is looked at.
const CALLS: usize = 500;

/// Unoptimised, beside other tests and a client that wants the same cores.
const P99_MAX: Duration = Duration::from_millis(250);

/// The latencies of hello, called again and again, from the shortest to the longest.
async fn latencies_of_hello(node: &Node) -> Vec<Duration> {
    let client = Client::http1(node.listen);
    let mut latencies = Vec::with_capacity(CALLS);
    for _ in 0..CALLS {
        let begun = Instant::now();
        assert_eq!(client.get("/hello").await.ok().text(), "hello from v1\n");
        latencies.push(begun.elapsed());
    }
    latencies.sort_unstable();
    latencies
}

/// The latency that this share of the calls did not exceed.
fn quantile(latencies: &[Duration], permille: usize) -> Duration {
    latencies[(latencies.len() - 1) * permille / 1000]
}

#[tokio::test]
async fn hello_is_answered_beside_eight_endless_loops() {
    let node = Node::start().await;
    let config = json!({ "timeout_ms": 3_600_000, "concurrency": LOOPS, "queue_wait_ms": 100 });
    node.deploy_with("spin", "spin", config).await;
    node.deploy_with("hello", "hello-v1", json!({})).await;
    let alone = latencies_of_hello(&node).await;

    let client = Client::http1(node.listen);
    let loops: Vec<_> = (0..LOOPS)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.get("/spin/loop").await })
        })
        .collect();
    // There is a place for another until all of them have begun.
    let begun = async { while node.http.get("/spin").await.status == StatusCode::OK {} };
    patiently("eight loops at work", begun).await;
    let beside = patiently("hello beside the loops", latencies_of_hello(&node)).await;

    for (name, latencies) in [("alone", &alone), ("beside eight endless loops", &beside)] {
        let [p50, p99, p999] = [500, 990, 999].map(|permille| quantile(latencies, permille));
        println!("hello {name}: p50 {p50:?}, p99 {p99:?}, p99.9 {p999:?}");
    }
    assert!(loops.iter().all(|one| !one.is_finished()), "a loop ended by itself");
    assert_eq!(node.outcomes("hello", "success").await, 2 * CALLS as u64);
    let p99 = quantile(&beside, 990);
    assert!(p99 < P99_MAX, "hello's p99 beside eight endless loops is {p99:?}");
}
