//! Tests with a real broker: nats-server, with what it keeps in a temporary directory.
//!
//! Where it is not installed, each test is skipped by name.

mod bad_brokers;
#[expect(dead_code, reason = "tests of clusters use all of it")]
#[path = "../../../tests/nats_server.rs"]
mod broker;
mod delivering;
mod orders;
mod surviving;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::sync::watch;
use wasm_fn_events::{QueueMessage, QueueSource};

use crate::{
    AddressRule, BrokerCredentials, ClientConfig, GetCredentials, QueueConsumer, QueueHandler, QueueOptions,
    QueueReport, Settled,
};

use self::broker::Server;

/// Longer than anything a test waits for.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a test decides about a message in one of its attempts.
type Decide = Box<dyn Fn(&QueueMessage, u32) -> Settled + Send + Sync>;

/// What happened so far.
#[derive(Clone, Debug, Default)]
struct Seen {
    /// The attempts that were made, by what the message carried, in their order.
    attempts: BTreeMap<String, Vec<u32>>,
    now: usize,
    most: usize,
    connected: u32,
    failures: Vec<String>,
    backlog: (u64, u64),
    repeated: u32,
}

/// Handles messages as a test decides, and keeps what happened.
struct Recorder {
    room: usize,
    decide: Decide,
    /// Deliveries wait while this is set.
    held: watch::Sender<bool>,
    seen: watch::Sender<Seen>,
}

impl Recorder {
    fn new(room: usize, decide: impl Fn(&QueueMessage, u32) -> Settled + Send + Sync + 'static) -> Arc<Self> {
        let (held, seen) = (watch::Sender::new(false), watch::Sender::new(Seen::default()));
        Arc::new(Self { room, decide: Box::new(decide), held, seen })
    }

    /// What there is once `holds` says so of it.
    async fn until(&self, what: &str, holds: impl Fn(&Seen) -> bool) -> Seen {
        let mut seen = self.seen.subscribe();
        let waited = tokio::time::timeout(PATIENCE, seen.wait_for(|seen| holds(seen))).await;
        match waited {
            Ok(found) => found.expect("the recorder lives").clone(),
            Err(_) => panic!("{what}: {:?}", self.seen.borrow()),
        }
    }
}

impl QueueHandler for Recorder {
    fn room(&self) -> usize {
        self.room
    }

    async fn handle(&self, message: QueueMessage, attempt: u32) -> Settled {
        let text = String::from_utf8_lossy(&message.data).into_owned();
        self.seen.send_modify(|seen| {
            seen.attempts.entry(text).or_default().push(attempt);
            seen.now += 1;
            seen.most = seen.most.max(seen.now);
        });
        let mut held = self.held.subscribe();
        let _ = held.wait_for(|held| !held).await;
        self.seen.send_modify(|seen| seen.now -= 1);
        (self.decide)(&message, attempt)
    }

    fn report(&self, report: QueueReport) {
        self.seen.send_modify(|seen| match report {
            QueueReport::Connected => seen.connected += 1,
            QueueReport::Failed { reason } => seen.failures.push(reason),
            QueueReport::Backlog { pending, unsettled } => seen.backlog = (pending, unsettled),
            QueueReport::Repeated => seen.repeated += 1,
        });
    }
}

/// The messages of `ORDERS` with the subjects `orders.>`, at `url`.
fn orders(url: &str) -> QueueSource {
    let (stream, subject) = ("ORDERS".parse().unwrap(), "orders.>".parse().unwrap());
    QueueSource::new(vec![url.parse().unwrap()], stream, subject).unwrap()
}

/// Trusts those who signed `pem`, and nobody without.
fn tls(pem: Option<&rustls::pki_types::CertificateDer<'static>>) -> Arc<ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(pem.cloned());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    Arc::new(config.with_root_certificates(roots).with_no_client_auth())
}

fn anywhere() -> AddressRule {
    Arc::new(|_: SocketAddr| Ok(()))
}

fn shown(credentials: Option<&str>) -> GetCredentials {
    let parsed = credentials.map(|text| BrokerCredentials::parse(text).unwrap());
    Arc::new(move || Ok(parsed.clone()))
}

fn options(source: QueueSource) -> QueueOptions {
    QueueOptions {
        source,
        consumer: "wasm-fn_hello_live_orders".to_owned(),
        description: "a test".to_owned(),
        concurrency_max: 10,
        credentials: shown(None),
        tls: tls(None),
        addresses: anywhere(),
    }
}

fn start(source: QueueSource, handler: &Arc<Recorder>) -> QueueConsumer {
    QueueConsumer::start(options(source), Arc::clone(handler))
}

/// Everything is handled.
fn always(_: &QueueMessage, _: u32) -> Settled {
    Settled::Acknowledged
}

/// Texts that were told from others.
#[derive(Default)]
struct Once(Mutex<std::collections::BTreeSet<String>>);

impl Once {
    /// Whether this is the first time for `text`.
    fn first(&self, text: &str) -> bool {
        self.0.lock().unwrap().insert(text.to_owned())
    }
}
