//! A node with fake versions, and clients for it.

pub(super) mod compared;
pub(super) mod routed;

use std::{
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{
    BodyExt, Full,
    channel::{Channel, Sender},
    combinators::UnsyncBoxBody,
};
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::oneshot,
};
use wasm_fn_core::{FunctionName, Outcome, Revision, StageName, Sticky, TrafficSplit, Usage, VersionNo};
use wasm_fn_router::{ComparisonSpec, RouteTable, Salt, Stage, StageSpec, Tally, VersionEntry};

use crate::{
    Call, FailureCause, InvocationBody, Invoke, InvokeFailure, OverrideAccess, ServerHandle, ServerOptions,
    draw_at_random, serve,
};

/// Longer than anything a test waits for.
const PATIENCE: Duration = Duration::from_secs(30);

/// What fake versions answer with.
pub(super) type Answering = Pin<Box<dyn Future<Output = Result<Response<FakeBody>, InvokeFailure>> + Send>>;

/// A version that runs a closure.
pub(super) struct Fake(Box<dyn Fn(Call) -> Answering + Send + Sync>);

/// A body that is known, or one that a test feeds.
pub(super) struct FakeBody {
    kind: Kind,
    usage: Usage,
    gone: Option<oneshot::Sender<()>>,
    completed: Option<oneshot::Sender<()>>,
}

enum Kind {
    Known(Full<Bytes>),
    Fed(Channel<Bytes, InvokeFailure>),
}

impl Fake {
    pub(super) fn new<F>(answer: impl Fn(Call) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<Response<FakeBody>, InvokeFailure>> + Send + 'static,
    {
        Self(Box::new(move |call| Box::pin(answer(call))))
    }

    /// Counts its calls.
    pub(super) fn counting(self) -> (Self, Arc<AtomicU32>) {
        let calls = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&calls);
        let answer = move |call| {
            counted.fetch_add(1, Ordering::SeqCst);
            (self.0)(call)
        };
        (Self(Box::new(answer)), calls)
    }
}

impl Invoke for Fake {
    type Body = FakeBody;

    fn invoke(
        &self,
        call: Call,
    ) -> impl Future<Output = Result<Response<FakeBody>, InvokeFailure>> + Send + use<> {
        (self.0)(call)
    }
}

impl FakeBody {
    pub(super) fn text(text: impl Into<Bytes>) -> Self {
        Self::of(Kind::Known(Full::new(text.into())))
    }

    /// A body that is fed frames, and one at most ahead of being asked.
    pub(super) fn fed() -> (Sender<Bytes, InvokeFailure>, Self) {
        let (sender, channel) = Channel::new(1);
        (sender, Self::of(Kind::Fed(channel)))
    }

    fn of(kind: Kind) -> Self {
        Self { kind, usage: Usage::default(), gone: None, completed: None }
    }

    /// Tells when the server needs no more of the body.
    pub(super) fn reporting(mut self, completed: oneshot::Sender<()>) -> Self {
        self.completed = Some(completed);
        self
    }

    /// Tells when the body is dropped.
    pub(super) fn telling(mut self, gone: oneshot::Sender<()>) -> Self {
        self.gone = Some(gone);
        self
    }

    pub(super) fn using(mut self, usage: Usage) -> Self {
        self.usage = usage;
        self
    }
}

impl Drop for FakeBody {
    fn drop(&mut self) {
        if let Some(gone) = self.gone.take() {
            let _ = gone.send(());
        }
    }
}

impl Body for FakeBody {
    type Data = Bytes;
    type Error = InvokeFailure;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, InvokeFailure>>> {
        match &mut self.kind {
            Kind::Known(body) => Pin::new(body).poll_frame(cx).map_err(|never| match never {}),
            Kind::Fed(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Known(body) => body.is_end_stream(),
            Kind::Fed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Known(body) => body.size_hint(),
            Kind::Fed(body) => body.size_hint(),
        }
    }
}

impl InvocationBody for FakeBody {
    fn usage(&self) -> Usage {
        self.usage
    }

    fn complete(mut self: Pin<&mut Self>) {
        if let Some(completed) = self.completed.take() {
            let _ = completed.send(());
        }
    }
}

/// 200 with `text`.
pub(super) fn ok(text: impl Into<Bytes>) -> Result<Response<FakeBody>, InvokeFailure> {
    Ok(Response::new(FakeBody::text(text)))
}

pub(super) fn trap(detail: &str) -> InvokeFailure {
    InvokeFailure::new(FailureCause::Trap, detail)
}

pub(super) fn v(number: u32) -> VersionNo {
    VersionNo::new(number).unwrap()
}

/// Overrides are for the bearer of `open sesame`, previews of `hello` in `live` for that of `sesame-hello`
/// too, and in `staging` for that of `sesame-hello@staging`.
struct Sesame;

impl OverrideAccess for Sesame {
    fn may_override(&self, _: &FunctionName, _: &StageName, token: Option<&str>) -> bool {
        token == Some("open sesame")
    }

    fn may_preview(&self, function: &FunctionName, stage: &StageName, token: &str) -> bool {
        let place = if stage.is_live() { function.to_string() } else { format!("{function}@{stage}") };
        token == format!("sesame-{place}")
    }
}

/// Bounds that no test meets by accident.
pub(super) fn options() -> ServerOptions {
    ServerOptions {
        connections_max: 1000,
        connections_per_address: 1000,
        headers_max: 100,
        head_bytes_max: 65_536,
        body_bytes_max: 1 << 20,
        head_timeout: PATIENCE,
        idle_timeout: PATIENCE,
        stall_timeout: PATIENCE,
        drain_grace: Duration::from_millis(50),
        schedule_delay_max: Duration::from_secs(60),
        shield_body_bytes_max: 64 << 10,
        show_shielded: true,
        trusted_proxies: Vec::new(),
        tls: None,
        proxy_protocol: false,
        preview_domain: None,
        receiver: None,
        recording: None,
        draw: draw_at_random,
    }
}

/// A stage `live` of `function` with its default route.
pub(super) fn stage(
    function: &str,
    split: TrafficSplit,
    versions: Vec<VersionEntry<Fake>>,
) -> Arc<Stage<Fake>> {
    stage_with(function, split, versions, None)
}

/// The same, with a comparison.
pub(super) fn stage_with(
    function: &str,
    split: TrafficSplit,
    versions: Vec<VersionEntry<Fake>>,
    comparison: Option<ComparisonSpec>,
) -> Arc<Stage<Fake>> {
    let function: FunctionName = function.parse().unwrap();
    let stable = versions[0].no;
    let spec = StageSpec {
        routes: vec![wasm_fn_core::Route::default_for(&function, &StageName::live())],
        function,
        stage: StageName::live(),
        preview: wasm_fn_core::PreviewAccess::Token,
        split,
        stable,
        canary: versions.get(1).map(|version| version.no),
        previous: None,
        sticky: Sticky::None,
        cohorts: Vec::new(),
        salt: Salt([1, 2]),
        comparison,
        baseline: None,
        versions,
    };
    Arc::new(Stage::new(spec).unwrap())
}

pub(super) fn entry(no: VersionNo, tally: &Arc<Tally>, fake: Fake) -> VersionEntry<Fake> {
    let label = HeaderValue::from_str(&no.to_string()).unwrap();
    VersionEntry { no, label, tally: Arc::clone(tally), target: fake }
}

/// A running data plane.
pub(super) struct Node {
    pub(super) handle: ServerHandle,
    pub(super) tables: Arc<ArcSwap<RouteTable<Fake>>>,
    /// Of `v1` of `hello`, where there is one.
    pub(super) tally: Arc<Tally>,
}

impl Node {
    pub(super) async fn with_table(
        table: RouteTable<Fake>,
        tally: Arc<Tally>,
        options: ServerOptions,
    ) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").await.unwrap(), table, tally, options)
    }

    fn on(listener: TcpListener, table: RouteTable<Fake>, tally: Arc<Tally>, options: ServerOptions) -> Self {
        let tables = Arc::new(ArcSwap::from_pointee(table));
        let handle = serve(listener, Arc::clone(&tables), options, Arc::new(Sesame)).unwrap();
        Self { handle, tables, tally }
    }

    /// `hello` with `v1`, under `options`.
    pub(super) async fn bounded(options: ServerOptions, fake: Fake) -> Self {
        Self::listening(TcpListener::bind("127.0.0.1:0").await.unwrap(), options, fake)
    }

    /// The same on `listener`.
    pub(super) fn listening(listener: TcpListener, options: ServerOptions, fake: Fake) -> Self {
        let tally = Arc::new(Tally::new());
        let stage = stage("hello", TrafficSplit::all(v(1)), vec![entry(v(1), &tally, fake)]);
        let table = RouteTable::new(Revision(1), vec![stage]).unwrap();
        Self::on(listener, table, tally, options)
    }

    /// `hello` with `v1`.
    pub(super) async fn answering<F>(answer: impl Fn(Call) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<Response<FakeBody>, InvokeFailure>> + Send + 'static,
    {
        Self::bounded(options(), Fake::new(answer)).await
    }

    pub(super) fn addr(&self) -> SocketAddr {
        self.handle.local_addr()
    }

    pub(super) async fn http1(&self) -> Http1 {
        let io = TokioIo::new(TcpStream::connect(self.addr()).await.unwrap());
        let (client, connection) = http1::handshake(io).await.unwrap();
        tokio::spawn(connection);
        client
    }

    pub(super) async fn http2(&self) -> Http2 {
        let io = TokioIo::new(TcpStream::connect(self.addr()).await.unwrap());
        let (client, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
        tokio::spawn(connection);
        client
    }

    pub(super) async fn raw(&self) -> Raw {
        Raw(TcpStream::connect(self.addr()).await.unwrap())
    }

    /// Waits until exactly `expected` requests were counted, all of them as `outcome`.
    pub(super) async fn counts(&self, outcome: Outcome, expected: u64) {
        eventually(|| self.tally.snapshot().total() >= expected).await;
        let snapshot = self.tally.snapshot();
        assert_eq!((snapshot.count(outcome), snapshot.total()), (expected, expected), "{snapshot:?}");
    }
}

pub(super) type ClientBody = UnsyncBoxBody<Bytes, std::convert::Infallible>;
pub(super) type Http1 = http1::SendRequest<ClientBody>;
pub(super) type Http2 = http2::SendRequest<ClientBody>;

/// GET of `path`, for either protocol.
pub(super) fn get(path: &str) -> Request<ClientBody> {
    let mut request = request(path, Full::default().boxed_unsync());
    *request.method_mut() = Method::GET;
    request
}

/// POST of `body` to `path`.
pub(super) fn request(path: &str, body: ClientBody) -> Request<ClientBody> {
    let mut request = Request::new(body);
    *request.method_mut() = Method::POST;
    *request.uri_mut() = path.parse().unwrap();
    request.headers_mut().insert(header::HOST, HeaderValue::from_static("node.test"));
    request
}

/// The same for HTTP/2, which names its host in the URI.
pub(super) fn request2(path: &str, body: ClientBody) -> Request<ClientBody> {
    let mut request = Request::new(body);
    *request.method_mut() = Method::POST;
    *request.uri_mut() = format!("http://node.test{path}").parse().unwrap();
    request
}

pub(super) fn get2(path: &str) -> Request<ClientBody> {
    let mut request = request2(path, Full::default().boxed_unsync());
    *request.method_mut() = Method::GET;
    request
}

/// A body that a test feeds.
pub(super) fn fed() -> (Sender<Bytes>, ClientBody) {
    let (sender, channel) = Channel::new(1);
    (sender, channel.boxed_unsync())
}

pub(super) async fn text(response: Response<Incoming>) -> String {
    let bytes = within(response.into_body().collect()).await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The problem in `response`: its status and its members.
pub(super) async fn problem(response: Response<Incoming>) -> (StatusCode, serde_json::Value) {
    assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
    let status = response.status();
    let value: serde_json::Value = serde_json::from_str(&text(response).await).unwrap();
    assert_eq!(value["status"], status.as_u16());
    (status, value)
}

/// A client that says exactly what a test writes.
pub(super) struct Raw(pub(super) TcpStream);

impl Raw {
    pub(super) async fn send(&mut self, text: &str) {
        within(self.0.write_all(text.as_bytes())).await.unwrap();
    }

    /// Everything up to and including `end`.
    pub(super) async fn read_until(&mut self, end: &str) -> String {
        let mut read = Vec::new();
        while !read.ends_with(end.as_bytes()) {
            let byte = within(self.0.read_u8()).await.unwrap_or_else(|error| {
                panic!("{error} after {:?}", String::from_utf8_lossy(&read));
            });
            read.push(byte);
        }
        String::from_utf8(read).unwrap()
    }

    /// Everything until the server closes; a reset ends it too.
    pub(super) async fn read_to_end(&mut self) -> String {
        let mut read = Vec::new();
        match within(self.0.read_to_end(&mut read)).await {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::ConnectionReset),
        }
        String::from_utf8(read).unwrap()
    }
}

/// `future`, which a broken server would leave pending.
pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("it happens")
}

/// Waits until `holds`.
pub(crate) async fn eventually(holds: impl Fn() -> bool) {
    within(async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}
