//! Facts about sums of what nodes say.

use serde_json::json;

use super::*;

fn tally(requests: u64, failures: u64, p99: Option<f64>) -> api::TallyView {
    let outcomes = [("success", requests - failures), ("trap", failures)];
    api::TallyView {
        requests,
        failures,
        outcomes: outcomes.map(|(word, count)| (word.to_owned(), count)).into(),
        latency_p50_ms: p99.map(|p99| p99 / 2.0),
        latency_p99_ms: p99,
        queue_wait_p99_ms: None,
        memory_peak_bytes: requests * 100,
        shield: [("again".to_owned(), failures)].into(),
    }
}

fn status(versions: &[(&str, u64, u64, Option<f64>)], gate: u64) -> api::FunctionStatus {
    let versions = versions.iter().map(|&(version, requests, failures, p99)| api::VersionStatus {
        version: version.to_owned(),
        role: None,
        weight: "0%".to_owned(),
        env: Default::default(),
        tally: tally(requests, failures, p99),
        overrides: 1,
        instances: 2,
        nodes: Vec::new(),
    });
    let side = |requests: u64| json!({ "version": "v2", "requests": requests, "failures": 0 });
    let rollout = json!({
        "stable": "v1", "canary": "v2", "weight": "50%", "strategy": { "name": "all-at-once" }, "started_ms": 5,
        "from_split": [], "phase": "progressing", "step": 1, "steps": ["50%", "100%"], "lasted_ms": 0,
        "lasts_ms": 0,
        "gate": {
            "verdict": "wait", "reason": "r", "requests": gate, "requests_needed": 9,
            "evidence": { "baseline": "concurrent", "canary": side(gate), "stable": side(gate), "signals": [] },
        },
    });
    let stage = json!({
        "stage": "live", "stable": "v1", "split": [], "routes": [], "sticky": "none", "versions": [],
        "rollout": rollout,
    });
    let mut stage: api::StageStatus = serde_json::from_value(stage).unwrap();
    stage.versions = versions.collect();
    api::FunctionStatus {
        function: "hello".to_owned(),
        revision: 3,
        latest: "v2".to_owned(),
        stages: vec![stage],
        proposals: Vec::new(),
        nodes: Vec::new(),
    }
}

#[test]
fn counters_add_up_and_each_node_keeps_its_own() {
    let own = status(&[("v2", 10, 1, Some(4.0)), ("v1", 5, 0, None)], 10);
    let other = status(&[("v2", 30, 2, Some(9.0)), ("v0", 7, 0, None)], 40);
    let told = vec![("c".to_owned(), Err("no answer".to_owned())), ("a".to_owned(), Ok(other))];
    let all = all(own, "b", told);
    let nodes: Vec<_> = all.nodes.iter().map(|node| (&*node.node, node.missing.as_deref())).collect();
    assert_eq!(nodes, [("a", None), ("b", None), ("c", Some("no answer"))]);
    let stage = &all.stages[0];
    let version = |name: &str| stage.versions.iter().find(|version| version.version == name).unwrap();
    let both = version("v2");
    assert_eq!((both.tally.requests, both.tally.failures, both.overrides, both.instances), (40, 3, 2, 4));
    assert_eq!((both.tally.latency_p50_ms, both.tally.latency_p99_ms), (Some(4.5), Some(9.0)));
    assert_eq!((both.tally.outcomes["trap"], both.tally.shield["again"]), (3, 3));
    assert_eq!(both.tally.memory_peak_bytes, 3000);
    let by_node: Vec<_> = both.nodes.iter().map(|node| (&*node.node, node.tally.requests)).collect();
    assert_eq!(by_node, [("a", 30), ("b", 10)]);
    assert_eq!((version("v1").tally.requests, version("v0").tally.requests), (5, 7));
    assert_eq!(
        stage.rollout.as_ref().unwrap().gate.as_ref().unwrap().requests,
        40,
        "the gate that knows more"
    );
}

#[test]
fn gate_of_another_rollout_is_not_taken() {
    let own = status(&[], 10);
    let mut other = status(&[], 40);
    other.stages[0].rollout.as_mut().unwrap().started_ms = 6;
    let all = all(own, "b", vec![("a".to_owned(), Ok(other))]);
    assert_eq!(all.stages[0].rollout.as_ref().unwrap().gate.as_ref().unwrap().requests, 10);
}

fn version(at_ms: &[u64], requests: &[u64]) -> api::VersionSeries {
    let latencies: Vec<_> = requests.iter().map(|&requests| requests as f64).collect();
    api::VersionSeries {
        stage: "live".to_owned(),
        version: "v1".to_owned(),
        at_ms: at_ms.to_vec(),
        requests: requests.to_vec(),
        failures: vec![0; requests.len()],
        latency_p50_ms: latencies.clone(),
        latency_p99_ms: latencies,
    }
}

#[test]
fn series_add_up_step_by_step() {
    let series = |versions| api::FunctionSeries {
        function: "hello".to_owned(),
        step_ms: 10_000,
        now_ms: 50_000,
        versions,
        rollouts: Vec::new(),
        nodes: Vec::new(),
    };
    let own = series(vec![version(&[10_000, 30_000], &[1, 3])]);
    let other = series(vec![version(&[20_000, 30_000], &[20, 30])]);
    let all = all(own, "a", vec![("b".to_owned(), Ok(other))]);
    let sum = &all.versions[0];
    assert_eq!((&*sum.at_ms, &*sum.requests), (&[10_000, 20_000, 30_000][..], &[1, 20, 33][..]));
    assert_eq!(sum.latency_p99_ms, [1.0, 20.0, 30.0]);
}

#[test]
fn minutes_of_clocks_that_differ_meet_where_they_are_nearest() {
    let list = |begins_ms, requests: [u64; 3]| api::SeriesList {
        begins_ms,
        functions: vec![api::FunctionMinutes {
            function: "hello".to_owned(),
            requests: requests.to_vec(),
            failures: vec![0; 3],
            latency_p99_ms: vec![0.0; 3],
        }],
        nodes: Vec::new(),
    };
    let sum = |begins_ms| {
        let told = vec![("b".to_owned(), Ok(list(begins_ms, [10, 20, 30])))];
        all(list(600_000, [1, 2, 3]), "a", told).functions[0].requests.clone()
    };
    assert_eq!(sum(600_000), [11, 22, 33]);
    assert_eq!(sum(620_000), [11, 22, 33]);
    assert_eq!(sum(580_000), [11, 22, 33]);
    assert_eq!(sum(640_000), [1, 12, 23]);
    assert_eq!(sum(540_000), [21, 32, 3]);
    // An hour apart.
    assert_eq!(sum(4_200_000), [1, 2, 3]);
    assert_eq!(sum(0), [1, 2, 3]);
}

#[test]
fn traces_are_of_their_node_failed_ones_first() {
    let trace = |at_ms: u64, duration_ms: f64, failed: bool| {
        json!({
            "trace_id": "t", "request_id": "r", "at_ms": at_ms, "duration_ms": duration_ms, "stage": "live",
            "method": "GET", "path": "/", "failed": failed, "spans": [],
        })
    };
    let list = |traced, traces: &[serde_json::Value]| {
        let list = json!({ "traced": traced, "traces": traces });
        serde_json::from_value::<api::TraceList>(list).unwrap()
    };
    let own = list(false, &[trace(3, 1.0, true), trace(9, 5.0, false)]);
    let other = list(true, &[trace(4, 1.0, true), trace(2, 7.0, false)]);
    let all = all(own, "a", vec![("b".to_owned(), Ok(other))]);
    let order: Vec<_> =
        all.traces.iter().map(|trace| (trace.at_ms, trace.node.as_deref().unwrap())).collect();
    assert_eq!(order, [(4, "b"), (3, "a"), (2, "b"), (9, "a")]);
    assert!(all.traced);
}
