//! Guests that attack what holds them apart, run by a node in every reset, linked and not linked, each
//! followed by a witness: a guest that reads every byte that it can, and answers whether each is its image's.
//! Every reset is audited. `WASM_FN_ATTACKS` says how often each attack runs.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    task::Context,
    thread,
};

use futures_util::{StreamExt as _, stream};
use tokio::runtime::Handle;
use wasm_fn_memory::{MemoryReset, NotGrown};
use wasmtime::ResourceLimiter as _;

use super::{isolation::RESETS, *};
use crate::guest_host::{meter::Meter, state::GuestState};

/// How often each attack runs unless the environment says it.
const RUNS: usize = 2;

/// Instances at once: so few that slots go from one component to another.
const INSTANCES: u32 = 4;

const TIMEOUT: Duration = Duration::from_millis(30);

/// What the witness answers if it has found nothing.
const CLEAN: &str = "clean\n";

/// A command that first looks at its memory and answers what it has found, and then does what it is told: by
/// `m`, `t` and `l` to write everywhere, and to end, trap or loop; by `g` to ask for too much again and
/// again; by each `p` to write to one more page; by anything else nothing. It reads until its input ends.
const WITNESS: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_read" (func $fd_read (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 8 64)
    (data (i32.const 64) "X-A: b\n\nclean\n  foreign\n")
    (data (i32.const 0x30000) "image.. ")
    (global $behind (mut i32) (i32.const 0))
    (func $print (param $at i32) (param $bytes i32)
        (i32.store (i32.const 0) (local.get $at))
        (i32.store (i32.const 4) (local.get $bytes))
        (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))
    (func $has (param $at i32) (param $end i32) (result i32)
        (loop $next
            (if (i64.ne (i64.load (local.get $at)) (i64.const 0)) (then (return (i32.const 1))))
            (local.set $at (i32.add (local.get $at) (i32.const 8)))
            (br_if $next (i32.lt_u (local.get $at) (local.get $end))))
        (i32.const 0))
    (func $is_foreign (result i32)
        (if (call $has (i32.const 0) (i32.const 64)) (then (return (i32.const 1))))
        (if (call $has (i32.const 88) (i32.const 0x30000)) (then (return (i32.const 1))))
        (if (i64.ne (i64.load (i32.const 0x30000)) (i64.const 0x202e2e6567616d69))
            (then (return (i32.const 1))))
        (if (call $has (i32.const 0x30008) (i32.const 0x80000)) (then (return (i32.const 1))))
        (global.set $behind (memory.grow (i32.const 24)))
        (call $has (i32.shl (global.get $behind) (i32.const 16)) (i32.shl (memory.size) (i32.const 16))))
    (func $fill
        (memory.fill (i32.const 0x30000) (i32.const 0xaa) (i32.const 0x50000))
        (memory.fill (i32.shl (global.get $behind) (i32.const 16)) (i32.const 0xaa)
            (i32.const 0x180000)))
    (func $ask (local $times i32)
        (loop $next
            (if (i32.ne (memory.grow (i32.const 1000)) (i32.const -1)) (then unreachable))
            (if (i32.ne (memory.grow (i32.const 65536)) (i32.const -1)) (then unreachable))
            (local.set $times (i32.add (local.get $times) (i32.const 1)))
            (br_if $next (i32.lt_u (local.get $times) (i32.const 1000)))))
    (func (export "_start") (local $told i32) (local $page i32)
        (local.set $told (call $is_foreign))
        (call $print (i32.const 64) (i32.const 8))
        (if (local.get $told)
            (then (call $print (i32.const 80) (i32.const 8)))
            (else (call $print (i32.const 72) (i32.const 6))))
        (loop $next
            (i32.store (i32.const 0) (i32.const 16))
            (i32.store (i32.const 4) (i32.const 1))
            (drop (call $fd_read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
            (if (i32.eqz (i32.load (i32.const 8))) (then (return)))
            (local.set $told (i32.load8_u (i32.const 16)))
            (if (i32.eq (local.get $told) (i32.const 0x6d)) (then (call $fill)))
            (if (i32.eq (local.get $told) (i32.const 0x74)) (then (call $fill) unreachable))
            (if (i32.eq (local.get $told) (i32.const 0x6c)) (then (call $fill) (loop $ever (br $ever))))
            (if (i32.eq (local.get $told) (i32.const 0x67)) (then (call $ask)))
            (if (i32.eq (local.get $told) (i32.const 0x70))
                (then
                    (i32.store8 (i32.add (i32.const 0x40000) (i32.shl (local.get $page) (i32.const 12)))
                        (i32.const 1))
                    (local.set $page (i32.rem_u (i32.add (local.get $page) (i32.const 1)) (i32.const 64)))))
            (br $next))))"#;

/// A node, and the version of the witness on it.
struct Attacked {
    runtime: Arc<Runtime>,
    witness: Arc<Version>,
    /// A guest that writes to its memory here and there.
    other: Arc<Version>,
    /// A guest of the engine with concurrent calls.
    pending: Arc<Version>,
    is_linked: bool,
}

impl Attacked {
    fn start(dir: &Path, memory_reset: MemoryReset, link_components: bool) -> Self {
        let isolation = IsolationOptions { memory_reset, audit_resets: 1, link_components };
        let runtime = start_with(dir, |options| {
            options.isolation = isolation;
            options.pool = plan(INSTANCES, 1 << 30);
            options.warm_max = 2;
        });
        let version = |name: &str, bytes: &[u8], config: FunctionConfig| {
            let digest = Digest(Sha256::digest(bytes).into());
            std::fs::write(dir.join("blobs").join(digest.to_string()), bytes).unwrap();
            runtime.version(VersionSpec {
                function: name.parse().unwrap(),
                stage: StageName::live(),
                version: VersionNo::FIRST,
                digest,
                config,
                secrets: SecretSet::none(),
            })
        };
        let in_time = limits(|limits| limits.timeout = TIMEOUT);
        let witness = version("witness", &wat::parse_str(WITNESS).unwrap(), in_time);
        let other = version("hog", &prebuilt("hog"), FunctionConfig::default());
        let pending = version("pending", &prebuilt("pending"), FunctionConfig::default());
        Self { runtime, witness, other, pending, is_linked: link_components }
    }

    /// Asks the witness, in as many instances as there can be.
    async fn look(&self) {
        for _ in 0..2 {
            match get(&self.witness, "/").await {
                Ok((_, found)) => assert_eq!(found, CLEAN),
                // On a busy machine it may be late.
                Err(Fault::Timeout { .. }) => {}
                Err(fault) => panic!("{fault}"),
            }
        }
    }

    /// A request whose body is sent as `told` yields it.
    async fn tell(
        &self,
        told: impl stream::Stream<Item = &'static [u8]> + Send + 'static,
    ) -> Result<Response<ResponseBody>, InvocationError> {
        let frames = told.map(|told| Ok::<_, Infallible>(http_body::Frame::data(Bytes::from_static(told))));
        let request = Request::post("/").header("host", "test").body(StreamBody::new(Box::pin(frames)));
        self.witness.clone().invoke(invocation(request.unwrap())).await
    }
}

fn runs() -> usize {
    std::env::var("WASM_FN_ATTACKS").ok().and_then(|runs| runs.parse().ok()).unwrap_or(RUNS)
}

/// Runs `attack` on each kind of node as often as it is to run, with the number of the run, and lets the
/// witness look after each.
async fn attack(attack: impl AsyncFn(&Attacked, usize)) {
    let dir = tempfile::tempdir().unwrap();
    for link_components in [true, false] {
        for reset in RESETS {
            let node = Attacked::start(dir.path(), reset, link_components);
            node.witness.load().await.unwrap();
            node.other.load().await.unwrap();
            node.pending.load().await.unwrap();
            for run in 0..runs() {
                attack(&node, run).await;
                node.look().await;
                ok(&node.other, "/?pages=100").await;
                node.look().await;
            }
            let found = node.runtime.isolation();
            assert_eq!((found.reset, found.faults), (reset, 0), "linked: {link_components}");
            assert!(found.compared > 0);
        }
    }
}

/// Polls `future` on a thread of its own each time.
async fn elsewhere<F: Future<Output: Send> + Send>(future: F) -> F::Output {
    let (mut future, handle) = (pin!(future), Handle::current());
    poll_fn(|cx| {
        let waker = cx.waker();
        thread::scope(|scope| {
            let polled = scope.spawn(|| {
                let _runtime = handle.enter();
                future.as_mut().poll(&mut Context::from_waker(waker))
            });
            polled.join().unwrap()
        })
    })
    .await
}

/// What the guest has found, as the first frame says.
async fn first_frame(body: &mut ResponseBody) -> Bytes {
    body.frame().await.unwrap().unwrap().into_data().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ones_that_write_everywhere_and_end_trap_or_compute_too_long() {
    attack(async |node, _| {
        for told in ["m", "t", "l"] {
            let ended = node.tell(stream::iter([told.as_bytes()])).await;
            if let Ok(response) = ended {
                let body = response.into_body().collect().await;
                assert!(body.is_err() || body.is_ok_and(|body| body.to_bytes() == CLEAN));
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ones_whose_client_leaves_in_mid_call() {
    attack(async |node, run| {
        let told = stream::iter([b"m".as_slice()]).chain(stream::pending());
        let Ok(mut response) = node.tell(told).await else { return };
        assert_eq!(first_frame(response.body_mut()).await, CLEAN);
        if run.is_multiple_of(2) {
            let handle = Handle::current();
            thread::scope(|scope| {
                scope.spawn(move || {
                    let _runtime = handle.enter();
                    drop(response);
                });
            });
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ones_that_write_a_page_on_each_thread_that_they_are_moved_to() {
    attack(async |node, _| {
        // Each piece comes when the guest waits for it.
        let told = stream::unfold(0, |sent| async move {
            tokio::task::yield_now().await;
            (sent < 8).then_some((b"p".as_slice(), sent + 1))
        });
        if let Ok(response) = elsewhere(node.tell(told)).await {
            let body = elsewhere(response.into_body().collect()).await;
            assert!(body.is_err() || body.is_ok_and(|body| body.to_bytes() == CLEAN));
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ones_that_have_returned_with_a_write_pending() {
    // By whether the guest was linked: what its memory is when it is called.
    let first = Mutex::new(BTreeMap::new());
    attack(async |node, run| {
        let mut response = call(&node.pending, "/", b"").await.unwrap();
        let mut found = first_frame(response.body_mut()).await.to_vec();
        found.truncate(17);
        let expected = first.lock().unwrap().entry(node.is_linked).or_insert_with(|| found.clone()).clone();
        assert_eq!(expected, found, "the guest finds what the first one found");
        // The guest writes on meanwhile.
        for _ in 0..run % 3 {
            first_frame(response.body_mut()).await;
        }
        if run.is_multiple_of(2) {
            elsewhere(async move { drop(response) }).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ones_that_ask_for_too_much_in_a_loop_are_not_charged_for_it() {
    attack(async |node, _| {
        let mut peaks = Vec::new();
        for told in ["g", "w", "gg"] {
            let Ok(mut response) = node.tell(stream::iter([told.as_bytes()])).await else { return };
            while let Some(frame) = response.body_mut().frame().await {
                if frame.is_err() {
                    return;
                }
            }
            peaks.push(response.body().usage().memory_peak_bytes);
        }
        assert!(peaks.windows(2).all(|pair| pair[0] == pair[1]), "{peaks:?}");
    })
    .await;
}

#[tokio::test]
async fn memory_that_the_system_refuses_is_not_charged_and_is_the_nodes_fault() {
    let node = Node::start();
    let resources = &node.runtime.node;
    let log = Arc::new(LogRing::new(watch::channel(0).0, None));
    let config = FunctionConfig::default();
    let template = resources.template(VersionNo::FIRST, config, SecretSet::none(), NamedBuckets::new(), log);
    let meter = Arc::new(Meter::new(resources.ticker.clone()));
    let mut state = GuestState::new(Arc::new(template), meter.clone());
    let page = 64 << 10;
    assert!(state.memory_growing(0, page, None).unwrap());
    for _ in 0..1000 {
        assert!(state.memory_growing(page, 2 * page, None).unwrap());
        let refused = NotGrown::Refused(io::ErrorKind::OutOfMemory.into());
        state.memory_grow_failed(refused.into()).unwrap();
        // Of this, the engine tells without having asked.
        state.memory_grow_failed(wasmtime::Error::msg("more than its type allows")).unwrap();
        assert_eq!(resources.memory.used_bytes(), page as u64);
        assert_eq!(meter.memory_peak_bytes(), page as u64);
    }
    assert!(meter.is_starved());
    // What was given last time stays given.
    assert!(state.memory_growing(page, 3 * page, None).unwrap());
    state.memory_grow_failed(wasmtime::Error::msg("more than its type allows")).unwrap();
    assert_eq!(resources.memory.used_bytes(), 3 * page as u64);
    // Nor is what the memory's own type rules out.
    assert!(!state.memory_growing(3 * page, 5 * page, Some(4 * page)).unwrap());
    assert_eq!(meter.memory_peak_bytes(), 3 * page as u64);
    drop(state);
    assert_eq!(resources.memory.used_bytes(), 0);
}
