//! What rollouts rest on: traps that are recognised, effects that are seen, time that is shared between two
//! runs, and versions that stay warm.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use wasm_fn_core::Trap;

use super::*;
use crate::EffectCheck;

async fn trap(version: &Arc<Version>, path: &str) -> Trap {
    match get(version, path).await {
        Err(Fault::Trap { trap, .. }) => trap,
        other => panic!("{other:?}, expected a trap"),
    }
}

#[tokio::test]
async fn the_same_trap_has_the_same_fingerprint_in_every_instance_and_node() {
    let (node, other) = (Node::start(), Node::start());
    let version = node.version("trap", FunctionConfig::default());
    let first = trap(&version, "/before").await;
    assert_eq!(first, trap(&version, "/before").await);
    let elsewhere = other.version("trap", FunctionConfig::default());
    assert_eq!(first, trap(&elsewhere, "/before").await);
    let deep = node.version("deep", FunctionConfig::default());
    let deep = trap(&deep, "/deep").await;
    assert_ne!(first.fingerprint, deep.fingerprint);
    assert!((1..=21).contains(&deep.backtrace.lines().count()) && deep.backtrace.len() <= 4096);
}

#[tokio::test]
async fn without_names_only_the_kind_of_a_trap_counts() {
    let node = Node::start();
    let version = node.version("trap", FunctionConfig::default());
    let (before, after) = (trap(&version, "/before").await, trap(&version, "/after").await);
    assert_ne!(before.backtrace, after.backtrace);
    assert_eq!(before.fingerprint, after.fingerprint);
    let mut lines = before.backtrace.lines();
    assert!(lines.next().unwrap().contains("unreachable"), "{before:?}");
    assert!(lines.next().unwrap().starts_with("  0: function "), "{before:?}");
}

/// A command whose last function but one, called `name`, executes `unreachable`; `padding` functions come
/// before it, so that its index differs between builds.
fn trapping(name: &str, padding: u8) -> Vec<u8> {
    let section = |id: u8, content: Vec<u8>| {
        let size = u8::try_from(content.len()).unwrap();
        assert!(size < 0x80, "one byte says the size");
        [vec![id, size], content].concat()
    };
    let (functions, start) = (padding + 2, padding + 1);
    let bodies =
        [b"\x02\0\x0b".repeat(padding.into()), b"\x03\0\0\x0b".to_vec(), vec![4, 0, 0x10, padding, 0x0b]];
    let names = [vec![1, padding, u8::try_from(name.len()).unwrap()], name.as_bytes().to_vec()].concat();
    [
        b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0".to_vec(),
        section(3, [vec![functions], vec![0; functions.into()]].concat()),
        b"\x05\x03\x01\0\x01".to_vec(),
        section(7, [b"\x02\x06memory\x02\0\x06_start\0".as_slice(), &[start]].concat()),
        section(10, [vec![functions], bodies.concat()].concat()),
        section(0, [b"\x04name".to_vec(), section(1, names)].concat()),
    ]
    .concat()
}

#[tokio::test]
async fn two_builds_that_trap_in_the_same_function_have_the_same_fingerprint() {
    let node = Node::start();
    let trap_of = async |name, padding| {
        let digest = node.add(&trapping(name, padding));
        let (function, config) = ("shop".parse().unwrap(), FunctionConfig::default());
        let spec = VersionSpec {
            function,
            stage: StageName::live(),
            version: VersionNo::FIRST,
            digest,
            config,
            secrets: SecretSet::none(),
        };
        trap(&node.runtime.version(spec), "/").await
    };
    let first = trap_of("_ZN4shop4cart17h0123456789abcdefE", 0).await;
    let second = trap_of("_ZN4shop4cart17hfedcba9876543210E", 5).await;
    assert_eq!(first.fingerprint, second.fingerprint);
    assert_eq!(first.backtrace.lines().nth(1), Some("  0: shop::cart"), "{}", first.backtrace);
    let other = trap_of("_ZN4shop3pay17h0123456789abcdefE", 0).await;
    assert_ne!(first.fingerprint, other.fingerprint);
}

/// Runs the guest that fetches `url`; its status, and how often it was asked whether that may leave.
async fn fetch(version: &Arc<Version>, url: &str, may_leave: bool) -> (StatusCode, u32) {
    let asked = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&asked);
    let effects = EffectCheck::new(move || {
        counted.fetch_add(1, Relaxed);
        may_leave
    });
    let url = url.replace(':', "%3A").replace('/', "%2F");
    let request = Request::get(format!("/?url={url}")).header("host", "test");
    let request = request.body(Full::new(Bytes::new())).unwrap();
    let invocation = Invocation { effect_check: Some(effects), ..invocation(request) };
    compiled(version).await;
    let response = version.clone().invoke(invocation).await.unwrap();
    let status = response.status();
    response.into_body().collect().await.unwrap();
    (status, asked.load(Relaxed))
}

#[tokio::test]
async fn outgoing_requests_are_effects_when_allowed_and_not_when_denied() {
    // Nobody accepts: the kernel does, and the request is answered by the end of the connection.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let node = Node::start();
    let denied = node.version("fetch", FunctionConfig::default());
    assert_eq!(fetch(&denied, &origin, true).await, (StatusCode::BAD_GATEWAY, 0));
    let egress = vec![origin.parse().unwrap()];
    let allowed = node.version("fetch", FunctionConfig { egress, ..FunctionConfig::default() });
    assert_eq!(fetch(&allowed, &origin, false).await, (StatusCode::BAD_GATEWAY, 1));
    let closing = tokio::spawn(async move { drop(listener.accept().await.unwrap()) });
    assert_eq!(fetch(&allowed, &origin, true).await, (StatusCode::BAD_GATEWAY, 1));
    closing.await.unwrap();
}

#[tokio::test]
async fn a_request_without_time_left_starts_no_guest() {
    let node = Node::start();
    let limit = Duration::from_secs(10);
    let version = node.version("hello-v1", limits(|limits| limits.timeout = limit));
    version.load().await.unwrap();
    let run = |ago: Duration| {
        let request = Request::get("/").header("host", "test").body(Full::new(Bytes::new())).unwrap();
        let now = invocation(request);
        let arrived = now.arrived.checked_sub(ago).unwrap();
        version.clone().invoke(Invocation { arrived, ..now })
    };
    assert!(matches!(run(limit).await.err().unwrap().fault, Fault::NodeOverloaded { .. }));
    assert_eq!((version.warm_starts(), version.cold_starts()), (0, 0));
    assert!(run(Duration::ZERO).await.is_ok());
}

#[tokio::test]
async fn a_second_run_has_only_the_time_that_is_left() {
    let node = Node::start();
    let limit = Duration::from_secs(3600);
    let version = node.version("spin", limits(|limits| limits.timeout = limit));
    version.load().await.unwrap();
    let request = Request::get("/loop").header("host", "test").body(Full::new(Bytes::new())).unwrap();
    let now = invocation(request);
    let arrived = now.arrived.checked_sub(limit - Duration::from_millis(50)).unwrap();
    let failed = version.clone().invoke(Invocation { arrived, ..now }).await.err().unwrap();
    assert_eq!(failed.fault, Fault::BeganLate { limit }, "another version had the rest");
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "an operator's command comes at some time")]
async fn a_version_that_is_kept_warm_has_an_instance_without_any_request() {
    let node = Node::start();
    let version = node.version("hello-v1", FunctionConfig::default());
    version.keep_warm(Instant::now() + Duration::from_secs(3600));
    while version.ready() == 0 {
        tokio::task::yield_now().await;
    }
    ok(&version, "/").await;
    assert_eq!((version.warm_starts(), version.cold_starts()), (1, 0));
    let other = node.version("hello-v2", FunctionConfig::default());
    other.keep_warm(Instant::now() + Duration::from_secs(3600));
    while other.ready() == 0 {
        tokio::task::yield_now().await;
    }
    other.keep_warm(Instant::now());
    while other.ready() > 0 {
        tokio::task::yield_now().await;
    }
}
