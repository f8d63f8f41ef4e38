//! A node on a machine of its own, which is killed, stopped and started again there.

use std::{
    net::SocketAddr,
    sync::{
        Arc, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use http::{Method, Request};
use rustix::process::Signal;
use serde_json::Value;
use tokio::{
    sync::Mutex,
    time::{Instant, sleep},
};

use crate::harness::{
    Folder, Node,
    client::{Answer, Broken, Client},
    network::Host,
    patiently, serve_at,
};

/// The ports of a node, which is alone on its machine.
const LISTEN: u16 = 8080;
const ADMIN: u16 = 8081;

/// How often something is looked at again.
const AGAIN: Duration = Duration::from_millis(20);

/// A node on its machine, whether it runs or not.
pub(super) struct Site {
    pub(super) name: &'static str,
    pub(super) host: Host,
    pub(super) listen: SocketAddr,
    admin: SocketAddr,
    token: String,
    args: Vec<String>,
    folder: Folder,
    pub(super) node: Mutex<Option<Node>>,
    /// What processes before this one wrote.
    past: std::sync::Mutex<String>,
    /// Whether a balancer would send it requests.
    serves: AtomicBool,
    /// Whether it is stopped, and answers nothing for now.
    is_stopped: AtomicBool,
    kills: AtomicU64,
    ends: AtomicU64,
    stops: AtomicU64,
}

/// How often a node has been killed, has ended in any way, and has been stopped.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Lives {
    pub(super) kills: u64,
    pub(super) ends: u64,
    pub(super) stops: u64,
}

impl Site {
    pub(super) async fn start(name: &'static str, host: Host, args: &[String]) -> Self {
        let [listen, admin] = [LISTEN, ADMIN].map(|port| SocketAddr::new(host.address.into(), port));
        let args = [args, &["--insecure-admin".to_owned()]].concat();
        let mut site = Self {
            name,
            host,
            listen,
            admin,
            token: String::new(),
            args,
            folder: Folder::new(),
            node: Mutex::default(),
            past: std::sync::Mutex::default(),
            serves: AtomicBool::new(false),
            is_stopped: AtomicBool::new(false),
            kills: AtomicU64::new(0),
            ends: AtomicU64::new(0),
            stops: AtomicU64::new(0),
        };
        let node = site.run().await;
        site.token.clone_from(&node.token);
        *site.node.get_mut() = Some(node);
        site.comes_back().await;
        site
    }

    async fn run(&self) -> Node {
        let (listen, admin) = (self.listen.to_string(), self.admin.to_string());
        let args: Vec<_> = self.args.iter().map(String::as_str).collect();
        let serve = serve_at([&listen, &admin], &self.folder, &args);
        Node::start_as(&mut self.host.through(&serve), self.folder.clone()).await
    }

    /// Whether a balancer would send it requests.
    pub(super) async fn is_ready(&self) -> bool {
        self.ask(Method::GET, "/readyz", None).await.is_ok_and(|answer| answer.status == 200)
    }

    /// Whether it has published `revision`.
    pub(super) async fn has(&self, revision: u64) -> bool {
        let Ok(answer) = self.ask(Method::GET, "/v1/node", None).await else { return false };
        let node: Value = serde_json::from_slice(&answer.body).expect("the API answers JSON");
        node["revision"].as_u64().is_some_and(|found| found >= revision)
    }

    /// Has users sent to it as soon as a balancer would.
    async fn comes_back(&self) {
        patiently("a node that is ready", async {
            while !self.is_ready().await {
                sleep(AGAIN).await;
            }
        })
        .await;
        self.serves.store(true, SeqCst);
    }

    /// Calls its admin API.
    pub(super) async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Answer, Broken> {
        let request = Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.admin))
            .header("content-type", "application/json")
            .header("authorization", format!("Bearer {}", self.token))
            .body(body.map(Value::to_string).unwrap_or_default())?;
        Client::http1(self.admin).send(request).await
    }

    /// Waits until it is in touch with its cluster.
    pub(super) async fn settles(&self, within: Duration) {
        let deadline = Instant::now() + within;
        loop {
            let view = self.ask(Method::GET, "/v1/cluster", None).await.map(|answer| answer.text());
            let view = view.unwrap_or_else(|error| format!("{error:?}"));
            if serde_json::from_str::<Value>(&view).is_ok_and(|view| view["in_touch"] == true) {
                return;
            }
            assert!(Instant::now() < deadline, "{} is not in touch: {view}\n{}", self.name, self.log().await);
            sleep(AGAIN).await;
        }
    }

    /// Whether users are sent to it.
    pub(super) fn serves(&self) -> bool {
        self.serves.load(SeqCst)
    }

    /// Whether it answers at once.
    pub(super) fn answers(&self) -> bool {
        self.serves() && !self.is_stopped.load(SeqCst)
    }

    pub(super) fn lives(&self) -> Lives {
        let count = |number: &AtomicU64| number.load(SeqCst);
        Lives { kills: count(&self.kills), ends: count(&self.ends), stops: count(&self.stops) }
    }

    /// Kills it, and starts it again after `time`.
    pub(super) async fn dies_for(&self, time: Duration) {
        let mut held = self.node.lock().await;
        self.serves.store(false, SeqCst);
        self.kills.fetch_add(1, SeqCst);
        self.ends.fetch_add(1, SeqCst);
        let node = held.take().expect("it runs");
        self.remember(&node);
        node.kill().await;
        sleep(time).await;
        *held = Some(self.run().await);
        self.comes_back().await;
    }

    /// Has it end as a service manager does, and starts it again.
    pub(super) async fn restarts(&self) {
        let mut held = self.node.lock().await;
        self.serves.store(false, SeqCst);
        self.ends.fetch_add(1, SeqCst);
        let mut node = held.take().expect("it runs");
        node.terminate();
        let status = node.ended().await;
        self.remember(&node);
        assert!(status.success(), "{} ended with {status}:\n{}", self.name, node.process().log());
        *held = Some(self.run().await);
        self.comes_back().await;
    }

    /// Stops it for `time`. Users go on sending it requests.
    pub(super) async fn stands_still_for(&self, time: Duration) {
        let held = self.node.lock().await;
        let node = held.as_ref().expect("it runs");
        self.is_stopped.store(true, SeqCst);
        self.stops.fetch_add(1, SeqCst);
        node.process().signal(Signal::STOP);
        sleep(time).await;
        node.process().signal(Signal::CONT);
        self.is_stopped.store(false, SeqCst);
    }

    fn remember(&self, node: &Node) {
        let mut past = self.past.lock().unwrap_or_else(PoisonError::into_inner);
        past.push_str(&node.process().log());
        past.push_str("\n--\n");
    }

    /// What its processes wrote.
    pub(super) async fn log(&self) -> String {
        let now = self.node.lock().await.as_ref().map(|node| node.process().log()).unwrap_or_default();
        let past = self.past.lock().unwrap_or_else(PoisonError::into_inner);
        format!("log of {}:\n{past}{now}", self.name)
    }
}

/// What all nodes wrote.
pub(super) async fn logs(sites: &[Arc<Site>]) -> String {
    let mut logs = String::new();
    for site in sites {
        logs.push_str(&site.log().await);
        logs.push('\n');
    }
    logs
}
