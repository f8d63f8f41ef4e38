//! Buckets of a function on several nodes: one set of values, whichever node is asked.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use http::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::Cluster;
use crate::harness::{Node, client::Client, patiently};

fn config() -> Value {
    json!({ "buckets": { "default": {}, "relaxed": { "durability": "relaxed", "consistency": "eventual" } } })
}

/// Deploys `state` to the first of `nodes`, and waits until all have it.
async fn deploy(nodes: &[&Node]) {
    nodes[0].deploy_with("state", "stateful", config()).await;
    for node in &nodes[1..] {
        node.has_state_of(nodes[0]).await;
    }
}

async fn asked(node: &Node, path: &str) -> String {
    node.http.get(&format!("/state/{path}")).await.ok().text()
}

#[tokio::test]
async fn what_a_function_keeps_is_the_same_on_every_node() {
    let test = "what_a_function_keeps_is_the_same_on_every_node";
    let Some(cluster) = Cluster::on_three(test).await else { return };
    let [a, b, c] = cluster.nodes().await;
    deploy(&[&a, &b, &c]).await;
    for number in 0..10 {
        assert_eq!(asked(&a, &format!("set/k?value={number}")).await, "set");
        for node in [&b, &c] {
            assert_eq!(asked(node, "get/k").await, number.to_string(), "at once");
        }
    }
    let adding = [&a, &b, &c].map(|node| {
        let client = Client::http1(node.listen);
        tokio::spawn(async move {
            for _ in 0..20 {
                client.get("/state/increment/n").await.ok();
                client.get("/state/cas/m").await.ok();
                client.get("/state/increment/n?bucket=relaxed").await.ok();
            }
        })
    });
    for adding in adding {
        patiently("all increments", adding).await.unwrap();
    }
    for node in [&a, &b, &c] {
        assert_eq!((&*asked(node, "get/n").await, &*asked(node, "get/m").await), ("60", "60"));
    }
    patiently("the same in the end", async { while asked(&b, "get/n?bucket=relaxed").await != "60" {} })
        .await;
    assert_eq!(asked(&c, "batch/x").await, asked(&a, "batch/x").await);

    // People see it through any node.
    b.cli_ok(&["kv", "put", "state", "default", "by/hand", "--value", "hi"]).await;
    assert_eq!(c.cli_ok(&["kv", "get", "state", "default", "by/hand"]).await, "hi");
    assert_eq!(a.cli_ok(&["kv", "list", "state", "default"]).await, "by/hand\nk\nm\nn\n");
    a.cli_ok(&["kv", "delete", "state", "default", "by/hand"]).await;
    b.cli(&["kv", "get", "state", "default", "by/hand"]).await.refused(&["has no key \"by/hand\""]);
    let metrics = b.api(Method::GET, "/metrics", None).await.text();
    let keys = r#"wasm_fn_bucket_keys{function="state",stage="live",bucket="default"} 3"#;
    assert!(metrics.contains(keys), "{metrics}");

    // A function that is made anew begins with nothing.
    c.cli_ok(&["delete", "state", "--yes"]).await;
    for node in [&a, &b] {
        node.has_state_of(&c).await;
    }
    b.deploy_with("state", "stateful", config()).await;
    for node in [&a, &c] {
        node.has_state_of(&b).await;
    }
    for node in [&a, &b, &c] {
        assert_eq!(node.cli_ok(&["kv", "list", "state", "default"]).await, "");
    }
    assert_eq!(asked(&a, "increment/n").await, "1");
}

#[tokio::test]
async fn no_increment_is_lost_while_a_server_of_the_broker_is_killed() {
    let test = "no_increment_is_lost_while_a_server_of_the_broker_is_killed";
    let Some(mut cluster) = Cluster::on_three(test).await else { return };
    let [a, b, c] = cluster.nodes().await;
    deploy(&[&a, &b, &c]).await;
    let (ended, added, failed) =
        (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let users = [&a, &b, &c].map(|node| {
        let client = Client::http1(node.listen);
        let (ended, added, failed) = (Arc::clone(&ended), Arc::clone(&added), Arc::clone(&failed));
        tokio::spawn(async move {
            while !ended.load(SeqCst) {
                let answer = client.get("/state/increment/n").await;
                let counter = if answer.status == StatusCode::OK { &added } else { &failed };
                counter.fetch_add(1, SeqCst);
            }
        })
    });
    let progress = async |more: u64| {
        let until = added.load(SeqCst) + more;
        patiently("more increments", async {
            while added.load(SeqCst) < until {
                tokio::task::yield_now().await;
            }
        })
        .await;
    };
    for server in 0..3 {
        progress(30).await;
        cluster.brokers[server].kill();
        progress(30).await;
        cluster.brokers[server].start_again();
        for node in [&a, &b, &c] {
            node.in_cluster("a node in touch", |view| view["in_touch"] == true).await;
        }
    }
    ended.store(true, SeqCst);
    for user in users {
        patiently("the last answer", user).await.unwrap();
    }
    let sum = patiently("the sum", async {
        loop {
            let answer = b.http.get("/state/get/n").await;
            if answer.status == StatusCode::OK {
                return answer.text().parse::<u64>().unwrap();
            }
        }
    })
    .await;
    let (added, failed) = (added.load(SeqCst), failed.load(SeqCst));
    println!("sum {sum}, answered with success {added}, with an error {failed}");
    assert!((added..=added + failed).contains(&sum), "sum {sum}, added {added}, failed {failed}");
}

#[tokio::test]
async fn function_without_its_buckets_is_told_and_its_version_is_not_to_blame() {
    let test = "function_without_its_buckets_is_told_and_its_version_is_not_to_blame";
    let Some(mut cluster) = Cluster::on_one(test).await else { return };
    let [a, b] = cluster.nodes().await;
    deploy(&[&a, &b]).await;
    assert_eq!(asked(&a, "set/k?value=v").await, "set");
    cluster.brokers[0].kill();
    let began = Instant::now();
    for path in ["get/k", "set/k?value=w", "increment/n"] {
        let answer = a.http.get(&format!("/state/{path}")).await;
        assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR, "{answer:?}");
        assert!(answer.text().contains("cluster"), "{}", answer.text());
    }
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    a.in_cluster("a node that knows that it is out of touch", |view| view["in_touch"] == false).await;
    let answer = a.http.get("/state/get/k").await;
    assert!(answer.text().contains("out of touch with the cluster"), "{}", answer.text());
    a.cli(&["kv", "get", "state", "default", "k"]).await.refused(&["out of touch with its cluster since"]);
    let metrics = a.api(Method::GET, "/metrics", None).await.text();
    let of = |outcome: &str| {
        let mut lines = metrics.lines().filter(|line| line.starts_with("wasm_fn_requests_total{"));
        let line = lines.find(|line| line.contains(&format!("outcome=\"{outcome}\"")));
        line.map_or(0, |line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap())
    };
    assert_eq!((of("shed"), of("server-error")), (4, 0), "{metrics}");
    cluster.brokers[0].start_again();
    a.in_cluster("a node in touch", |view| view["in_touch"] == true).await;
    patiently("its buckets again", async {
        while a.http.get("/state/set/k?value=x").await.status != StatusCode::OK {}
    })
    .await;
    assert_eq!(asked(&a, "get/k").await, "x");
}
