//! Steps by cohort: who is on the canary in them, what stops them, and what passes them.

use http::Method;
use serde_json::{Value, json};

use crate::harness::{Node, guests};

const BETA: &[(&str, &str)] = &[("x-group", "beta")];

/// A configuration that has the cohort `beta`.
fn beta() -> Value {
    json!({ "cohorts": [{ "name": "beta", "header": "x-group", "values": ["beta"], "to": "canary" }] })
}

fn canary(steps: &[&str]) -> Value {
    json!({ "name": "canary", "steps": steps })
}

impl Node {
    /// Rounds of one request of the cohort and two of others, which must be answered well; gives by which
    /// versions.
    async fn rounds(&self, rounds: usize) -> (Vec<String>, Vec<String>) {
        let (mut cohort, mut others) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            cohort.push(self.http.get_as("/hello", BETA).await.ok().version().to_owned());
            for _ in 0..2 {
                others.push(self.http.get("/hello").await.ok().version().to_owned());
            }
        }
        (cohort, others)
    }

    /// The numbers of the rollout's gate.
    async fn evidence(&self) -> Value {
        self.live("hello").await["rollout"]["gate"]["evidence"].clone()
    }

    /// Requests that the node counts of `version`.
    async fn requests_of(&self, version: &str) -> u64 {
        let live = self.live("hello").await;
        let found = live["versions"].as_array().unwrap().iter().find(|found| found["version"] == version);
        found.map_or(0, |found| found["tally"]["requests"].as_u64().unwrap())
    }
}

#[tokio::test]
async fn broken_canary_meets_a_few_of_the_cohort_and_nobody_else() {
    for past in [0, 120] {
        let node = Node::start().await;
        node.deploy_with("hello", "hello-v1", beta()).await;
        node.rounds(past).await;
        let deployed = node.roll_out("broken", beta(), canary(&["beta", "50%"]), json!({})).await;
        assert_eq!((&deployed["rollout"]["step"], &deployed["rollout"]["weight"]), (&json!(1), &json!("0%")));
        let mut asked = 0;
        while !node.live("hello").await["rollout"].is_null() {
            // The canary fails them all, and the shield answers.
            let (cohort, others) = node.rounds(1).await;
            assert_eq!((cohort, others), (vec!["v1".to_owned()], vec!["v1".to_owned(); 2]));
            asked += 1;
            assert!(asked <= 1000, "the rollout outlives 1,000 requests of the cohort");
        }
        let ended = node.live("hello").await["last_rollout"].clone();
        assert_eq!(ended["outcome"], "aborted", "{ended}");
        let evidence = &ended["evidence"];
        eprintln!("after {past} rounds on v1 alone, aborted after {asked} rounds: {}", ended["reason"]);
        assert_eq!(evidence["canary"]["requests"], 0, "{ended}");
        assert_eq!(evidence["cohort"]["requests"], evidence["cohort"]["failures"], "{ended}");
        // The canary is withheld from then on, while the journal is written.
        let on_canary = node.requests_of("v2").await;
        assert_eq!(Some(on_canary), evidence["cohort"]["requests"].as_u64(), "{ended}");
        assert!(on_canary <= 20, "{on_canary} requests of the cohort were on the canary");
    }
}

#[tokio::test]
async fn good_canary_passes_its_cohort_by_the_requests_of_that() {
    let node = Node::start().await;
    node.deploy_with("hello", "hello-v1", beta()).await;
    let quick = json!({ "step_min_ms": 1, "watch_ms": 1 });
    node.roll_out("hello-v2", beta(), canary(&["50% of beta", "beta", "50%"]), quick).await;
    // Others alone bring it nowhere.
    for _ in 0..50 {
        assert_eq!(node.http.get("/hello").await.ok().version(), "v1");
    }
    let live = node.live("hello").await;
    assert_eq!((&live["rollout"]["step"], &live["rollout"]["gate"]["requests"]), (&json!(1), &json!(0)));
    let (mut shown, mut seen) = (String::new(), vec![]);
    while !node.live("hello").await["rollout"].is_null() {
        let before = node.live("hello").await["rollout"]["step"].clone();
        let (cohort, others) = node.rounds(1).await;
        // Of a step that did not end meanwhile.
        if before == node.live("hello").await["rollout"]["step"] {
            seen.push((before.as_u64(), cohort, others));
        }
        if before == 2 && shown.is_empty() {
            shown = node.cli_ok(&["status", "hello"]).await;
        }
    }
    assert!(shown.contains("2 of 4: cohort beta\n") || shown.contains("3 of 4"), "{shown}");
    for (step, cohort, others) in &seen {
        let on_canary = |versions: &[String]| versions.iter().filter(|version| *version == "v2").count();
        match step {
            Some(1) => assert_eq!(on_canary(others), 0),
            Some(2) => assert_eq!((on_canary(cohort), on_canary(others)), (1, 0)),
            _ => {}
        }
    }
    let ended = node.live("hello").await["last_rollout"].clone();
    assert_eq!(ended["outcome"], "promoted", "{ended}");
    let page = node.api_ok(Method::GET, "/v1/functions/hello/history", None).await;
    let entries: Vec<_> = page["entries"].as_array().unwrap().iter().rev().collect();
    let actions: Vec<_> = entries.iter().map(|entry| entry["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["deploy", "deploy", "step", "step", "promote", "settle"]);
    let steps: Vec<_> = entries.iter().map(|entry| entry["step"].as_str().unwrap_or_default()).collect();
    assert_eq!(steps, ["", "50% of beta", "beta", "50%", "", ""]);
    for entry in &entries[2..4] {
        let evidence = &entry["evidence"];
        assert_eq!(evidence["canary"]["requests"], 0, "{entry}");
        assert!(evidence["cohort"]["requests"].as_u64().unwrap() >= 20, "{entry}");
    }
    let history = node.cli_ok(&["history", "hello"]).await;
    assert!(history.contains("v1=100%, 50% of cohort beta on v2"), "{history}");
}

#[tokio::test]
async fn cohort_is_shielded_before_a_blue_green_switch() {
    let node = Node::start().await;
    node.deploy_with("hello", "hello-v1", beta()).await;
    node.rounds(120).await;
    node.roll_out("broken", beta(), json!({ "name": "blue-green" }), json!({})).await;
    let (cohort, others) = node.rounds(1).await;
    assert_eq!((cohort, others), (vec!["v1".to_owned()], vec!["v1".to_owned(); 2]));
    let evidence = node.evidence().await;
    assert_eq!((&evidence["cohort"]["requests"], &evidence["cohort"]["failures"]), (&json!(1), &json!(1)));
    while !node.live("hello").await["rollout"].is_null() {
        node.rounds(1).await;
    }
    assert_eq!(node.live("hello").await["last_rollout"]["outcome"], "aborted");
}

#[tokio::test]
async fn step_by_a_cohort_that_stable_does_not_have_is_refused() {
    let node = Node::start().await;
    let file = guests::path("hello-v2");
    let file = file.to_str().expect("the path is text");
    // The first deployment is live at once, whatever its steps.
    node.deploy_with("hello", "hello-v1", json!({})).await;
    let toml = "[function.hello]\ncohorts = [{ name = \"beta\", header = \"x-group\", in = [\"beta\"], to = \"canary\" }]\n";
    let steps = "[function.hello.rollout]\nstrategy = \"canary\"\nsteps = [\"beta\", \"10%\"]\n";
    node.folder().write("wasm-fn.toml", format!("{toml}{steps}"));
    let done = node.cli(&["deploy", file, "-f", "hello"]).await;
    done.refused(&[
        "step 1",
        "`beta`",
        "v1",
        "no cohort with that name",
        "once it is promoted",
        "expected no step by cohort",
    ]);
    assert_eq!(node.requests_of("v2").await, 0);
    assert!(node.live("hello").await["rollout"].is_null());
    // With the rule on everybody's version, it goes.
    node.cli_ok(&["deploy", file, "-f", "hello", "--all-at-once"]).await;
    let file = guests::path("hello-p3");
    let file = file.to_str().expect("the path is text");
    let done = node.cli(&["deploy", file, "-f", "hello", "--canary=internal,10%"]).await;
    done.refused(&["step 1 is `internal`", "v2", "expected its cohort beta"]);
    let done = node.cli(&["deploy", file, "-f", "hello"]).await.ok();
    assert!(done.stdout.contains("step 1 of 3: cohort beta"), "{}", done.stdout);
    let shown = node.cli_ok(&["status", "hello"]).await;
    assert!(shown.contains("step     1 of 3: cohort beta\n"), "{shown}");
    assert!(shown.contains("0 requests of the cohort, 100 needed"), "{shown}");
    let promoted = node.cli_ok(&["promote", "hello"]).await;
    assert!(promoted.contains("v3 is canary at step 2 of 3,"), "{promoted}");
}

#[tokio::test]
async fn killed_node_keeps_its_cohort_on_the_canary() {
    let node = Node::start().await;
    node.deploy_with("hello", "hello-v1", beta()).await;
    node.roll_out("hello-v2", beta(), canary(&["beta", "10%"]), json!({})).await;
    let placed = (vec!["v2".to_owned()], vec!["v1".to_owned(); 2]);
    assert_eq!(node.rounds(1).await, placed);
    let node = Node::start_on(node.kill().await, &[]).await;
    assert_eq!(node.rounds(1).await, placed);
    let rollout = node.live("hello").await["rollout"].clone();
    assert_eq!(
        (&rollout["step"], &rollout["steps"]),
        (&json!(1), &json!(["beta", "10%", "100%"])),
        "{rollout}"
    );
    assert_eq!(rollout["gate"]["reason"], "1 requests of the cohort, 20 needed");
}
