//! `/metrics`, as the programs of others read it.

use std::{
    collections::BTreeSet,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::{Value, json};

use crate::harness::{Folder, Node, Process, client::Client, patiently, programs::starts};

/// What promtool says to `text`; nothing if it has no objection.
fn objections(text: &str) -> String {
    let mut promtool = Command::new("promtool");
    promtool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut promtool = promtool.spawn().expect("promtool starts");
    let mut stdin = promtool.stdin.take().expect("stdin is a pipe");
    stdin.write_all(text.as_bytes()).expect("promtool reads all of it");
    drop(stdin);
    let output = promtool.wait_with_output().expect("promtool ends");
    let said = [&*output.stdout, &*output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert_eq!(output.status.success(), said.is_empty(), "{said}");
    said
}

#[tokio::test]
async fn promtool_accepts_the_metrics() {
    if !starts(Command::new("promtool").arg("--version"), "promtool", "promtool_accepts_the_metrics") {
        return;
    }
    let node = Node::start().await;
    let metrics = Client::http1(node.admin);
    assert_eq!(objections(&metrics.get("/metrics").await.ok().text()), "");

    node.hello_canary("50%", json!({})).await;
    node.deploy("trap").await;
    for _ in 0..20 {
        node.http.get("/hello").await.ok();
        node.http.get("/trap").await;
    }
    let text = metrics.get("/metrics").await.ok().text();
    for sample in [
        "wasm_fn_build_info{",
        "wasm_fn_request_latency_seconds_bucket{",
        "wasm_fn_queue_wait_seconds_bucket{",
        "wasm_fn_requests_total{",
        "wasm_fn_rollout_phase{",
        "wasm_fn_shield_total{",
    ] {
        assert!(text.contains(sample), "{sample}\n{text}");
    }
    assert_eq!(objections(&text), "");
    // And that it would have objected.
    assert_ne!(objections(&text.replace("_requests_total", "_requests")), "");
}

#[tokio::test]
async fn prometheus_scrapes_the_metrics() {
    if !starts(Command::new("prometheus").arg("--version"), "prometheus", "prometheus_scrapes_the_metrics") {
        return;
    }
    let node = Node::start().await;
    node.hello_canary("50%", json!({})).await;
    for _ in 0..20 {
        node.http.get("/hello").await.ok();
    }
    let folder = Folder::new();
    let scrape = json!({
        "global": { "scrape_interval": "1s" },
        "rule_files": [deployed("prometheus/alerts.yml")],
        "scrape_configs": [{ "job_name": "wasm-fn", "static_configs": [{ "targets": [node.admin.to_string()] }] }],
    });
    // JSON is YAML.
    let config = folder.write("prometheus.yml", scrape.to_string());
    let mut prometheus = Command::new("prometheus");
    prometheus.arg("--web.listen-address=127.0.0.1:0").current_dir(folder.path()).stdout(Stdio::null());
    prometheus.arg("--storage.tsdb.path").arg(folder.path().join("tsdb")).arg("--config.file").arg(config);
    let prometheus = Process::spawn(&mut prometheus);
    let listens = |line: &str| line.split_once("\"Listening on\" address=")?.1.trim().parse().ok();
    let prometheus_http = Client::http1(prometheus.line("the address of Prometheus", listens).await);
    let targets = async {
        loop {
            // While it starts, it answers that it cannot serve yet, in plain text.
            let targets = prometheus_http.get("/api/v1/targets").await;
            let targets: Value = serde_json::from_slice(&targets.body).unwrap_or_default();
            let target = &targets["data"]["activeTargets"][0];
            if target["health"] != "unknown" && !target["health"].is_null() {
                return target.clone();
            }
        }
    };
    let target = patiently("the first scrape", targets).await;
    assert_eq!((&target["health"], &target["lastError"]), (&json!("up"), &json!("")), "{target}");
    let query = async |query: &str| -> Value {
        let query = serde_urlencoded::to_string([("query", query)]).expect("a text");
        let answer = prometheus_http.get(&format!("/api/v1/query?{query}")).await;
        serde_json::from_slice(&answer.body).expect("Prometheus answers JSON")
    };
    // A target is up a moment before its samples can be asked for.
    let samples = async {
        loop {
            let answer = query("sum(wasm_fn_request_latency_seconds_count)").await;
            if answer["data"]["result"][0].is_object() {
                return answer;
            }
        }
    };
    let answer = patiently("the first samples", samples).await;
    assert_eq!(answer["data"]["result"][0]["value"][1], "20", "{answer}");

    let rules = prometheus_http.get("/api/v1/rules").await.ok();
    let rules: Value = serde_json::from_slice(&rules.body).expect("Prometheus answers JSON");
    let groups = rules["data"]["groups"].as_array().expect("there are groups");
    let names: BTreeSet<_> = groups.iter().filter_map(|group| group["name"].as_str()).collect();
    let expected = ["events", "functions", "node", "rollouts"].map(|name| format!("wasm-fn-{name}"));
    assert!(names.into_iter().eq(&expected), "{rules}");
    for (dashboard, seen_min) in [("grafana/node.json", 4), ("grafana/rollout.json", 5)] {
        let text = fs::read_to_string(deployed(dashboard)).expect("it is there");
        let dashboard: Value = serde_json::from_str(&text).expect("it is JSON");
        let mut seen = 0;
        for panel in dashboard["panels"].as_array().expect("it has panels") {
            for target in panel["targets"].as_array().expect("a panel has targets") {
                let expression = target["expr"].as_str().expect("a target has an expression");
                let expression = [("$__rate_interval", "1m"), ("$function", "hello"), ("$stage", "live")]
                    .into_iter()
                    .fold(expression.to_owned(), |text, (name, value)| text.replace(name, value));
                let answer = query(&expression).await;
                assert_eq!(answer["status"], "success", "{expression}: {answer}");
                seen += usize::from(answer["data"]["result"][0].is_object());
            }
        }
        assert!(seen >= seen_min, "only {seen} panels of {} show anything", dashboard["title"]);
    }
}

/// A file for those who run nodes.
fn deployed(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy").join(name)
}

#[tokio::test]
async fn alerts_fire_on_metrics_that_exist() {
    if !starts(Command::new("promtool").arg("--version"), "promtool", "alerts_fire_on_metrics_that_exist") {
        return;
    }
    let folder = deployed("prometheus");
    let tested =
        Command::new("promtool").args(["test", "rules", "alerts_test.yml"]).current_dir(&folder).output();
    let tested = tested.expect("promtool starts");
    let said = [&*tested.stdout, &*tested.stderr].concat();
    assert!(tested.status.success(), "{}", String::from_utf8_lossy(&said));
    let read = |name| fs::read_to_string(folder.join(name)).expect("it is there");
    let (alerts, cases) = (read("alerts.yml"), read("alerts_test.yml"));
    for alert in alerts.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")) {
        assert!(cases.contains(&format!("alertname: {alert}\n")), "{alert} has no case in which it fires");
    }
    let node = Node::start().await;
    let metrics = Client::http1(node.admin).get("/metrics").await.ok().text();
    let is_of_name = |letter: char| letter.is_ascii_lowercase() || letter == '_';
    let words = alerts.split(|letter| !is_of_name(letter));
    let names: BTreeSet<_> = words.filter(|word| word.starts_with("wasm_fn_")).collect();
    assert!(names.len() > 5, "{names:?}");
    for name in names {
        assert!(metrics.contains(&format!("# TYPE {name} ")), "no metric is called {name}:\n{metrics}");
    }
}
