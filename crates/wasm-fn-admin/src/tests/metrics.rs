//! Tests of `/metrics`.

use std::time::Duration;

use wasm_fn_core::Outcome;
use wasm_fn_router::{InvocationRecord, LatencyExemplar, Shielding, Tally};

use super::*;

/// The labels of the first version of `hello`.
const V1: &str = r#"function="hello",stage="live",version="v1""#;

/// The labels of its second.
const V2: &str = r#"function="hello",stage="live",version="v2""#;

fn trap() -> InvocationRecord {
    InvocationRecord {
        outcome: Outcome::Trap,
        latency: Duration::from_millis(100),
        queue_wait: Duration::ZERO,
        memory_peak_bytes: 1 << 20,
    }
}

/// Calls `f` with the tally of version `index` of `hello`.
fn of_version(api: &Api, index: usize, f: impl Fn(&Tally)) {
    let table = api.node.control.tables().load_full();
    f(&table.find(None, "/hello").unwrap().versions()[index].tally);
}

/// Checks that `text` has each of `lines`.
#[track_caller]
fn has(text: &str, lines: &[String]) {
    for line in lines {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
}

#[tokio::test]
async fn metrics_are_what_the_tallies_say() {
    let api = Api::start().await;
    api.deploy("hello", b"1", json!({})).await;
    of_version(&api, 0, |tally| (0..3).for_each(|_| tally.record(trap())));
    assert!(!api.get("/metrics").await.text.contains("wasm_fn_shield_total{"));
    of_version(&api, 0, |tally| {
        for shielding in [Shielding::Again, Shielding::Again, Shielding::HadEffect] {
            tally.shielded(shielding);
        }
    });
    let status = api.get("/v1/functions/hello").await.json();
    let shield = &status["stages"][0]["versions"][0]["tally"]["shield"];
    assert_eq!(*shield, json!({ "again": 2, "had-effect": 1 }));
    let text = api.get("/metrics").await.text;
    has(
        &text,
        &[
            "wasm_fn_revision 1".to_owned(),
            "wasm_fn_functions 1".to_owned(),
            "wasm_fn_start_time_seconds 1000.0".to_owned(),
            r#"wasm_fn_certificate_expiry_timestamp_seconds{listener="admin",name="a.test"} 7.0"#.to_owned(),
            r#"wasm_fn_certificate_expiry_timestamp_seconds{listener="listen",name="a.test"} 8.0"#.to_owned(),
            format!(r#"wasm_fn_requests_total{{{V1},outcome="trap"}} 3"#),
            format!(r#"wasm_fn_requests_total{{{V1},outcome="success"}} 0"#),
            format!(r#"wasm_fn_shield_total{{{V1},result="again"}} 2"#),
            format!(r#"wasm_fn_shield_total{{{V1},result="no-time"}} 0"#),
            format!("wasm_fn_memory_peak_bytes{{{V1}}} 1048576"),
            format!("wasm_fn_request_latency_seconds_count{{{V1}}} 3"),
            format!(r#"wasm_fn_request_latency_seconds_bucket{{le="0.05",{V1}}} 0"#),
            format!(r#"wasm_fn_request_latency_seconds_bucket{{le="0.25",{V1}}} 3"#),
            format!(r#"wasm_fn_request_latency_seconds_bucket{{le="+Inf",{V1}}} 3"#),
            format!(r#"wasm_fn_queue_wait_seconds_bucket{{le="0.0001",{V1}}} 3"#),
            format!("wasm_fn_queue_wait_seconds_sum{{{V1}}} 0.0"),
            "wasm_fn_metrics_other_versions 0".to_owned(),
            r#"wasm_fn_telemetry_items_total{queue="traces",result="dropped"} 3"#.to_owned(),
        ],
    );
    assert!(text.contains("wasm_fn_build_info{version=\"1.2.3\",os="), "{text}");
    let sum = text.lines().find_map(|line| line.strip_prefix("wasm_fn_request_latency_seconds_sum{"));
    let sum: f64 = sum.unwrap().split_once("} ").unwrap().1.parse().unwrap();
    assert!((0.295..0.305).contains(&sum), "{sum}");
}

#[tokio::test]
async fn requests_that_asked_for_their_version_have_a_metric_of_their_own() {
    let api = Api::start().await;
    api.deploy("hello", b"1", json!({})).await;
    of_version(&api, 0, |tally| tally.of_overrides().record(trap()));
    let text = api.get("/metrics").await.text;
    has(&text, &[format!(r#"wasm_fn_override_requests_total{{{V1},outcome="trap"}} 1"#)]);
    let others = text.lines().filter(|line| line.contains("version=\"v") && !line.contains("_override_"));
    assert_eq!(others.count(), 0, "{text}");
    let status = api.get("/v1/functions/hello").await.json();
    let version = &status["stages"][0]["versions"][0];
    assert_eq!((&version["overrides"], &version["tally"]["requests"]), (&json!(1), &json!(0)));
}

#[tokio::test]
async fn rollouts_are_told_while_they_run_and_counted_when_they_end() {
    let api = Api::start().await;
    api.deploy("hello", b"1", json!({})).await;
    api.deploy("hello", b"2", json!({ "strategy": { "name": "canary", "steps": ["10%", "50%"] } })).await;
    let text = api.get("/metrics").await.text;
    has(
        &text,
        &[
            format!("wasm_fn_rollout_weight_ratio{{{V2}}} 0.1"),
            format!("wasm_fn_rollout_step{{{V2}}} 1"),
            format!("wasm_fn_rollout_steps{{{V2}}} 3"),
            format!(r#"wasm_fn_rollout_phase{{{V2},phase="progressing"}} 1"#),
            format!(r#"wasm_fn_rollout_verdict{{{V2},verdict="wait"}} 1"#),
            // From the beginning, so that the first failure is an increase.
            format!(r#"wasm_fn_shield_total{{{V2},result="again"}} 0"#),
        ],
    );
    let ended = |outcome: &str, count: u64| {
        format!(r#"wasm_fn_rollouts_total{{function="hello",stage="live",outcome="{outcome}"}} {count}"#)
    };
    assert!(!text.contains("wasm_fn_rollouts_total{"), "{text}");
    assert_eq!(api.call("POST", "/v1/functions/hello/abort", json!({})).await.status, 200);
    let text = api.get("/metrics").await.text;
    has(&text, &[ended("aborted", 1), ended("promoted", 0), ended("rolled-back", 0)]);
    assert!(!text.contains("wasm_fn_rollout_phase{"), "{text}");
    assert_eq!(api.raw("DELETE", "/v1/functions/hello", "").await.status, 200);
    let text = api.get("/metrics").await.text;
    assert!(!text.contains("hello"), "{text}");
}

#[tokio::test]
async fn metrics_are_open_metrics_for_who_prefers_that() {
    let api = Api::start().await;
    // What Prometheus 2.42 sends.
    let prometheus = "application/openmetrics-text;version=1.0.0,\
                      application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
    for (accept, open_metrics) in [
        ("", false),
        ("*/*", false),
        ("text/plain", false),
        ("application/openmetrics-text;q=0.1, text/plain", false),
        ("application/openmetrics-text;q=0", false),
        ("application/openmetrics-text", true),
        (prometheus, true),
    ] {
        let request = api.request("GET", "/metrics").header(header::ACCEPT, accept);
        let answer = api.send(request.body(Full::default()).unwrap()).await;
        let media_type = answer.headers[header::CONTENT_TYPE].to_str().unwrap();
        let begins = if open_metrics {
            "application/openmetrics-text; version=1.0.0"
        } else {
            "text/plain; version=0.0.4"
        };
        assert!(media_type.starts_with(begins), "{accept:?}: {media_type}");
        assert_eq!(answer.text.ends_with("# EOF\n"), open_metrics, "{accept:?}");
        assert_eq!(answer.text.contains("# TYPE wasm_fn_requests counter\n"), open_metrics, "{accept:?}");
        assert_eq!(
            answer.text.contains("# TYPE wasm_fn_requests_total counter\n"),
            !open_metrics,
            "{accept:?}"
        );
        assert_eq!(answer.headers[header::VARY], "accept");
    }
}

#[tokio::test]
async fn buckets_have_exemplars_for_who_reads_them() {
    let api = Api::start().await;
    api.deploy("hello", b"1", json!({})).await;
    let exemplar = |ms, trace_id| LatencyExemplar {
        latency: Duration::from_millis(ms),
        trace_id,
        at: Duration::from_millis(1_700_000_000_250),
    };
    of_version(&api, 0, |tally| {
        tally.record(trap());
        [exemplar(100, 0xabc), exemplar(90_000, 0xdef)]
            .into_iter()
            .for_each(|traced| tally.exemplify(traced));
    });
    assert!(!api.get("/metrics").await.text.contains("trace_id"), "the classic format has no exemplars");
    let request = api.request("GET", "/metrics").header(header::ACCEPT, "application/openmetrics-text");
    let text = api.send(request.body(Full::default()).unwrap()).await.text;
    let bucket = |bound: &str, rest: &str| {
        format!(r#"wasm_fn_request_latency_seconds_bucket{{le="{bound}",{V1}}} 1{rest}"#)
    };
    let traced = |id: &str, rest: &str| format!(" # {{trace_id=\"{id:0>32}\"}} {rest} 1700000000.250");
    has(&text, &[bucket("0.1", &traced("abc", "0.1")), bucket("+Inf", &traced("def", "90.0"))]);
    assert!(text.contains(&bucket("0.25", "")), "{text}");
}

/// The sums of `wasm_fn_requests_total` by version, of those that are told.
fn told(text: &str) -> Vec<(String, u64)> {
    let lines = text.lines().filter_map(|line| line.strip_prefix("wasm_fn_requests_total{function=\""));
    let traps = lines.filter(|line| line.contains("outcome=\"trap\""));
    let mut told: Vec<_> = traps
        .map(|line| {
            let (function, rest) = line.split_once('"').unwrap();
            (function.to_owned(), rest.split_once("} ").unwrap().1.parse().unwrap())
        })
        .collect();
    told.sort();
    told
}

#[tokio::test]
async fn versions_beyond_the_bound_are_summed_up() {
    // Enough for two versions and the sum.
    let api = Api::with_series_max(140).await;
    let functions = ["a", "b", "c", "d"];
    for function in functions {
        api.deploy(function, b"1", json!({})).await;
    }
    let count = |function: &str, times: u64| {
        let table = api.node.control.tables().load_full();
        let tally = &table.find(None, &format!("/{function}")).unwrap().versions()[0].tally;
        (0..times).for_each(|_| tally.record(trap()));
    };
    let scrape = async || {
        let text = api.get("/metrics").await.text;
        let series = text.lines().filter(|line| line.contains("function=\"")).count();
        assert!(series <= 140, "{series}");
        let others = text.lines().find_map(|line| line.strip_prefix("wasm_fn_metrics_other_versions "));
        (told(&text), others.unwrap().to_owned())
    };
    let pairs = |pairs: &[(&str, u64)]| -> Vec<(String, u64)> {
        pairs.iter().map(|&(name, count)| (name.to_owned(), count)).collect()
    };
    count("c", 1);
    count("d", 2);
    assert_eq!(scrape().await, (pairs(&[("c", 1), ("d", 2)]), "0".to_owned()));
    count("a", 3);
    count("b", 4);
    assert_eq!(scrape().await, (pairs(&[("c", 1), ("d", 2), ("other", 7)]), "2".to_owned()));
    count("a", 1);
    assert_eq!(scrape().await, (pairs(&[("c", 1), ("d", 2), ("other", 8)]), "2".to_owned()));
    // What has gone stays counted, and makes no room for what was summed up before.
    for gone in ["a", "c"] {
        assert_eq!(api.raw("DELETE", &format!("/v1/functions/{gone}"), "").await.status, 200);
    }
    count("b", 1);
    assert_eq!(scrape().await, (pairs(&[("d", 2), ("other", 9)]), "1".to_owned()));
}

#[tokio::test]
async fn scrape_of_many_versions_is_bounded() {
    let api = Api::with_series_max(20_000).await;
    for function in 0..700 {
        api.deploy(&format!("f{function}"), b"1", json!({})).await;
    }
    let table = api.node.control.tables().load_full();
    for stage in table.stages() {
        let tally = &stage.versions()[0].tally;
        tally.record(trap());
        tally.of_overrides().record(trap());
    }
    let text = api.get("/metrics").await.text;
    let series = text.lines().filter(|line| line.contains("function=\"")).count();
    assert!((19_000..=20_000).contains(&series), "{series}");
    let sum: u64 = told(&text).iter().map(|(_, count)| count).sum();
    assert_eq!(sum, 700);
    assert!(text.len() < 20_000 * 150, "{} bytes", text.len());
}
