//! What a cluster does at a rate: changes, deployments, and requests of which a canary fails its share.
//!
//! An ordinary run is short, and bounds the times generously. `WASM_FN_TEST_CHANGES`,
//! `WASM_FN_TEST_DEPLOYMENTS`, `WASM_FN_TEST_VERDICTS` and `WASM_FN_TEST_RATE` set how much there is; the
//! figures are printed, as those of `figures` are.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use http::{Method, Request, StatusCode};
use serde_json::{Value, json};
use tokio::{
    task::JoinHandle,
    time::{Instant, MissedTickBehavior},
};

use super::{Cluster, figures::shown, setting};
use crate::harness::{Node, client::Client, guests, patiently};

/// Users who send requests one after the other, each at the same pace, until they are ended.
struct Users {
    answers: Arc<AtomicU64>,
    errors: Arc<Mutex<Vec<String>>>,
    ended: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Users {
    /// Users who send `rate` requests a second to `nodes`, all together, each node as many.
    fn start(nodes: &[Node], rate: u64) -> Self {
        /// Requests a second of one user.
        const EACH: u64 = 40;
        let per_node = usize::try_from(rate / EACH).unwrap().div_ceil(nodes.len()).max(1);
        let count = per_node * nodes.len();
        let pace = Duration::from_secs_f64(count as f64 / rate as f64);
        let mut users = Self {
            answers: Arc::default(),
            errors: Arc::default(),
            ended: Arc::default(),
            tasks: Vec::new(),
        };
        for node in nodes {
            for number in 0..per_node {
                // They do not all send at the same moment.
                let offset = pace.mul_f64(number as f64 / per_node as f64);
                users.tasks.push(tokio::spawn(users.user(node.listen, offset, pace)));
            }
        }
        users
    }

    fn user(&self, node: SocketAddr, offset: Duration, pace: Duration) -> impl Future<Output = ()> + use<> {
        let (answers, errors) = (Arc::clone(&self.answers), Arc::clone(&self.errors));
        let ended = Arc::clone(&self.ended);
        async move {
            let client = Client::http1(node);
            let mut ticks = tokio::time::interval_at(Instant::now() + offset, pace);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
            while !ended.load(SeqCst) {
                ticks.tick().await;
                let request = Request::get(format!("http://{node}/hello")).body("").unwrap();
                match client.send(request).await {
                    Ok(answer) if answer.status == StatusCode::OK => {
                        answers.fetch_add(1, SeqCst);
                    }
                    other => {
                        let mut errors = errors.lock().unwrap_or_else(PoisonError::into_inner);
                        errors.push(format!("{:?}", other.map(|answer| answer.text())));
                    }
                }
            }
        }
    }

    /// Ends them; gives how many answers they had, each of them good.
    async fn end(self) -> u64 {
        self.ended.store(true, SeqCst);
        for task in self.tasks {
            task.await.unwrap();
        }
        let errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner).clone();
        assert_eq!(errors, Vec::<String>::new());
        self.answers.load(SeqCst)
    }
}

/// Waits until every node answers with the version that the first one has.
async fn serve_hello(nodes: &[Node]) {
    nodes[0].deploy_with("hello", "hello-v1", json!({})).await;
    for node in nodes {
        node.has_state_of(&nodes[0]).await;
        patiently("the first version", async { while node.http.get("/hello").await.status != 200 {} }).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn change_is_published_on_all_nodes_at_once() {
    let Some(cluster) = Cluster::on_three("change_is_published_on_all_nodes_at_once").await else { return };
    let nodes: [Node; 5] = cluster.nodes().await;
    serve_hello(&nodes).await;
    let users = Users::start(&nodes, setting("WASM_FN_TEST_RATE", 100));
    let mut times = Vec::new();
    for number in 0..setting("WASM_FN_TEST_CHANGES", 5) {
        let at = usize::try_from(number).unwrap() % nodes.len();
        let body = json!({ "name": format!("user{number}"), "rights": { "roles": ["viewer"] } });
        let before = nodes[at].revision().await;
        let began = Instant::now();
        nodes[at].api_ok(Method::POST, "/v1/tokens", Some(&body)).await;
        let published = nodes.iter().map(async |node| {
            patiently("the change", async { while node.revision().await <= before {} }).await;
        });
        futures_util::future::join_all(published).await;
        times.push(began.elapsed());
    }
    users.end().await;
    let late = shown("from the request of a change to its publication on all of five nodes", times);
    assert!(late < Duration::from_secs(5), "{late:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn deployments_at_a_rate_are_all_kept() {
    /// Deployments a second.
    const RATE: u64 = 10;
    let Some(cluster) = Cluster::on_three("deployments_at_a_rate_are_all_kept").await else { return };
    let nodes: [Node; 5] = cluster.nodes().await;
    let component = nodes[0].upload(guests::bytes("hello-v1")).await;
    let count = setting("WASM_FN_TEST_DEPLOYMENTS", 10);
    let nodes = Arc::new(nodes);
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / u32::try_from(RATE).unwrap());
    let mut tasks = Vec::new();
    for number in 0..count {
        ticks.tick().await;
        let (nodes, component) = (Arc::clone(&nodes), component.clone());
        tasks.push(tokio::spawn(async move {
            let began = Instant::now();
            let node = &nodes[usize::try_from(number).unwrap() % nodes.len()];
            let body = json!({ "component": component, "config": {}, "allow_new": true });
            let path = format!("/v1/functions/f{number}/deployments");
            node.api_ok(Method::POST, &path, Some(&body)).await["revision"].as_u64().expect("a revision");
            began.elapsed()
        }));
    }
    let last = Instant::now();
    let mut times = Vec::new();
    for task in tasks {
        times.push(task.await.unwrap());
    }
    let answered = last.elapsed();
    for node in nodes.iter() {
        for number in 0..count {
            let path = format!("/f{number}");
            patiently("a function that was acknowledged", async {
                while node.http.get(&path).await.status != StatusCode::OK {}
            })
            .await;
        }
    }
    let all = last.elapsed();
    shown("a deployment, ten a second", times);
    println!(
        "{count} deployments: the last is answered after {answered:?}, all answer everywhere after {all:?}"
    );
    assert!(answered < Duration::from_secs(20), "{answered:?}");
}

/// What it took to take back a canary that always fails.
struct Verdict {
    /// Requests that the canary ran to the end before the verdict.
    requests: u64,
    /// How long after the verdict the last one ended.
    late: Duration,
}

/// Takes back a canary that always fails, under a load of `rate` requests a second over `nodes`.
async fn verdict(nodes: &[Node], rate: u64) -> Verdict {
    let body = json!({
        "component": nodes[0].upload(guests::bytes("broken")).await, "allow_new": true,
        "config": { "env": { "N": rand::random::<u64>().to_string() } },
        "strategy": { "name": "canary", "steps": ["10%"] }, "rollout": { "step_min_ms": 3_600_000 },
    });
    let users = Users::start(nodes, rate);
    let deployed = nodes[0].api_ok(Method::POST, "/v1/functions/hello/deployments", Some(&body)).await;
    let canary = deployed["version"].as_str().expect("a version");
    let ended = patiently("the end of the rollout", async {
        loop {
            let ended = nodes[0].live("hello").await["last_rollout"].take();
            if ended["canary"] == canary {
                return ended;
            }
        }
    })
    .await;
    for node in nodes {
        node.has_state_of(&nodes[0]).await;
    }
    // What still began on the canary would end while these are answered.
    let before = users.answers.load(SeqCst);
    patiently("more answers", async {
        while users.answers.load(SeqCst) < before + rate / 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    users.end().await;
    assert_eq!(ended["outcome"], "aborted", "{ended}");
    let ended_ms = ended["ended_ms"].as_u64().expect("a time");
    let mut last = 0;
    for node in nodes {
        let lines = node.logs("hello").await;
        let lines = lines.iter().filter(|line| line["version"] == canary);
        last = lines.filter_map(|line| line["at_ms"].as_u64()).max().unwrap_or(0).max(last);
    }
    assert!(last > 0, "the canary has run and failed");
    let live = nodes[0].live("hello").await;
    let versions = live["versions"].as_array().expect("versions");
    let count = |version: &Value| version["tally"]["requests"].as_u64();
    let all = versions.iter().find(|version| version["version"] == canary).and_then(count);
    println!("{}; {all:?} in all, {} ms after it", ended["reason"], last.saturating_sub(ended_ms));
    Verdict {
        requests: ended["evidence"]["canary"]["requests"].as_u64().expect("a number"),
        late: Duration::from_millis(last.saturating_sub(ended_ms)),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn failing_canary_needs_as_few_requests_as_on_one_node() {
    let test = "failing_canary_needs_as_few_requests_as_on_one_node";
    let Some(cluster) = Cluster::on_three(test).await else { return };
    let (rate, rounds) = (setting("WASM_FN_TEST_RATE", 200), setting("WASM_FN_TEST_VERDICTS", 1));
    let alone = [Node::start().await];
    serve_hello(&alone).await;
    let nodes: [Node; 5] = cluster.nodes().await;
    serve_hello(&nodes).await;
    let (mut one, mut five, mut late) = (0, 0, Vec::new());
    for _ in 0..rounds {
        one += verdict(&alone, rate).await.requests;
        let verdict = verdict(&nodes, rate).await;
        five += verdict.requests;
        late.push(verdict.late);
    }
    let share = five as f64 / one as f64;
    println!("{rate} requests a second: {one} of one node's canary, {five} of five nodes', {share:.2} times");
    let late = shown("from a failed verdict to the canary's last answer on any of five nodes", late);
    // The nodes of an ordinary run share a machine with other tests.
    assert!(share < 10.0 && late < Duration::from_secs(5), "{share} {late:?}");
}
