//! How soon a cluster does what it has to. An ordinary run is short, and bounds the times generously.
//!
//! `WASM_FN_TEST_ABORTS`, `WASM_FN_TEST_FUNCTIONS` and `WASM_FN_TEST_COMPONENT_KIB` set how much there is;
//! `WASM_FN_TEST_COMPONENT` names a file to take in the place of one that is made. The times are printed.
//! Figures worth noting come from a build that is optimised:
//!
//! ```console
//! $ WASM_FN_TEST_ABORTS=1000 cargo test --workspace --profile quick --test end-to-end clustered::figures \
//!     -- --nocapture --test-threads=1
//! ```

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use http::{Method, Request, StatusCode};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{Cluster, half, held, setting};
use crate::harness::{Folder, Node, client::Client, guests, patiently};

/// How long after the last abort it is looked for answers of its canary.
const PATIENT: Duration = Duration::from_millis(500);

/// How long a user waits between two requests.
const PACE: Duration = Duration::from_millis(4);

/// The answers of each canary that came last.
#[derive(Default)]
struct Last {
    /// When the last request began that a version answered, by version.
    begun: Mutex<BTreeMap<String, Instant>>,
    errors: Mutex<Vec<String>>,
    ended: AtomicBool,
}

impl Last {
    fn begun(&self) -> MutexGuard<'_, BTreeMap<String, Instant>> {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends requests to `node` until the end.
    async fn watch(self: Arc<Self>, node: std::net::SocketAddr) {
        let client = Client::http1(node);
        while !self.ended.load(SeqCst) {
            let began = Instant::now();
            let request = Request::get(format!("http://{node}/hello")).body("").unwrap();
            match client.send(request).await {
                Ok(answer) if answer.status == StatusCode::OK => {
                    let mut begun = self.begun();
                    let last = begun.entry(answer.header("wasm-fn-version").to_owned()).or_insert(began);
                    *last = began.max(*last);
                }
                other => {
                    let mut errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
                    errors.push(format!("{:?}", other.map(|answer| answer.text())));
                }
            }
            tokio::time::sleep(PACE).await;
        }
    }
}

/// Prints the percentiles of `times`; gives the 99th.
pub(super) fn shown(name: &str, mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    let at = |share: usize| times[(times.len() * share / 100).min(times.len() - 1)];
    println!("{name}: p50 {:?}, p99 {:?}, most {:?}, of {}", at(50), at(99), at(100), times.len());
    at(99)
}

#[tokio::test(flavor = "multi_thread")]
async fn abort_reaches_every_node_at_once() {
    let Some(cluster) = Cluster::on_three("abort_reaches_every_node_at_once").await else { return };
    let nodes: [Node; 5] = cluster.nodes().await;
    nodes[0].deploy_with("hello", "hello-v1", json!({})).await;
    for node in &nodes {
        node.has_state_of(&nodes[0]).await;
        patiently("the first version", async { while node.http.get("/hello").await.status != 200 {} }).await;
    }
    let component = nodes[0].upload(guests::bytes("hello-v2")).await;
    let last = Arc::new(Last::default());
    let users: Vec<_> = nodes
        .iter()
        .flat_map(|node| [node.listen; 2])
        .map(|listen| tokio::spawn(Arc::clone(&last).watch(listen)))
        .collect();
    let mut aborts = Vec::new();
    for number in 0..setting("WASM_FN_TEST_ABORTS", 3) {
        let at = usize::try_from(number).unwrap() % nodes.len();
        let body = json!({
            "component": component, "config": { "env": { "N": number.to_string() } }, "strategy": half(),
            "rollout": held(), "allow_new": true,
        });
        let path = "/v1/functions/hello/deployments";
        let result = nodes[at].api_ok(Method::POST, path, Some(&body)).await;
        let canary = result["version"].as_str().unwrap().to_owned();
        for node in &nodes {
            node.has_state_of(&nodes[at]).await;
        }
        patiently("an answer of the canary", async {
            while !last.begun().contains_key(&canary) {
                tokio::time::sleep(PACE).await;
            }
        })
        .await;
        let aborted = Instant::now();
        let other = &nodes[(at + 1) % nodes.len()];
        other.api_ok(Method::POST, "/v1/functions/hello/abort", Some(&json!({}))).await;
        aborts.push((canary, aborted));
    }
    // Every user sends some more: an answer of the last canary that is late would be found.
    let seen = Instant::now();
    patiently("more answers", async {
        while last.begun().get("v1").is_none_or(|begun| *begun < seen + PATIENT) {
            tokio::time::sleep(PACE).await;
        }
    })
    .await;
    last.ended.store(true, SeqCst);
    for user in users {
        user.await.unwrap();
    }
    let errors = last.errors.lock().unwrap_or_else(PoisonError::into_inner).clone();
    assert_eq!(errors, Vec::<String>::new());
    let begun = last.begun().clone();
    let times = aborts.iter().map(|(canary, aborted)| begun[canary].saturating_duration_since(*aborted));
    let late =
        shown("from an abort to the last request that began on the canary, on five nodes", times.collect());
    assert!(late < Duration::from_secs(2), "{late:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn node_that_joins_serves_soon() {
    let Some(cluster) = Cluster::on_three("node_that_joins_serves_soon").await else { return };
    let [a] = cluster.nodes().await;
    let component = a.upload(guests::bytes("hello-v1")).await;
    let functions = setting("WASM_FN_TEST_FUNCTIONS", 20);
    let began = Instant::now();
    for number in 0..functions {
        let body = json!({ "component": component, "config": {}, "allow_new": true });
        a.api_ok(Method::POST, &format!("/v1/functions/f{number}/deployments"), Some(&body)).await;
    }
    println!("{functions} functions deployed one after the other in {:?}", began.elapsed());
    let began = Instant::now();
    let b = cluster.node_on(Folder::new(), "b").await;
    patiently("a node that is ready", async {
        while b.api(Method::GET, "/readyz", None).await.status != StatusCode::OK {}
    })
    .await;
    let last = format!("/f{}", functions - 1);
    patiently("an answer", async { while b.http.get(&last).await.status != StatusCode::OK {} }).await;
    let took = began.elapsed();
    println!("a node that joins a cluster with {functions} functions serves after {took:?}");
    assert!(took < Duration::from_secs(60), "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn large_component_is_compiled_once() {
    let Some(cluster) = Cluster::on_three("large_component_is_compiled_once").await else { return };
    let large = match std::env::var_os("WASM_FN_TEST_COMPONENT") {
        Some(file) => std::fs::read(file).expect("the component can be read"),
        None => large_module(usize::try_from(setting("WASM_FN_TEST_COMPONENT_KIB", 200)).unwrap() << 10),
    };
    let alone = Node::start().await;
    let took_alone = first_traffic(&[alone], &large).await;
    let nodes: [Node; 5] = cluster.nodes().await;
    let took = first_traffic(&nodes, &large).await;
    let share = took.as_secs_f64() / took_alone.as_secs_f64();
    println!("{} KiB: {took_alone:?} on one node, {took:?} on five, {share:.2} times", large.len() >> 10);
    // The nodes of an ordinary run share a machine with other tests.
    assert!(share < 10.0, "{share}");
}

/// How long it takes from a deployment of `large` to its first answer on each of `nodes`.
async fn first_traffic(nodes: &[Node], large: &[u8]) -> Duration {
    nodes[0].deploy_with("hello", "hello-v1", json!({})).await;
    for node in nodes {
        node.has_state_of(&nodes[0]).await;
        patiently("the first version", async { while node.http.get("/hello").await.status != 200 {} }).await;
    }
    let component = nodes[0].upload(large.to_vec()).await;
    let body: Value = json!({ "component": component, "config": {}, "allow_new": true });
    let began = Instant::now();
    nodes[0].api_ok(Method::POST, "/v1/functions/hello/deployments", Some(&body)).await;
    for node in nodes {
        let answered = async {
            loop {
                let answer = node.http.get("/hello").await;
                assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
                if answer.header("wasm-fn-version") == "v2" {
                    return;
                }
            }
        };
        patiently("the large version", answered).await;
    }
    began.elapsed()
}

/// A command module of about this size, nearly all of it code.
pub(super) fn large_module(bytes: usize) -> Vec<u8> {
    /// Bytes of a function's code.
    const BODY: usize = 4 << 10;
    let text = r#"(module
        (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 1)
        (data (i32.const 32) "Content-Type: text/plain\n\nlarge\n")
        (data (i32.const 0) "\20\00\00\00\20\00\00\00")
        (func (export "_start") (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))
        FUNCTIONS)"#;
    // Something for a compiler to do: nothing of it is constant.
    let step = "(local.set 0 (i32.mul (i32.xor (local.get 0) (i32.const 305419896)) (local.get 1)))";
    let steps = step.repeat(BODY / 13);
    let function = format!("(func (param i32 i32) (result i32) {steps} (local.get 0))");
    let one = wat::parse_str(text.replace("FUNCTIONS", &function)).expect("it is a module").len();
    let count = bytes.div_ceil(one);
    wat::parse_str(text.replace("FUNCTIONS", &function.repeat(count))).expect("it is a module")
}
