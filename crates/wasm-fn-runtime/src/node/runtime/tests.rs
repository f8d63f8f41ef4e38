//! Facts about invocations, on the real guests of `guest-examples/prebuilt`.

use std::{collections::BTreeMap, convert::Infallible, time::Instant};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, StreamBody};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use wasm_fn_core::{Limits, Scheme, StageName};

use super::*;
use crate::{
    BodyError, Fault, GuestLogStream, Invocation, InvocationError, Kind, KindError, LogStage, ResponseBody,
    slot_cost,
};

mod attacks;
mod bodiless;
mod bombs;
mod commands;
mod computing;
mod egress;
mod isolation;
mod loading;
mod optimising;
mod preparing;
mod pressure;
mod rollouts;
mod secrets;
mod shared;
mod working_on;

impl From<Infallible> for BodyError {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

/// A runtime over a temporary directory.
struct Node {
    runtime: Arc<Runtime>,
    dir: TempDir,
}

impl Node {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { runtime: start(dir.path(), 64), dir }
    }

    /// Puts bytes where components lie.
    fn add(&self, bytes: &[u8]) -> Digest {
        let digest = Digest(Sha256::digest(bytes).into());
        let path = self.dir.path().join("blobs").join(digest.to_string());
        // It may be read while it is added again.
        if !path.exists() {
            std::fs::write(path, bytes).unwrap();
        }
        digest
    }

    /// A version of a component, as one function among others.
    fn add_version(&self, bytes: &[u8]) -> Arc<Version> {
        self.version_with("shop", bytes, FunctionConfig::default(), SecretSet::none())
    }

    /// A version of a component with secrets.
    fn version_with(
        &self,
        function: &str,
        bytes: &[u8],
        config: FunctionConfig,
        secrets: Arc<SecretSet>,
    ) -> Arc<Version> {
        let (function, digest) = (function.parse().unwrap(), self.add(bytes));
        self.runtime.version(VersionSpec {
            function,
            stage: StageName::live(),
            version: VersionNo::FIRST,
            digest,
            config,
            secrets,
        })
    }

    fn version(&self, guest: &str, config: FunctionConfig) -> Arc<Version> {
        self.version_with(guest, &prebuilt(guest), config, SecretSet::none())
    }

    async fn prepare(
        &self,
        bytes: &[u8],
        config: &FunctionConfig,
    ) -> Result<PreparedComponent, PrepareError> {
        self.runtime.prepare(self.add(bytes), config, SecretSet::none(), Arc::new(|_| {})).await
    }

    fn log(&self, guest: &str) -> Vec<(GuestLogStream, String)> {
        let page = self.runtime.logs(&guest.parse().unwrap(), 0);
        page.lines.into_iter().map(|line| (line.stream, line.text)).collect()
    }
}

fn start(dir: &Path, instances_max: u32) -> Arc<Runtime> {
    start_with(dir, |options| options.pool = plan(instances_max, 4 << 30))
}

fn start_with_memory(dir: &Path, instances_max: u32, memory_max_bytes: u64) -> Arc<Runtime> {
    start_with(dir, |options| options.pool = plan(instances_max, memory_max_bytes))
}

fn plan(instances_max: u32, memory_max_bytes: u64) -> PoolPlan {
    PoolPlan {
        instances_max,
        running_max: (instances_max - instances_max / 4).max(1),
        memory_max_bytes,
        keep_bytes: 1 << 20,
        address_bytes: slot_cost().address_bytes * u64::from(instances_max),
    }
}

fn start_with(dir: &Path, change: impl FnOnce(&mut RuntimeOptions)) -> Arc<Runtime> {
    let components_dir = dir.join("blobs");
    std::fs::create_dir_all(&components_dir).unwrap();
    let mut options = RuntimeOptions {
        data_dir: dir.to_owned(),
        components_dir,
        pool: plan(64, 4 << 30),
        warm_max: 16,
        idle_after: Duration::from_secs(60),
        code_bytes_max: 1 << 30,
        code_idle_after: Duration::from_secs(60),
        egress: EgressOptions::public(),
        isolation: IsolationOptions::USUAL,
        buckets: None,
        log_sink: None,
    };
    change(&mut options);
    Runtime::start(options).unwrap()
}

fn prebuilt(guest: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../guest-examples/prebuilt");
    std::fs::read(folder.join(guest).with_extension("wasm")).unwrap()
}

fn limits(change: impl FnOnce(&mut Limits)) -> FunctionConfig {
    let mut config = FunctionConfig::default();
    change(&mut config.limits);
    config
}

/// Has `version` compiled if it is not: no request waits for that.
async fn compiled(version: &Arc<Version>) {
    if !version.is_loaded() {
        // A request tells why it cannot be.
        let _ = version.compile().await;
    }
}

async fn call(
    version: &Arc<Version>,
    path: &str,
    body: &'static [u8],
) -> Result<Response<ResponseBody>, InvocationError> {
    let request =
        Request::post(path).header("host", "test").body(Full::new(Bytes::from_static(body))).unwrap();
    compiled(version).await;
    version.clone().invoke(invocation(request)).await
}

/// `request`, which arrives now and may do what it is allowed.
#[expect(clippy::disallowed_methods, reason = "a request arrives")]
fn invocation<B>(request: Request<B>) -> Invocation<B> {
    let now = Instant::now();
    Invocation {
        request,
        request_id: 7,
        stage: LogStage::NONE,
        client: None,
        scheme: Scheme::Http,
        port: 80,
        arrived: now,
        began: now,
        effect_check: None,
        record: None,
    }
}

async fn get(version: &Arc<Version>, path: &str) -> Result<(StatusCode, String), Fault> {
    let response = call(version, path, b"").await.map_err(|failed| failed.fault)?;
    let status = response.status();
    let body = response.into_body().collect().await.map_err(|failed| failed.fault)?.to_bytes();
    Ok((status, String::from_utf8(body.to_vec()).unwrap()))
}

async fn ok(version: &Arc<Version>, path: &str) -> String {
    let (status, body) = get(version, path).await.unwrap();
    assert_eq!(status, StatusCode::OK, "{body}");
    body
}

#[tokio::test]
async fn every_kind_answers() {
    let node = Node::start();
    for (guest, kind, answer) in [
        ("hello-v1", Kind::Http02, "hello from v1\n"),
        ("hello-v2", Kind::Http02, "hello from v2\n"),
        ("hello-p3", Kind::Http03, "hello from v1\n"),
        ("c-hello", Kind::Command, "hello from C\n"),
    ] {
        let prepared = node.prepare(&prebuilt(guest), &FunctionConfig::default()).await.unwrap();
        assert_eq!(prepared, PreparedComponent { kind, cached: false, is_baseline: false }, "{guest}");
        let version = node.version(guest, FunctionConfig::default());
        assert_eq!(ok(&version, "/").await, answer, "{guest}");
        assert_eq!(ok(&version, "/").await, answer, "{guest}");
    }
}

#[tokio::test]
async fn small_response_comes_whole_with_its_length() {
    let node = Node::start();
    for guest in ["hello-v1", "hello-p3"] {
        let version = node.version(guest, FunctionConfig::default());
        let body = call(&version, "/", b"").await.unwrap().into_body();
        assert_eq!(http_body::Body::size_hint(&body).exact(), Some(14), "{guest}");
    }
}

#[tokio::test]
async fn every_invocation_has_its_own_instance() {
    let node = Node::start();
    let version = node.version("counter", FunctionConfig::default());
    for _ in 0..20 {
        assert_eq!(ok(&version, "/").await.trim(), "1");
    }
}

#[tokio::test]
async fn reuse_serves_that_many_requests_with_one_instance() {
    let node = Node::start();
    let version = node.version("counter", limits(|limits| limits.reuse = 3));
    let mut seen = BTreeMap::new();
    for _ in 0..9 {
        *seen.entry(ok(&version, "/").await.trim().to_owned()).or_insert(0) += 1;
    }
    assert!(seen.keys().all(|count| ["1", "2", "3"].contains(&count.as_str())), "{seen:?}");
    assert!(seen.contains_key("3"), "{seen:?}");
}

#[tokio::test]
async fn body_and_trailers_are_echoed() {
    let node = Node::start();
    let version = node.version("echo", FunctionConfig::default());
    let data = Bytes::from(vec![b'x'; 300_000]);
    let mut trailers = HeaderMap::new();
    trailers.insert("x-checksum", "42".parse().unwrap());
    let frames = [
        Ok::<_, Infallible>(http_body::Frame::data(data.clone())),
        Ok(http_body::Frame::data(data.clone())),
        Ok(http_body::Frame::trailers(trailers.clone())),
    ];
    let body = StreamBody::new(tokio_stream_iter(frames));
    let request = Request::post("/a?b=c").header("host", "test").body(body).unwrap();
    compiled(&version).await;
    let response = version.clone().invoke(invocation(request)).await.unwrap();
    assert_eq!(response.headers()["x-echo-path"], "/a?b=c");
    let collected = response.into_body().collect().await.unwrap();
    assert_eq!(collected.trailers(), Some(&trailers));
    assert_eq!(collected.to_bytes().len(), 600_000);
}

fn tokio_stream_iter<T>(items: impl IntoIterator<Item = T>) -> impl futures_util::Stream<Item = T> {
    futures_util::stream::iter(items)
}

#[tokio::test]
async fn trap_before_the_head_is_a_trap_with_its_backtrace_in_the_log() {
    let node = Node::start();
    let version = node.version("trap", FunctionConfig::default());
    assert!(matches!(get(&version, "/before").await, Err(Fault::Trap { .. })));
    let log = node.log("trap");
    assert!(
        log.iter().any(|(stream, text)| *stream == GuestLogStream::Host && text.contains("wasm backtrace")),
        "{log:?}"
    );
    assert!(!log.iter().any(|(_, text)| text.contains("/src/")), "host frames in {log:?}");
    assert_eq!(ok(&version, "/fine").await.trim(), "ok");
}

#[tokio::test]
async fn trap_right_after_the_first_bytes_is_still_an_error() {
    let node = Node::start();
    let version = node.version("trap", FunctionConfig::default());
    assert!(matches!(get(&version, "/after").await, Err(Fault::Trap { .. })));
}

#[tokio::test]
async fn endless_loop_ends_at_its_timeout() {
    let node = Node::start();
    let timeout = Duration::from_millis(200);
    let version = node.version("spin", limits(|limits| limits.timeout = timeout));
    version.load().await.unwrap();
    assert_eq!(ok(&version, "/").await.trim(), "ok");
    let started = tokio::time::Instant::now();
    assert_eq!(get(&version, "/loop").await, Err(Fault::Timeout { limit: timeout }));
    assert!(started.elapsed() >= timeout);
}

#[tokio::test]
async fn sleeping_guest_ends_at_its_timeout() {
    let node = Node::start();
    let timeout = Duration::from_millis(100);
    let version = node.version("slow", limits(|limits| limits.timeout = timeout));
    version.load().await.unwrap();
    assert_eq!(get(&version, "/?ms=60000").await, Err(Fault::Timeout { limit: timeout }));
}

#[tokio::test]
async fn memory_is_refused_at_the_limit() {
    let node = Node::start();
    let version = node.version("hog", limits(|limits| limits.memory_bytes = 32 << 20));
    assert_eq!(get(&version, "/").await, Err(Fault::OutOfMemory { limit_bytes: 32 << 20 }));
    let response = call(&version, "/?mb=8", b"").await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let peak = response.body().usage().memory_peak_bytes;
    assert!((8 << 20..=32 << 20).contains(&peak), "{peak}");
}

#[tokio::test]
async fn endless_body_is_cut_at_the_timeout() {
    let node = Node::start();
    let timeout = Duration::from_millis(100);
    let version = node.version("flood", limits(|limits| limits.timeout = timeout));
    version.load().await.unwrap();
    assert_eq!(get(&version, "/").await, Err(Fault::Timeout { limit: timeout }));
}

#[tokio::test]
async fn endless_recursion_is_a_trap() {
    let node = Node::start();
    let version = node.version("deep", FunctionConfig::default());
    assert!(matches!(get(&version, "/deep").await, Err(Fault::Trap { .. })));
}

#[tokio::test]
async fn silent_guest_gives_an_invalid_response() {
    let node = Node::start();
    let version = node.version("mute", FunctionConfig::default());
    assert!(matches!(get(&version, "/").await, Err(Fault::InvalidResponse { .. })));
}

#[tokio::test]
async fn environment_and_output_reach_guest_and_log() {
    let node = Node::start();
    let mut config = FunctionConfig::default();
    config.env.insert("GREETING".to_owned(), "hi".to_owned());
    let version = node.version("env", config);
    assert!(ok(&version, "/").await.contains("GREETING=hi"));
    let log = node.log("env");
    assert!(log.contains(&(GuestLogStream::Stdout, "env: stdout line".to_owned())), "{log:?}");
    assert!(log.contains(&(GuestLogStream::Stderr, "env: stderr line".to_owned())), "{log:?}");
}

#[tokio::test]
async fn answer_of_500_or_above_is_in_the_log_with_its_request() {
    let node = Node::start();
    let version = node.version("cgi", FunctionConfig::default());
    for (path, status) in [("/a?status=404", 404), ("/b/c?status=503&secret=x", 503)] {
        assert_eq!(call(&version, path, b"").await.unwrap().status(), status);
    }
    let lines = node.runtime.logs(&"cgi".parse().unwrap(), 0).lines;
    let [line] = &lines[..] else { panic!("expected one line: {lines:?}") };
    assert!(line.failed && line.text == "guest answered 503 Service Unavailable", "{line:?}");
    let request = line.request.as_ref().expect("the line names its request");
    assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/b/c"));
    assert_eq!(line.status, Some(StatusCode::SERVICE_UNAVAILABLE));
}

#[tokio::test]
async fn trap_is_in_the_log_with_its_request() {
    let node = Node::start();
    let version = node.version("trap", FunctionConfig::default());
    assert!(matches!(get(&version, "/before").await, Err(Fault::Trap { .. })));
    let lines = node.runtime.logs(&"trap".parse().unwrap(), 0).lines;
    let request = lines[0].request.as_ref().expect("the first line names its request");
    assert_eq!(request.path, "/before");
    assert!(lines[1..].iter().all(|line| line.request.is_none() && line.status == lines[0].status));
    assert_eq!(lines[0].status, Some(StatusCode::INTERNAL_SERVER_ERROR));
}

#[tokio::test]
async fn command_sees_the_request_as_cgi() {
    let node = Node::start();
    let version = node.version("cgi", FunctionConfig::default());
    let response = call(&version, "/a/b?status=418&x=y", b"the body").await.unwrap();
    assert_eq!(response.status(), StatusCode::IM_A_TEAPOT);
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let body = String::from_utf8(body.to_vec()).unwrap();
    for line in ["REQUEST_METHOD=POST", "PATH_INFO=/a/b", "QUERY_STRING=status=418&x=y", "HTTP_HOST=test"] {
        assert!(body.contains(line), "{line} in {body}");
    }
    assert!(body.ends_with("the body"), "{body}");
}

async fn poll_once<F: Future + Unpin>(future: &mut F) -> std::task::Poll<F::Output> {
    std::future::poll_fn(|cx| std::task::Poll::Ready(std::pin::Pin::new(&mut *future).poll(cx))).await
}

#[tokio::test]
async fn full_version_queues_then_sheds() {
    let node = Node::start();
    let version = node.version(
        "slow",
        limits(|limits| {
            limits.concurrency = 1;
            limits.queue = 1;
            limits.queue_wait = Duration::from_secs(30);
        }),
    );
    version.load().await.unwrap();
    let mut running = Box::pin(get(&version, "/?ms=200"));
    assert!(poll_once(&mut running).await.is_pending());
    let mut queued = Box::pin(get(&version, "/?ms=0"));
    assert!(poll_once(&mut queued).await.is_pending());
    assert!(matches!(get(&version, "/?ms=0").await, Err(Fault::FunctionOverloaded { .. })));
    let (running, queued) = tokio::join!(running, queued);
    assert!(running.is_ok() && queued.is_ok());
}

#[tokio::test]
async fn stock_of_one_version_gives_way_to_anothers_request() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node { runtime: start(dir.path(), 4), dir };
    let stocked = node.version("slow", limits(|limits| limits.reuse = 100));
    stocked.load().await.unwrap();
    let calls = || get(&stocked, "/?ms=20");
    let (a, b, c) = tokio::join!(calls(), calls(), calls());
    assert!(a.is_ok() && b.is_ok() && c.is_ok());
    let other = node.version("slow", limits(|limits| limits.reuse = 2));
    let calls = || get(&other, "/?ms=20");
    let (a, b, c) = tokio::join!(calls(), calls(), calls());
    assert!(a.is_ok() && b.is_ok() && c.is_ok(), "{a:?} {b:?} {c:?}");
}

#[tokio::test]
async fn abandoned_invocation_frees_its_place() {
    let node = Node::start();
    let version = node.version(
        "slow",
        limits(|limits| {
            limits.concurrency = 1;
            limits.queue = 0;
        }),
    );
    version.load().await.unwrap();
    let mut running = Box::pin(get(&version, "/?ms=60000"));
    assert!(poll_once(&mut running).await.is_pending());
    assert!(matches!(get(&version, "/?ms=0").await, Err(Fault::FunctionOverloaded { .. })));
    drop(running);
    assert!(get(&version, "/?ms=0").await.is_ok());
}

#[tokio::test]
async fn a_guest_with_nothing_left_to_do_leaves_no_task_behind() {
    let node = Node::start();
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    for guest in ["hello-v1", "hello-p3", "c-hello"] {
        let version = node.version(guest, FunctionConfig::default());
        ok(&version, "/").await;
        let before = tasks();
        ok(&version, "/").await;
        assert_eq!((version.concurrency.running(), tasks()), (0, before), "{guest}");
    }
}

#[tokio::test]
async fn load_makes_instances_of_what_starts_slowly_wait_ready() {
    let node = Node::start();
    let version = node.version("hello-v1", FunctionConfig::default());
    // As if it had: none of the guests does.
    version.pool.record_starts(1, Duration::from_secs(3600));
    // Enough requests, spread over a few fittings of the pool, for some to find an instance ready.
    let mut rounds = 0;
    while version.warm_starts() == 0 {
        rounds += 1;
        assert!(rounds < 10_000, "no request found a ready instance");
        ok(&version, "/").await;
        tokio::task::yield_now().await;
    }
}
