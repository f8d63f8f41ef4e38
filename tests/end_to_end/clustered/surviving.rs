//! What stops, dies or falls silent in a cluster loses no change and keeps no version that was taken back.
//!
//! `WASM_FN_TEST_SCHEDULES` sets how many faults there are; the seed is printed and can be set as
//! `WASM_FN_TEST_SEED`.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use http::{Method, Request};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{Cluster, setting};
use crate::harness::{Node, client::Client, guests, patiently};

/// Faults of an ordinary run.
const ORDINARY: u64 = 6;

/// How long a version that was taken back may still answer: the lease, and what a busy machine adds.
const LEASE: Duration = Duration::from_millis(2500);

/// How long a user waits between two requests.
const PACE: Duration = Duration::from_millis(10);

/// How long a fault lasts: longer than the lease, so that others take over.
const FAULT: Duration = Duration::from_secs(3);

/// What clients saw and commands were told, over all nodes.
#[derive(Default)]
struct Seen {
    /// When the end of a version was acknowledged.
    withdrawn: Mutex<BTreeMap<String, Instant>>,
    /// What was wrong.
    wrong: Mutex<Vec<String>>,
    answers: AtomicU64,
    ended: AtomicBool,
}

impl Seen {
    fn withdrawn(&self) -> MutexGuard<'_, BTreeMap<String, Instant>> {
        self.withdrawn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wrong(&self, what: String) {
        self.wrong.lock().unwrap_or_else(PoisonError::into_inner).push(what);
    }
}

/// A client of one node, which sends one request after the other until the test ends.
struct User {
    /// Whether the node is meant to answer.
    up: Arc<AtomicBool>,
    /// Where it is.
    at: Arc<Mutex<SocketAddr>>,
}

impl User {
    fn start(name: &'static str, node: &Node, seen: &Arc<Seen>) -> Self {
        let user = Self { up: Arc::new(AtomicBool::new(true)), at: Arc::new(Mutex::new(node.listen)) };
        let (up, at, seen) = (Arc::clone(&user.up), Arc::clone(&user.at), Arc::clone(seen));
        tokio::spawn(async move {
            while !seen.ended.load(SeqCst) {
                let address = *at.lock().unwrap_or_else(PoisonError::into_inner);
                let was_up = up.load(SeqCst);
                let began = Instant::now();
                let request = Request::get(format!("http://{address}/hello")).body("").unwrap();
                match Client::http1(address).send(request).await {
                    Ok(answer) if answer.status == 200 => {
                        seen.answers.fetch_add(1, SeqCst);
                        let version = answer.header("wasm-fn-version").to_owned();
                        let withdrawn = seen.withdrawn().get(&version).copied();
                        if let Some(late) = withdrawn.and_then(|at| began.checked_duration_since(at))
                            && late > LEASE
                        {
                            seen.wrong(format!("{version} answers on {name} {late:?} after its end"));
                        }
                    }
                    // A node that is killed takes its requests with it, and one that starts has no code yet.
                    Ok(answer) if was_up && up.load(SeqCst) => {
                        seen.wrong(format!("{name} answered {} {}", answer.status, answer.text()));
                    }
                    Err(error) if was_up && up.load(SeqCst) => seen.wrong(format!("{name}: {error:?}")),
                    Ok(_) | Err(_) => {}
                }
                // As often as the other tests on this machine can bear.
                tokio::time::sleep(PACE).await;
            }
        });
        user
    }
}

/// The faults that a cluster has to survive.
#[derive(Clone, Copy, Debug)]
enum Fault {
    KillNode,
    StopNode,
    KillServer,
    StopServer,
    KillBroker,
    StopBroker,
}

const FAULTS: [Fault; 6] = [
    Fault::KillNode,
    Fault::StopNode,
    Fault::KillServer,
    Fault::StopServer,
    Fault::KillBroker,
    Fault::StopBroker,
];

const NAMES: [&str; 3] = ["a", "b", "c"];

/// A cluster under faults.
struct Tried {
    cluster: Cluster,
    nodes: Vec<Option<Node>>,
    users: Vec<User>,
    seen: Arc<Seen>,
    dice: StdRng,
    component: String,
    made: u64,
    /// The versions that were acknowledged, and the highest revision that was.
    versions: BTreeSet<String>,
    revision: u64,
}

impl Tried {
    /// A node that runs and was not stopped.
    fn any(&mut self) -> usize {
        let there: Vec<_> = (0..self.nodes.len()).filter(|&at| self.users[at].up.load(SeqCst)).collect();
        there[self.dice.random_range(0..there.len())]
    }

    /// Has some node make a change. What is refused for want of a broker is no fault.
    async fn change(&mut self) {
        let at = self.any();
        let node = self.nodes[at].as_ref().expect("it runs");
        let canary = json!({ "name": "canary", "steps": ["30%"] });
        // What other nodes count is not waited for.
        let path = format!("/v1/functions/hello?node={}", NAMES[at]);
        let status = node.api_ok(Method::GET, &path, None).await;
        let canary_now = status["stages"][0]["rollout"]["canary"].as_str().map(str::to_owned);
        if let Some(version) = canary_now {
            let answer = node.api(Method::POST, "/v1/functions/hello/abort", Some(&json!({}))).await;
            if answer.status == 200 {
                self.seen.withdrawn().entry(version).or_insert_with(Instant::now);
                self.acknowledged(&answer.text());
            }
            return;
        }
        self.made += 1;
        let body = json!({
            "component": self.component, "config": { "env": { "N": self.made.to_string() } },
            "strategy": canary, "rollout": { "step_min_ms": 3_600_000 }, "allow_new": true,
        });
        let answer = node.api(Method::POST, "/v1/functions/hello/deployments", Some(&body)).await;
        if answer.status == 200 {
            let text = answer.text();
            let result: Value = serde_json::from_str(&text).expect("an answer is JSON");
            self.versions.insert(result["version"].as_str().expect("a version").to_owned());
            self.acknowledged(&text);
        }
    }

    fn acknowledged(&mut self, text: &str) {
        let result: Value = serde_json::from_str(text).expect("an answer is JSON");
        self.revision = self.revision.max(result["revision"].as_u64().unwrap_or(0));
    }

    /// Changes go on for `time`.
    async fn go_on(&mut self, time: Duration) {
        let until = Instant::now() + time;
        while Instant::now() < until {
            self.change().await;
        }
    }

    async fn suffer(&mut self, fault: Fault) {
        match fault {
            Fault::KillNode => {
                let at = self.any();
                self.users[at].up.store(false, SeqCst);
                let folder = self.nodes[at].take().expect("it runs").kill().await;
                self.go_on(FAULT).await;
                let node = self.cluster.node_on(folder, NAMES[at]).await;
                *self.users[at].at.lock().unwrap_or_else(PoisonError::into_inner) = node.listen;
                patiently("a node that is ready", async {
                    while node.api(Method::GET, "/readyz", None).await.status != 200 {}
                })
                .await;
                self.nodes[at] = Some(node);
                self.users[at].up.store(true, SeqCst);
            }
            Fault::StopNode => {
                let at = self.any();
                self.users[at].up.store(false, SeqCst);
                let node = self.nodes[at].as_ref().expect("it runs");
                node.process().signal(Signal::STOP);
                self.go_on(FAULT).await;
                self.nodes[at].as_ref().expect("it runs").process().signal(Signal::CONT);
                self.users[at].up.store(true, SeqCst);
            }
            Fault::KillServer | Fault::KillBroker => {
                let which = self.servers(matches!(fault, Fault::KillBroker));
                which.iter().for_each(|&at| self.cluster.brokers[at].kill());
                self.go_on(FAULT).await;
                which.iter().for_each(|&at| self.cluster.brokers[at].start_again());
            }
            Fault::StopServer | Fault::StopBroker => {
                let which = self.servers(matches!(fault, Fault::StopBroker));
                which.iter().for_each(|&at| self.cluster.brokers[at].signal(Signal::STOP));
                self.go_on(FAULT).await;
                which.iter().for_each(|&at| self.cluster.brokers[at].signal(Signal::CONT));
            }
        }
        for node in self.nodes.iter().flatten() {
            node.in_cluster("a node in touch", |view| view["in_touch"] == true).await;
        }
    }

    fn servers(&mut self, all: bool) -> Vec<usize> {
        if all { (0..3).collect() } else { vec![self.dice.random_range(0..3)] }
    }
}

#[tokio::test]
async fn whatever_stops_no_change_is_lost_and_no_version_comes_back() {
    let test = "whatever_stops_no_change_is_lost_and_no_version_comes_back";
    let Some(cluster) = Cluster::on_three(test).await else { return };
    let seed = setting("WASM_FN_TEST_SEED", rand::random());
    println!("WASM_FN_TEST_SEED={seed}");
    let nodes: [Node; 3] = cluster.nodes().await;
    nodes[0].deploy_with("hello", "hello-v1", json!({})).await;
    for node in &nodes {
        node.has_state_of(&nodes[0]).await;
        patiently("the first version", async { while node.http.get("/hello").await.status != 200 {} }).await;
    }
    let component = nodes[0].upload(guests::bytes("hello-v2")).await;
    let seen = Arc::new(Seen::default());
    let users = NAMES.iter().zip(&nodes).map(|(name, node)| User::start(name, node, &seen)).collect();
    let mut tried = Tried {
        cluster,
        nodes: nodes.into_iter().map(Some).collect(),
        users,
        seen: Arc::clone(&seen),
        dice: StdRng::seed_from_u64(seed),
        component,
        made: 0,
        versions: BTreeSet::new(),
        revision: 0,
    };
    for number in 0..setting("WASM_FN_TEST_SCHEDULES", ORDINARY) {
        let fault = FAULTS[usize::try_from(number).unwrap() % FAULTS.len()];
        tried.go_on(Duration::from_millis(500)).await;
        tried.suffer(fault).await;
        let wrong = seen.wrong.lock().unwrap_or_else(PoisonError::into_inner).clone();
        assert!(wrong.is_empty(), "after {number} faults, the last {fault:?}: {wrong:#?}");
    }
    seen.ended.store(true, SeqCst);
    let nodes: Vec<_> = tried.nodes.iter().flatten().collect();
    let newest = nodes[0].revision().await;
    assert!(newest >= tried.revision, "revision {} was acknowledged, found {newest}", tried.revision);
    let mut heads = BTreeSet::new();
    for node in &nodes {
        node.has_state_of(nodes[0]).await;
        heads.insert(node.cli_json(&["audit", "verify"]).await.to_string());
        let versions = node.api_ok(Method::GET, "/v1/functions/hello/versions", None).await;
        let listed = versions["versions"].as_array().unwrap().iter();
        let found: BTreeSet<_> = listed.map(|version| version["version"].as_str().unwrap()).collect();
        // A function keeps the newest versions that are not used.
        let lost = tried.versions.iter().filter(|version| !found.contains(version.as_str()));
        assert!(
            found.len() >= 50 || lost.count() == 0,
            "{:?} were deployed, found {found:?}",
            tried.versions
        );
    }
    assert_eq!(heads.len(), 1, "one chain of hashes: {heads:?}");
    let answers = seen.answers.load(SeqCst);
    println!("{answers} answers, {} versions, revision {newest}", tried.versions.len());
    assert!(!tried.versions.is_empty() && answers > 100);
}
