//! Tests of numbers over time, on tables of a node.

use std::time::Duration;

use wasm_fn_core::{FunctionName, Outcome, StageName};
use wasm_fn_router::{InvocationRecord, RouteTable};

use super::*;
use crate::series::{STEP_MS, traffic::Traffic};

type Table = Arc<RouteTable<Arc<str>>>;

fn requests(table: &Table, function: &str, requests: u64, traps: u64, took: Duration) {
    let stage = table.stage(&function.parse().unwrap(), &StageName::live()).unwrap();
    for at in 0..requests {
        stage.stable().tally.record(InvocationRecord {
            outcome: if at < traps { Outcome::Trap } else { Outcome::Success },
            latency: took,
            queue_wait: Duration::ZERO,
            memory_peak_bytes: 0,
        });
    }
}

async fn deployed(functions: &[&str]) -> (Api, Table) {
    let api = Api::start().await;
    for function in functions {
        assert_eq!(api.deploy(function, b"1", json!({})).await.status, 200);
    }
    let table = api.node.control.tables().load_full();
    (api, table)
}

fn name(text: &str) -> FunctionName {
    text.parse().unwrap()
}

#[tokio::test]
async fn steps_have_what_came_in_them_and_an_hour_is_kept() {
    let (_api, table) = deployed(&["a", "b"]).await;
    let mut traffic = Traffic::default();
    traffic.read(&table, 10_000);
    assert!(traffic.versions(&name("a")).is_empty(), "without requests, nothing is kept");
    requests(&table, "a", 100, 2, Duration::from_millis(5));
    traffic.read(&table, 20_000);
    traffic.read(&table, 30_000);
    requests(&table, "a", 1, 0, Duration::from_millis(400));
    traffic.read(&table, 40_000);
    let steps = |traffic: &Traffic| {
        let steps = traffic.versions(&name("a"))[0].steps();
        steps.map(|step| (step.at_ms, step.requests, step.failures)).collect::<Vec<_>>()
    };
    assert_eq!(steps(&traffic), [(10_000, 100, 2), (30_000, 1, 0)]);
    let last = traffic.latency_p99_ms(&name("a"), &StageName::live()).unwrap();
    assert!((400.0..415.0).contains(&last), "{last}");
    let first = traffic.versions(&name("a"))[0].steps().next().unwrap().latency_p50_ms;
    assert!((5.0..5.2).contains(&first), "{first}");
    traffic.read(&table, 3_620_000);
    assert_eq!(steps(&traffic), [(30_000, 1, 0)]);
    traffic.read(&table, 3_640_000);
    assert_eq!(steps(&traffic), []);
    requests(&table, "a", 3, 0, Duration::from_millis(5));
    traffic.read(&table, 3_650_000);
    assert_eq!(steps(&traffic), [(3_640_000, 3, 0)], "what is older counts no second time");
    traffic.retain(|name| name.as_str() != "a");
    assert!(traffic.versions(&name("a")).is_empty());
}

#[tokio::test]
async fn with_too_many_steps_the_oldest_of_all_go() {
    let (_api, table) = deployed(&["a", "b"]).await;
    let mut traffic = Traffic::with_points(5);
    for step in 1..=10 {
        requests(&table, "a", 1, 0, Duration::from_millis(1));
        if step == 1 {
            requests(&table, "b", 1, 0, Duration::from_millis(1));
        }
        traffic.read(&table, step * STEP_MS);
    }
    let count = |function| traffic.versions(&name(function))[0].steps().count();
    assert_eq!((count("a"), count("b")), (5, 0));
}

#[tokio::test]
async fn series_show_the_functions_and_stages_that_somebody_is_for() {
    let mut api = Api::start().await;
    api.deploy("a", b"1", json!({})).await;
    api.deploy("b", b"1", json!({})).await;
    api.deploy("b", b"2", canary()).await;
    let table = api.node.control.tables().load_full();
    requests(&table, "a", 1, 0, Duration::from_millis(1));
    requests(&table, "b", 10, 2, Duration::from_millis(1));
    // Ahead of the node's clock, so that this step is read by nobody else.
    api.admin.series.traffic().read(&table, 2_000_000);
    api.admin.series.read(&api.node.control);

    let list = api.get("/v1/series?functions=b,gone,a").await.json();
    let functions = list["functions"].as_array().unwrap();
    let found: Vec<_> = functions.iter().map(|function| &function["function"]).collect();
    assert_eq!(found, ["b", "a"]);
    let sum =
        |field: &str| functions[0][field].as_array().unwrap().iter().filter_map(Value::as_u64).sum::<u64>();
    assert_eq!((sum("requests"), sum("failures")), (10, 2));
    assert_eq!(functions[0]["requests"].as_array().unwrap().len(), 60);

    let series = api.get("/v1/functions/b/series").await.json();
    assert_eq!(series["versions"][0]["version"], "v1");
    assert_eq!(series["versions"][0]["requests"], json!([10]));
    assert_eq!(series["versions"][0]["at_ms"], json!([1_990_000]));
    let rollout = &series["rollouts"][0];
    assert_eq!((&rollout["canary"], &rollout["ended"]), (&json!("v2"), &json!(false)));
    assert_eq!(rollout["share"][0], 0.1);
    assert!(!rollout["signals"].as_array().unwrap().is_empty());

    api.call("POST", "/v1/functions/b/abort", json!({})).await;
    api.admin.series.read(&api.node.control);
    let rollout = api.get("/v1/functions/b/series").await.json()["rollouts"][0].clone();
    assert_eq!(rollout["ended"], true);
    assert!(rollout["at_ms"].as_array().unwrap().len() >= 2, "{rollout}");

    for (query, code) in
        [("", "invalid-request"), ("?functions=", "invalid-name"), ("?functions=%3Cb%3E", "invalid-name")]
    {
        assert_eq!(api.get(&format!("/v1/series{query}")).await.problem().1, code, "{query}");
    }
    let many = vec!["a"; 101].join(",");
    assert_eq!(api.get(&format!("/v1/series?functions={many}")).await.problem().1, "invalid-request");
    let rights = json!({ "roles": ["viewer"], "functions": ["a"] });
    let created = api.call("POST", "/v1/tokens", json!({ "name": "ci", "rights": rights })).await.json();
    api.token = created["secret"].as_str().unwrap().to_owned();
    let list = api.get("/v1/series?functions=a,b").await.json();
    assert_eq!(list["functions"].as_array().unwrap().len(), 1);
    assert_eq!(api.get("/v1/functions/b/series").await.problem().1, "no-such-function");
}
