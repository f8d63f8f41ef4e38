//! Rollouts that decide for themselves: real guests, real load, and what users see of it.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use http::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::harness::{
    Node,
    client::{Client, Origin},
    command::Done,
    guests, patiently,
};

/// A gate that needs few requests, and steps that last as long as a test likes to.
fn quick(step_ms: u64, watch_ms: u64) -> Value {
    json!({ "step_min_ms": step_ms, "watch_ms": watch_ms })
}

impl Node {
    /// Deploys to `hello` under a gate that needs 20 requests.
    pub(crate) async fn roll_out(
        &self,
        guest: &str,
        config: Value,
        strategy: Value,
        rollout: Value,
    ) -> Value {
        let component = self.upload(guests::bytes(guest)).await;
        let gate = json!({ "min_requests": 20 });
        let body = json!({
            "component": component, "config": config, "strategy": strategy, "rollout": rollout, "gate": gate,
            "allow_new": true,
        });
        self.api_ok(Method::POST, "/v1/functions/hello/deployments", Some(&body)).await
    }

    /// The live stage, once its rollout has ended.
    async fn rollout_ended(&self) -> Value {
        patiently("the end of the rollout", async {
            loop {
                let live = self.live("hello").await;
                if live["rollout"].is_null() {
                    return live["last_rollout"].clone();
                }
                tokio::task::yield_now().await;
            }
        })
        .await
    }

    /// The live stage, once its rollout is in `phase`.
    async fn in_phase(&self, phase: &str) -> Value {
        patiently(phase, async {
            loop {
                let live = self.live("hello").await;
                if live["rollout"]["phase"] == phase {
                    return live;
                }
                tokio::task::yield_now().await;
            }
        })
        .await
    }

    /// `wasm-fn deploy` of a prebuilt guest to `hello`.
    async fn try_release(&self, guest: &str, flags: &[&str]) -> Done {
        let file = guests::path(guest);
        let file = file.to_str().expect("the path is text");
        self.cli(&[&["deploy", file, "-f", "hello"], flags].concat()).await
    }
}

/// Clients that ask for `/hello` again and again until they are told to stop.
struct Load {
    stop: Arc<AtomicBool>,
    seen: Arc<Seen>,
    clients: Vec<tokio::task::JoinHandle<()>>,
}

#[derive(Default)]
struct Seen {
    answers: Mutex<BTreeMap<(u16, String), u64>>,
    total: AtomicU64,
}

impl Seen {
    fn answers(&self) -> MutexGuard<'_, BTreeMap<(u16, String), u64>> {
        self.answers.lock().expect("clients do not panic")
    }
}

impl Load {
    fn start(node: &Node, clients: usize, path: &str) -> Self {
        let (stop, seen) = (Arc::new(AtomicBool::new(false)), Arc::new(Seen::default()));
        let client = |_| {
            let http = Client::http1(node.listen);
            let (stop, seen, path) = (Arc::clone(&stop), Arc::clone(&seen), path.to_owned());
            tokio::spawn(async move {
                while !stop.load(SeqCst) {
                    let answer = http.get(&path).await;
                    let key = (answer.status.as_u16(), answer.version().to_owned());
                    *seen.answers().entry(key).or_default() += 1;
                    seen.total.fetch_add(1, SeqCst);
                }
            })
        };
        let clients = (0..clients).map(client).collect();
        Self { stop, seen, clients }
    }

    /// Waits until so many more requests were answered.
    async fn more(&self, requests: u64) {
        let until = self.seen.total.load(SeqCst) + requests;
        patiently("more requests", async {
            while self.seen.total.load(SeqCst) < until {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    /// Stops, and gives the answers by status and version.
    async fn stop(self) -> BTreeMap<(u16, String), u64> {
        self.stop.store(true, SeqCst);
        for client in self.clients {
            patiently("the end of a client", client).await.expect("clients do not panic");
        }
        std::mem::take(&mut *self.seen.answers())
    }
}

/// How many of `answers` had a status of 500 or above.
fn server_errors(answers: &BTreeMap<(u16, String), u64>) -> u64 {
    answers.iter().filter(|((status, _), _)| *status >= 500).map(|(_, count)| count).sum()
}

#[tokio::test]
async fn good_canary_promotes_itself_and_nobody_notices() {
    let node = Node::start().await;
    node.deploy_with("hello", "hello-v1", json!({})).await;
    let load = Load::start(&node, 4, "/hello");
    load.more(100).await;
    let steps = json!({ "name": "canary", "steps": ["10%", "50%"] });
    node.roll_out("hello-v2", json!({}), steps, quick(50, 50)).await;
    let ended = node.rollout_ended().await;
    assert_eq!((&ended["outcome"], &ended["canary"]), (&json!("promoted"), &json!("v2")), "{ended}");
    load.more(100).await;
    let answers = load.stop().await;
    assert_eq!(server_errors(&answers), 0, "{answers:?}");
    assert_eq!(node.http.get("/hello").await.ok().version(), "v2");
    let page = node.api_ok(Method::GET, "/v1/functions/hello/history", None).await;
    let entries = page["entries"].as_array().unwrap();
    let actions: Vec<_> = entries.iter().rev().map(|entry| entry["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["deploy", "deploy", "step", "promote", "settle"]);
    let step = entries.iter().find(|entry| entry["action"] == "step").unwrap();
    assert!(step["evidence"]["canary"]["requests"].as_u64().unwrap() >= 20, "{step}");
}

/// Milliseconds since the epoch, as a rollout's times are.
fn unix_ms() -> u64 {
    let since = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
    u64::try_from(since.as_millis()).unwrap()
}

#[tokio::test]
async fn canary_that_always_traps_is_aborted_after_a_few_requests_and_users_see_nothing() {
    let node = Node::start().await;
    node.deploy_with("hello", "hello-v1", json!({})).await;
    let clients: Vec<_> = (0..8).map(|_| Arc::new(Client::http1(node.listen))).collect();
    let mut requests = tokio::task::JoinSet::new();
    let canary = json!({ "name": "canary", "steps": ["10%"] });
    let deployed = node.roll_out("broken", json!({}), canary, json!({})).await;
    assert_eq!(deployed["rollout"]["canary"], "v2");
    // 2,000 requests a second from now on, whatever the answers: the next one is due 500 µs after the last.
    let mut tick = tokio::time::interval(Duration::from_micros(500));
    let began = Instant::now();
    let mut second_ended_ms = 0;
    for at in 0..4000 {
        tick.tick().await;
        if at == 2000 {
            second_ended_ms = unix_ms();
        }
        let http = Arc::clone(&clients[at % clients.len()]);
        requests.spawn(async move { http.get("/hello").await.status });
    }
    while let Some(status) = requests.join_next().await {
        assert_eq!(status.unwrap(), StatusCode::OK);
    }
    eprintln!("{:.0} requests a second", 4000.0 / began.elapsed().as_secs_f64());
    let ended = node.rollout_ended().await;
    assert_eq!(ended["outcome"], "aborted");
    let took = ended["ended_ms"].as_u64().unwrap() - ended["started_ms"].as_u64().unwrap();
    eprintln!("aborted {took} ms after the deployment: {}", ended["reason"]);
    // Before the client had sent a second's worth of requests, and by a tenth of those that this puts on the
    // canary. A machine that is held up holds up the client as well.
    assert!(ended["ended_ms"].as_u64().unwrap() <= second_ended_ms, "{second_ended_ms}: {ended}");
    assert!(ended["evidence"]["canary"]["requests"].as_u64().unwrap() <= 20, "{ended}");
    assert_eq!(ended["evidence"]["canary"]["requests"], ended["evidence"]["canary"]["failures"]);
    // The function where it trapped is in the history.
    let history = node.cli_ok(&["history", "hello", "--evidence"]).await;
    assert!(history.contains("apply_discount"), "{history}");
    let versions = node.cli_json(&["versions", "hello"]).await;
    assert_eq!(versions["versions"][0]["verdict"]["verdict"], "aborted", "{versions}");
}

#[tokio::test]
async fn request_whose_canary_called_out_is_never_run_twice() {
    let node = Node::start().await;
    let origin = Origin::start("fine").await;
    let egress = json!({ "egress": [format!("http://{}", origin.address)] });
    node.deploy_with("hello", "hello-v1", json!({})).await;
    // A version that calls out is told by its configuration; nobody but a cohort is on it.
    let cohorts = json!({ "cohorts": [{ "header": "x-canary", "values": ["1"], "to": "canary" }] });
    node.deploy_with("hello", "hello-v1", cohorts).await;
    let steps = json!({ "name": "canary", "steps": ["0.01%"] });
    node.roll_out("broken", egress, steps, json!({ "on_fail": "freeze" })).await;
    let path = format!("/hello?authority={}", origin.address);
    let request = || http::Request::get(format!("http://{}{path}", node.listen)).header("x-canary", "1");
    for calls in 1..=5 {
        let answer = node.http.send(request().body(Vec::new()).unwrap()).await.unwrap();
        answer.problem(500, "guest-trap");
        assert_eq!(origin.calls(), calls);
    }
    // The same version without the call is answered by stable.
    let quiet = http::Request::get(format!("http://{}/hello", node.listen)).header("x-canary", "1");
    let answer = node.http.send(quiet.body(Vec::new()).unwrap()).await.unwrap().ok();
    assert_eq!(answer.text(), "hello from v1\n");
    assert_ne!(answer.version(), "v3");
}

#[tokio::test]
async fn no_request_begins_on_the_canary_after_the_abort_returned() {
    let node = Arc::new(Node::start().await);
    node.deploy_with("hello", "hello-v1", json!({})).await;
    // Even while an abort is under way: odd while the canary may answer.
    let round = Arc::new(AtomicU64::new(0));
    let stop = Arc::new(AtomicBool::new(false));
    let client = |_| {
        let (node, round, stop) = (Arc::clone(&node), Arc::clone(&round), Arc::clone(&stop));
        tokio::spawn(async move {
            let http = Client::http1(node.listen);
            let (mut late, mut canary) = (0, 0);
            while !stop.load(SeqCst) {
                let before = round.load(SeqCst);
                let version = http.get("/hello").await.ok().version().to_owned();
                let fresh = version != "v1";
                canary += u64::from(fresh);
                // Aborted before the request was sent, and no other begun until it was answered.
                late += u64::from(fresh && before % 2 == 0 && round.load(SeqCst) == before);
            }
            (late, canary)
        })
    };
    let clients: Vec<_> = (0..4).map(client).collect();
    let component = node.upload(guests::bytes("hello-v2")).await;
    let deploy = json!({ "component": component, "strategy": { "name": "canary", "steps": ["50%"] } });
    for _ in 0..1000 {
        round.fetch_add(1, SeqCst);
        node.api_ok(Method::POST, "/v1/functions/hello/deployments", Some(&deploy)).await;
        node.api_ok(Method::POST, "/v1/functions/hello/abort", Some(&json!({}))).await;
        round.fetch_add(1, SeqCst);
    }
    stop.store(true, SeqCst);
    let (mut late, mut canary) = (0, 0);
    for client in clients {
        let counted = patiently("the end of a client", client).await.unwrap();
        (late, canary) = (late + counted.0, canary + counted.1);
    }
    eprintln!("{late} of {canary} requests on the canary began after an abort had returned, in 1,000 aborts");
    assert_eq!(late, 0);
    assert!(canary > 0, "the canary was never asked");
}

#[tokio::test]
async fn promotions_and_rollbacks_under_load_fail_no_request() {
    let node = Node::start().await;
    node.deploy_with("hello", "hello-v1", json!({})).await;
    let load = Load::start(&node, 4, "/hello");
    let component = node.upload(guests::bytes("hello-v2")).await;
    let deploy = json!({ "component": component, "strategy": { "name": "canary", "steps": ["50%"] } });
    for _ in 0..500 {
        node.api_ok(Method::POST, "/v1/functions/hello/deployments", Some(&deploy)).await;
        node.api_ok(Method::POST, "/v1/functions/hello/promote", Some(&json!({ "full": true }))).await;
        node.api_ok(Method::POST, "/v1/functions/hello/rollback", Some(&json!({}))).await;
    }
    let answers = load.stop().await;
    eprintln!("{answers:?} in 500 promotions and 500 rollbacks");
    assert!(answers.keys().all(|(status, _)| *status == 200), "{answers:?}");
    assert_eq!(answers.len(), 2, "both versions answered: {answers:?}");
}

#[tokio::test]
async fn waiting_for_a_deployment_tells_its_end_by_the_exit_code() {
    let node = Node::start().await;
    assert_eq!(node.try_release("hello-v1", &["--canary", "--wait"]).await.code, Some(0));
    let load = Load::start(&node, 2, "/hello");
    let quick =
        ["--canary=20%", "--step-min", "50ms", "--min-requests", "20", "--watch-for", "50ms", "--wait"];
    let promoted = node.try_release("hello-v2", &quick).await;
    assert_eq!(promoted.code, Some(0), "{promoted:?}");
    let back = node.try_release("broken", &[&quick[..], &["--allow-new"]].concat()).await;
    assert_eq!(back.code, Some(2), "{back:?}");
    let answers = load.stop().await;
    assert_eq!(server_errors(&answers), 0, "{answers:?}");
    // Nobody asks any more, so there is nothing to decide by.
    let silent = ["--canary=20%", "--step-min", "50ms", "--wait", "--timeout", "300ms"];
    let inconclusive = node.try_release("hello-p3", &silent).await;
    assert_eq!(inconclusive.code, Some(3), "{inconclusive:?}");
    assert_eq!(node.live("hello").await["rollout"]["canary"], "v4");
}

#[tokio::test]
async fn killed_node_goes_on_where_its_rollout_stood() {
    let node = Node::start().await;
    node.deploy_with("hello", "hello-v1", json!({})).await;
    let steps = json!({ "name": "canary", "steps": ["10%", "50%"] });
    node.roll_out("hello-v2", json!({}), steps, quick(100, 100)).await;
    let load = Load::start(&node, 2, "/hello");
    patiently("the second step", async {
        while node.live("hello").await["rollout"]["step"] != 2 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    node.api_ok(Method::POST, "/v1/functions/hello/pause", Some(&json!({}))).await;
    load.stop().await;
    let folder = node.kill().await;
    let node = Node::start_on(folder, &[]).await;
    let live = node.live("hello").await;
    assert_eq!(
        (&live["rollout"]["phase"], &live["rollout"]["step"]),
        (&json!("paused"), &json!(2)),
        "{live}"
    );
    assert_eq!(live["rollout"]["weight"], "50%");
    node.api_ok(Method::POST, "/v1/functions/hello/resume", Some(&json!({}))).await;
    let load = Load::start(&node, 2, "/hello");
    assert_eq!(node.rollout_ended().await["outcome"], "promoted");
    let answers = load.stop().await;
    assert_eq!(server_errors(&answers), 0, "{answers:?}");
}

#[tokio::test]
async fn rollback_reaches_a_version_that_nobody_has_loaded_since_the_start() {
    let node = Node::start().await;
    node.deploy_with("hello", "hello-v1", json!({})).await;
    node.deploy_with("hello", "hello-v2", json!({})).await;
    // After a start only versions with traffic are loaded.
    let node = Node::start_on(node.kill().await, &[]).await;
    assert_eq!(node.http.get("/hello").await.ok().version(), "v2");
    node.cli_ok(&["rollback", "hello"]).await;
    let answer = node.http.get("/hello").await.ok();
    assert_eq!((answer.version(), answer.text().as_str()), ("v1", "hello from v1\n"));
}

#[tokio::test]
async fn green_must_pass_its_checks_before_the_switch() {
    let node = Node::start().await;
    node.deploy_with("hello", "hello-v1", json!({})).await;
    let check =
        |body: &str| format!("[[check]]\npath = \"/hello\"\nexpect = {{ status = 200, body = {body:?} }}\n");
    node.folder().write("wrong.toml", check("hello from v9"));
    node.folder().write("right.toml", check("^hello from v2"));
    node.folder().write("malformed.toml", "[[check]]\npath = 7\n");
    let with = |file: &'static str| ["--blue-green", "--check", file, "--watch-for", "0s", "--wait"];
    let refused = node.try_release("hello-v2", &with("malformed.toml")).await;
    refused.refused(&["malformed.toml", "path"]);
    let failed = node.try_release("hello-v2", &with("wrong.toml")).await;
    assert_eq!(failed.code, Some(2), "{failed:?}");
    assert_eq!(node.http.get("/hello").await.ok().version(), "v1");
    let ended = node.live("hello").await["last_rollout"].clone();
    let expected =
        "check failed: GET /hello: body begins with \"hello from v2\\n\", expected a match of hello from v9";
    assert_eq!(ended["reason"], expected);
    let switched = node.try_release("hello-v2", &with("right.toml")).await;
    assert_eq!(switched.code, Some(0), "{switched:?}");
    assert_eq!(node.http.get("/hello").await.ok().version(), "v2");
    node.cli_ok(&["rollback", "hello"]).await;
    assert_eq!(node.http.get("/hello").await.ok().version(), "v1");
}

#[tokio::test]
async fn abort_now_has_stable_answer_what_is_under_way() {
    let node = Node::start().await;
    node.deploy_with("hello", "hello-v1", json!({})).await;
    let canary = json!({ "name": "canary", "steps": ["99.99%"] });
    node.roll_out("slow", json!({ "timeout_ms": 60_000 }), canary, json!({})).await;
    let http = Client::http1(node.listen);
    let waiting = tokio::spawn(async move { http.get("/hello?ms=50000").await });
    patiently("the request to be under way", async {
        // It is on the canary as soon as its instance is taken; only then is there something to cut.
        while !node.cli_ok(&["status", "hello", "-o", "json"]).await.contains("v2") {}
    })
    .await;
    node.cli_ok(&["abort", "hello", "--now"]).await;
    let answer = patiently("the answer of stable", waiting).await.unwrap().ok();
    assert_eq!((answer.version(), answer.text().as_str()), ("v1", "hello from v1\n"));
}

#[tokio::test]
async fn everybody_at_once_is_watched_and_taken_back() {
    let node = Node::start().await;
    node.deploy_with("hello", "hello-v1", json!({})).await;
    for _ in 0..200 {
        node.http.get("/hello").await.ok();
    }
    node.roll_out("broken", json!({}), json!({ "name": "all-at-once" }), json!({})).await;
    let mut failed = 0;
    while node.http.get("/hello").await.status != StatusCode::OK {
        failed += 1;
    }
    assert_eq!(failed, 3, "the third hit of a trap that nobody knew is the last");
    let ended = node.rollout_ended().await;
    assert_eq!((&ended["outcome"], &ended["evidence"]["baseline"]), (&json!("rolled-back"), &json!("past")));
    let status = node.cli_ok(&["status", "hello"]).await;
    assert!(status.contains("rolled back"), "{status}");
}

#[tokio::test]
async fn manual_linear_rollout_waits_is_held_and_goes_on_by_command() {
    let node = Node::start().await;
    assert_eq!(node.try_release("hello-v1", &[]).await.code, Some(0));
    let flags = ["--linear=40%/20ms", "--manual", "--min-requests", "5"];
    assert_eq!(node.try_release("hello-v2", &flags).await.code, Some(0));
    let load = Load::start(&node, 2, "/hello");
    node.in_phase("awaiting promotion").await;
    node.cli_ok(&["pause", "hello"]).await;
    node.cli(&["pause", "hello"]).await.refused(&["paused already"]);
    node.cli_ok(&["resume", "hello"]).await;
    node.in_phase("awaiting promotion").await;
    node.cli_ok(&["promote", "hello"]).await;
    let live = node.in_phase("awaiting promotion").await;
    assert_eq!(live["rollout"]["weight"], "80%");
    node.cli_ok(&["promote", "hello", "--full"]).await;
    assert_eq!(node.http.get("/hello").await.ok().version(), "v2");
    node.cli_ok(&["rollback", "hello"]).await;
    assert_eq!(node.http.get("/hello").await.ok().version(), "v1");
    let answers = load.stop().await;
    assert_eq!(server_errors(&answers), 0, "{answers:?}");
}
