//! Which version answers.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt as _, stream};
use serde_json::json;

use crate::harness::Node;

/// How often each version answers `requests` requests, eight at a time.
async fn counted(node: &Node, requests: u32) -> BTreeMap<String, u32> {
    let answers = stream::iter(0..requests).map(|_| node.http.get("/hello")).buffer_unordered(8);
    let count = |mut counts: BTreeMap<String, u32>, answer: crate::harness::client::Answer| {
        *counts.entry(answer.ok().version().to_owned()).or_default() += 1;
        std::future::ready(counts)
    };
    answers.fold(BTreeMap::new(), count).await
}

/// The version that answers requests with these headers.
async fn version_for(node: &Node, headers: &[(&str, &str)]) -> String {
    node.http.get_as("/hello", headers).await.ok().version().to_owned()
}

/// The keys `user-0`, … that are answered by the canary.
async fn keys_on_canary(node: &Node, keys: u32) -> BTreeSet<u32> {
    let versions = stream::iter(0..keys).map(|key| async move {
        let version = version_for(node, &[("wasm-fn-key", &format!("user-{key}"))]).await;
        (version == "v2").then_some(key)
    });
    versions.buffer_unordered(8).filter_map(std::future::ready).collect().await
}

/// The share of 2,000 draws has a standard deviation of √(0.1 · 0.9 / 2000) = 0.67 points, so 3 points
/// are 4.5 of them: a right split fails once in 100,000 runs.
#[tokio::test]
async fn canary_answers_its_share_of_requests() {
    let node = Node::start().await;
    node.hello_canary("10%", json!({})).await;
    let counts = counted(&node, 2000).await;
    let share = f64::from(counts.get("v2").copied().unwrap_or(0)) / 2000.0;
    println!("a canary of 10 % answered {:.2} % of 2,000 requests", share * 100.0);
    assert!((share - 0.1).abs() <= 0.03, "{counts:?}");
    let live = node.live("hello").await;
    let tallied: u64 =
        live["versions"].as_array().unwrap().iter().map(|v| v["tally"]["requests"].as_u64().unwrap()).sum();
    assert_eq!(tallied, 2000, "{live}");
}

#[tokio::test]
async fn weights_can_be_set_at_any_time() {
    let node = Node::start().await;
    node.hello_canary("10%", json!({})).await;
    node.split_hello(&[("v2", "50%"), ("v1", "50%")]).await;
    let counts = counted(&node, 200).await;
    // Each tail beyond 60 of 200 fair draws is below 10⁻⁸.
    assert!(counts["v1"] > 60 && counts["v2"] > 60, "{counts:?}");
    node.split_hello(&[("v1", "100%")]).await;
    assert_eq!(counted(&node, 50).await, BTreeMap::from([("v1".to_owned(), 50)]));
    node.split_hello(&[("canary", "100%")]).await;
    assert_eq!(counted(&node, 50).await, BTreeMap::from([("v2".to_owned(), 50)]));
}

#[tokio::test]
async fn user_with_a_key_stays_on_one_version() {
    let node = Node::start().await;
    node.hello_canary("50%", json!({ "sticky": "cookie:sid" })).await;
    let mut seen = BTreeSet::new();
    for user in 0..8 {
        let (key, cookie) = (format!("user-{user}"), format!("theme=dark; sid=user-{user}"));
        for headers in [("wasm-fn-key", &key), ("cookie", &cookie)] {
            let first = version_for(&node, &[(headers.0, headers.1)]).await;
            for _ in 1..20 {
                assert_eq!(version_for(&node, &[(headers.0, headers.1)]).await, first, "{headers:?}");
            }
            seen.insert(first);
        }
    }
    assert_eq!(seen.len(), 2, "sixteen keys all went to one version");
}

#[tokio::test]
async fn raising_the_canary_takes_no_user_off_it() {
    let node = Node::start().await;
    node.hello_canary("10%", json!({})).await;
    let before = keys_on_canary(&node, 200).await;
    node.split_hello(&[("v2", "50%"), ("v1", "50%")]).await;
    let after = keys_on_canary(&node, 200).await;
    assert!(after.is_superset(&before), "{:?} went back to stable", before.difference(&after));
    // 10 % and 50 % of 200, each within five standard deviations.
    assert!((1..=42).contains(&before.len()) && (64..=136).contains(&after.len()), "{before:?} {after:?}");
}

#[tokio::test]
async fn cohort_goes_where_its_rule_says() {
    let node = Node::start().await;
    let cohorts = json!({ "cohorts": [
        { "header": "x-group", "values": ["beta", "staff"], "to": "canary" },
        { "cookie": "careful", "values": ["1"], "to": "stable" },
        { "query": "try", "values": ["new"], "to": "canary" },
    ] });
    node.hello_canary("0.01%", cohorts).await;
    assert_eq!(version_for(&node, &[("x-group", "beta")]).await, "v2");
    assert_eq!(version_for(&node, &[("x-group", "staff"), ("cookie", "careful=1")]).await, "v2");
    assert_eq!(node.http.get("/hello?try=new").await.ok().version(), "v2");
    node.split_hello(&[("v2", "99.99%"), ("v1", "0.01%")]).await;
    assert_eq!(version_for(&node, &[("cookie", "a=b; careful=1")]).await, "v1");
    assert_eq!(version_for(&node, &[("x-group", "staff"), ("cookie", "careful=1")]).await, "v2");
}

#[tokio::test]
async fn version_is_chosen_by_callers_with_a_token() {
    let node = Node::start().await;
    node.hello_canary("0.01%", json!({})).await;
    let token = node.token.clone();
    for (asked, answers) in [("v2", "v2"), ("v1", "v1"), ("stable", "v1"), ("canary", "v2"), ("latest", "v2")]
    {
        let headers = [("wasm-fn-version", asked), ("wasm-fn-token", token.as_str())];
        assert_eq!(version_for(&node, &headers).await, answers, "{asked}");
    }
    for (asked, token, status, code) in [
        ("v2", "", 403, "override-denied"),
        ("v2", "wfn_wrong", 403, "override-denied"),
        ("v99", token.as_str(), 404, "no-such-version"),
        ("previous", token.as_str(), 404, "no-such-version"),
        ("newest", token.as_str(), 400, "override-malformed"),
    ] {
        let headers = [("wasm-fn-version", asked), ("wasm-fn-token", token)];
        node.http.get_as("/hello", &headers).await.problem(status, code);
    }
    let alone = [("wasm-fn-version", "v2")];
    node.http.get_as("/hello", &alone).await.problem(403, "override-denied");
}

#[tokio::test]
async fn version_is_chosen_by_anybody_where_the_node_says_so() {
    let node = Node::start_with(&["--allow-overrides"]).await;
    node.hello_canary("0.01%", json!({})).await;
    assert_eq!(version_for(&node, &[("wasm-fn-version", "v2")]).await, "v2");
}

#[tokio::test]
async fn swap_under_load_is_never_an_error_and_holds_when_it_returns() {
    let node = Node::start().await;
    node.hello_canary("10%", json!({})).await;
    let load = async {
        loop {
            let answers = (0..8).map(|_| node.http.get("/hello"));
            for answer in futures_util::future::join_all(answers).await {
                answer.ok();
            }
        }
    };
    let swaps = async {
        for swap in 0..40 {
            let version = if swap % 2 == 0 { "v2" } else { "v1" };
            node.split_hello(&[(version, "100%")]).await;
            for _ in 0..3 {
                assert_eq!(version_for(&node, &[]).await, version, "after swap {swap}");
            }
        }
    };
    tokio::select! {
        () = swaps => {}
        () = load => unreachable!("it has no end"),
    }
}
