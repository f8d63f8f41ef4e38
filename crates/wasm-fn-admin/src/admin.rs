//! The state that every handler works on, and the handler of each request.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::{Router, extract::FromRef, middleware};
use tokio::sync::{Semaphore, watch};
use wasm_fn_access::FailureLimit;
use wasm_fn_api::{LoginView, Operation};
use wasm_fn_control::{Control, host::Host};
use wasm_fn_core::{PreviewDomain, Scheme};
use wasm_fn_delivery::EventOperations;
use wasm_fn_store::{Store, ValueOperations};

use crate::{
    ApiError, CertificateRule, ClusterSource, TokenIssuers,
    authorize::{Guard, authorize},
    handlers::{
        self, handler,
        metrics::{IsolationSource, NodeCertificates, TelemetrySource, series::SeriesBound},
    },
    nodes::choose,
    overview::Overview,
    series::{self, Series},
    sessions::Sessions,
};

/// How many uploads may run at once. More are refused.
const UPLOADS_MAX: usize = 16;

/// For how many logins issuers may be asked at once. More are refused: nobody has shown a token by then.
const LOGINS_MAX: usize = 8;

/// How many streams of changes may be open at once. More are refused.
const STREAMS_MAX: usize = 128;

/// What the API tells clients about the node.
#[derive(Clone, Debug)]
pub struct AdminOptions {
    /// The address at which functions are called: `127.0.0.1:8080`.
    pub data_listen: String,
    /// The scheme by which they are called there.
    pub data_scheme: Scheme,
    /// The domain under which each version has a host name, if there is one.
    pub preview_domain: Option<PreviewDomain>,
    /// Version of the program.
    pub program_version: String,
    /// Issuers whose tokens are accepted, if there are any.
    pub issuers: Option<Arc<dyn TokenIssuers>>,
    /// How people get such a token. Everybody is told.
    pub login: LoginView,
    /// What clients may do by their certificates; each identity is there once.
    pub certificates: Vec<CertificateRule>,
    /// The certificates that the node shows.
    pub shown: Arc<dyn NodeCertificates>,
    /// What became of the node's telemetry.
    pub telemetry: Arc<dyn TelemetrySource>,
    /// How guests are held apart, and what audits of that have found.
    pub isolation: Arc<dyn IsolationSource>,
    /// The cluster that the node is in; `None` if it is alone.
    pub cluster: Option<Arc<dyn ClusterSource>>,
    /// Most series of versions in the metrics; versions beyond it are summed up.
    pub series_max: usize,
}

/// The admin API of one node.
pub struct Admin<H: Host, S> {
    pub(crate) control: Arc<Control<H, S>>,
    pub(crate) events: Arc<dyn EventOperations>,
    pub(crate) values: Arc<dyn ValueOperations>,
    pub(crate) options: AdminOptions,
    pub(crate) uploads: Semaphore,
    /// Which versions have series of their own in the metrics.
    pub(crate) metric_series: SeriesBound,
    /// The right to have a stream of changes open.
    pub(crate) streams: Arc<Semaphore>,
    /// What the streams of all functions share.
    pub(crate) overview: Overview<H>,
    /// Numbers over time.
    pub(crate) series: Arc<Series>,
    /// The sessions of the page.
    pub(crate) sessions: Sessions,
    /// The right to ask an issuer for a login.
    pub(crate) logins: Semaphore,
    /// How often clients may show wrong tokens.
    failures: Mutex<FailureLimit>,
    /// Whether the node is stopping. Answers that would otherwise never end watch it.
    pub(crate) stopping: watch::Sender<bool>,
}

/// [`Admin`], as the state of handlers.
pub(crate) struct Shared<H: Host, S>(pub(crate) Arc<Admin<H, S>>);

impl<H: Host, S> Clone for Shared<H, S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<H: Host, S> FromRef<Shared<H, S>> for Arc<Control<H, S>> {
    fn from_ref(shared: &Shared<H, S>) -> Self {
        Self::clone(&shared.0.control)
    }
}

impl<H: Host, S: Store> Admin<H, S> {
    /// The admin API of `control`, of the `events` of its triggers, and of the `values` that functions keep.
    /// Begins to keep numbers over time, in a task that ends with it.
    pub fn new(
        control: Arc<Control<H, S>>,
        events: Arc<dyn EventOperations>,
        values: Arc<dyn ValueOperations>,
        options: AdminOptions,
    ) -> Arc<Self> {
        let (uploads, stopping) = (Semaphore::new(UPLOADS_MAX), watch::Sender::new(false));
        let (streams, overview) = (Arc::new(Semaphore::new(STREAMS_MAX)), Overview::default());
        let (failures, series) = (Mutex::default(), series::start(&control));
        Arc::new(Self {
            control,
            events,
            values,
            options,
            uploads,
            streams,
            overview,
            metric_series: SeriesBound::default(),
            series,
            sessions: Sessions::default(),
            logins: Semaphore::new(LOGINS_MAX),
            failures,
            stopping,
        })
    }

    /// How often clients have shown wrong tokens.
    pub(crate) fn failures(&self) -> MutexGuard<'_, FailureLimit> {
        // Nothing panics while holding the lock.
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The router of the whole API, and of the page.
    pub(crate) fn router(self: &Arc<Self>) -> Router {
        let shared = Shared(Arc::clone(self));
        let routes = Operation::ALL.into_iter().fold(Router::new(), |router, operation| {
            let guard = Guard { admin: Arc::clone(self), operation };
            let authorize = middleware::from_fn_with_state(guard, authorize::<H, S>);
            let mut handler = handler::<H, S>(operation);
            if operation.is_by_node() || operation.is_about_nodes() {
                let cluster = self.options.cluster.clone();
                handler = handler.route_layer(middleware::from_fn_with_state(cluster, choose));
            }
            router.route(operation.route().1, handler.route_layer(authorize))
        });
        routes
            .merge(handlers::page())
            .fallback(async || ApiError::no_such_path())
            .method_not_allowed_fallback(async || ApiError::method_not_allowed())
            .with_state(shared)
    }
}
