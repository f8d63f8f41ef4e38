//! Tests of the API over a real listener, with a fake host and an in-memory store.

mod backups;
mod buckets;
mod deployments;
mod description;
mod encrypted;
mod events;
mod fuzzing;
mod metrics;
mod nodes;
mod page;
mod previews;
mod secrets;
mod series;
mod stages;
mod surface;
mod traces;
mod traffic;
mod triggers;
mod watch;

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::Ordering::SeqCst},
};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};
use wasm_fn_api::{LoginIssuer, LoginView};
use wasm_fn_store::{EmbeddedBuckets, FunctionBuckets};

use super::*;
use crate::fake::{COMPONENT_BYTES_MAX, FakeHost, FakeStore, Node, TOKEN};
use events::{NodeEvents, PATIENCE};

/// A node whose API is listening.
struct Api {
    node: Node,
    events: NodeEvents,
    admin: Arc<Admin<FakeHost, FakeStore>>,
    address: SocketAddr,
    client: Client<HttpConnector, Full<Bytes>>,
    /// Shown by every request.
    token: String,
    shutdown: Option<oneshot::Sender<()>>,
    served: JoinHandle<()>,
    /// What functions keep.
    _kept: tempfile::TempDir,
}

/// An answer whose body has been read.
#[derive(Debug)]
struct Answer {
    status: u16,
    headers: HeaderMap,
    text: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    fn lines(&self) -> Vec<Value> {
        self.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Status and code of an answer, which must be a problem.
    fn problem(&self) -> (u16, String) {
        assert_eq!(self.headers[header::CONTENT_TYPE], "application/problem+json", "{self:?}");
        let problem: wasm_fn_api::Problem = serde_json::from_str(&self.text).unwrap();
        assert_eq!(problem.status, self.status);
        assert!(!problem.detail.is_empty() && !problem.title.is_empty());
        (self.status, problem.code)
    }
}

/// The certificates of the node, of which one name has two.
#[derive(Debug)]
struct Shown;

impl NodeCertificates for Shown {
    fn expiries(&self) -> Vec<CertificateExpiry> {
        let ends = [("listen", "a.test", 9), ("listen", "a.test", 8), ("admin", "a.test", 7)];
        ends.map(|(listener, name, s)| CertificateExpiry {
            listener,
            name: name.to_owned(),
            at: std::time::Duration::from_secs(s),
        })
        .to_vec()
    }
}

/// Telemetry of which something was lost.
#[derive(Debug)]
struct Told;

impl TelemetrySource for Told {
    fn counts(&self) -> Vec<TelemetryCount> {
        vec![TelemetryCount { queue: "traces", result: "dropped", count: 3 }]
    }

    fn traces(&self) -> Option<Vec<TracedRequest>> {
        Some(traces::kept())
    }
}

/// Guests that are held apart, as audits have found.
#[derive(Debug)]
struct Trusted;

impl IsolationSource for Trusted {
    fn counts(&self) -> IsolationCounts {
        IsolationCounts { reset: "counted".to_owned(), compared: 5, scanned: 4, faults: 0 }
    }
}

impl Api {
    async fn start() -> Self {
        Self::with_series_max(10_000).await
    }

    async fn with_series_max(series_max: usize) -> Self {
        Self::in_cluster(series_max, None).await
    }

    async fn in_cluster(series_max: usize, cluster: Option<Arc<dyn ClusterSource>>) -> Self {
        let node = Node::start().await;
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (shutdown, asked) = oneshot::channel();
        let options = AdminOptions {
            data_listen: "127.0.0.1:8080".to_owned(),
            data_scheme: wasm_fn_core::Scheme::Http,
            preview_domain: "example.com".parse().ok(),
            program_version: "1.2.3".to_owned(),
            issuers: None,
            login: LoginView {
                issuers: vec![LoginIssuer {
                    issuer: "https://id.example.com".to_owned(),
                    client_id: "wasm-fn".to_owned(),
                    scopes: vec!["openid".to_owned()],
                    audience: "wasm-fn".to_owned(),
                }],
            },
            certificates: Vec::new(),
            shown: Arc::new(Shown),
            telemetry: Arc::new(Told),
            isolation: Arc::new(Trusted),
            cluster,
            series_max,
        };
        let events = NodeEvents::start(&node.control).await;
        let operations: Arc<dyn wasm_fn_delivery::EventOperations> = Arc::clone(&events.events) as _;
        let kept = tempfile::tempdir().unwrap();
        let buckets = Arc::new(FunctionBuckets::new(EmbeddedBuckets::open(kept.path()).unwrap()));
        let admin = Admin::new(Arc::clone(&node.control), operations, buckets, options);
        let serve = Arc::clone(&admin).serve(listener, None, async { drop(asked.await) });
        let served = tokio::spawn(serve);
        let client = Client::builder(TokioExecutor::new()).build_http();
        let token = TOKEN.to_owned();
        Self { node, events, admin, address, client, token, shutdown: Some(shutdown), served, _kept: kept }
    }

    fn request(&self, method: &str, path: &str) -> http::request::Builder {
        let uri = format!("http://{}{path}", self.address);
        let token = format!("Bearer {}", self.token);
        Request::builder().method(method).uri(uri).header(header::AUTHORIZATION, token)
    }

    async fn open(&self, request: Request<Full<Bytes>>) -> http::Response<Incoming> {
        self.client.request(request).await.unwrap()
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Answer {
        let (method, path) = (request.method().to_string(), request.uri().path().to_owned());
        let (head, body) = self.open(request).await.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let answer = Answer { status: head.status.as_u16(), headers: head.headers, text };
        description::check(&method, &path, &answer);
        answer
    }

    async fn raw(&self, method: &str, path: &str, body: impl Into<Bytes>) -> Answer {
        self.send(self.request(method, path).body(Full::new(body.into())).unwrap()).await
    }

    async fn call(&self, method: &str, path: &str, body: Value) -> Answer {
        self.raw(method, path, body.to_string()).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.raw("GET", path, "").await
    }

    async fn upload(&self, bytes: &'static [u8]) -> String {
        let digest = hex::encode(Sha256::digest(bytes));
        let answer = self.raw("PUT", &format!("/v1/components/{digest}"), bytes).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        digest
    }

    async fn deploy(&self, function: &str, bytes: &'static [u8], more: Value) -> Answer {
        let component = self.upload(bytes).await;
        let mut body = json!({ "component": component });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.call("POST", &format!("/v1/functions/{function}/deployments"), body).await
    }

    fn revision(&self) -> u64 {
        self.node.control.state().revision().0
    }
}

fn canary() -> Value {
    json!({ "strategy": { "name": "canary", "steps": ["10%"] } })
}
