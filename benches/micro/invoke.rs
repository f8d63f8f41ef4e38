//! What does one invocation cost without a network, on real guests?
//!
//! Budget: 20 µs for hello 0.2 with an instance of its own, 9 µs with one that is reused.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use http_body_util::{BodyExt as _, Empty};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use tikv_jemallocator::Jemalloc;
use wasm_fn_core::{Digest, FunctionConfig, Scheme, StageName, VersionNo};
use wasm_fn_pool::PoolPlan;
use wasm_fn_runtime::{
    BodyError, EgressOptions, Invocation, IsolationOptions, LogStage, Runtime, RuntimeOptions, Version,
    VersionSpec, slot_cost,
};
use wasm_fn_secrets::SecretSet;

// As the program has it.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

/// A node without a server.
struct Node {
    runtime: Arc<Runtime>,
    dir: TempDir,
}

impl Node {
    fn start() -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let components_dir = dir.path().join("blobs");
        std::fs::create_dir_all(&components_dir).expect("a folder");
        let options = RuntimeOptions {
            data_dir: dir.path().to_owned(),
            components_dir,
            pool: PoolPlan {
                instances_max: 64,
                running_max: 48,
                memory_max_bytes: 1 << 30,
                keep_bytes: 4 << 20,
                address_bytes: 64 * slot_cost().address_bytes,
            },
            warm_max: 16,
            idle_after: Duration::from_secs(60),
            code_bytes_max: 1 << 30,
            code_idle_after: Duration::from_secs(600),
            egress: EgressOptions::public(),
            isolation: IsolationOptions::USUAL,
            buckets: None,
            log_sink: None,
        };
        Self { runtime: Runtime::start(options).expect("a runtime"), dir }
    }

    async fn version(&self, guest: &str, reuse: u32) -> Arc<Version> {
        let prebuilt = Path::new(env!("CARGO_MANIFEST_DIR")).join("../guest-examples/prebuilt");
        let bytes = std::fs::read(prebuilt.join(guest).with_extension("wasm")).expect("a prebuilt guest");
        let digest = Digest(Sha256::digest(&bytes).into());
        let blob = self.dir.path().join("blobs").join(digest.to_string());
        std::fs::write(blob, bytes).expect("a blob");
        let mut config = FunctionConfig::default();
        config.limits.reuse = reuse;
        let function = guest.parse().expect("a name");
        let version = self.runtime.version(VersionSpec {
            function,
            stage: StageName::live(),
            version: VersionNo::FIRST,
            digest,
            config,
            secrets: SecretSet::none(),
        });
        version.load().await.expect("it loads");
        version
    }
}

#[expect(clippy::disallowed_methods, reason = "a request arrives")]
async fn call(version: &Arc<Version>) {
    let body = Empty::<Bytes>::new().map_err(|never| -> BodyError { match never {} });
    let request = http::Request::get("http://localhost/hello").body(body).expect("a request");
    let now = Instant::now();
    let invocation = Invocation {
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
    };
    let response = version.clone().invoke(invocation).await.expect("an answer");
    let body = response.into_body().collect().await.expect("its body").to_bytes();
    assert!(body.starts_with(b"hello from"));
    // Instances are made ahead by another task.
    tokio::task::yield_now().await;
}

const GUESTS: [(&str, u32); 5] =
    [("hello-v1", 1), ("hello-v1", 128), ("hello-p3", 1), ("hello-p3", 128), ("c-hello", 1)];

#[expect(clippy::disallowed_methods, reason = "a bench measures time")]
fn benches(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime can be built");
    let node = runtime.block_on(async { Node::start() });
    for (guest, reuse) in GUESTS {
        let version = runtime.block_on(node.version(guest, reuse));
        criterion.bench_function(&format!("invoke/{guest}/reuse-{reuse}"), |bencher| {
            bencher.iter_custom(|count| {
                runtime.block_on(async {
                    let begun = Instant::now();
                    for _ in 0..count {
                        call(&version).await;
                    }
                    begun.elapsed()
                })
            });
        });
    }
}

criterion_group! {
    name = invoke;
    config = Criterion::default()
        .measurement_time(Duration::from_secs(3))
        .warm_up_time(Duration::from_secs(1));
    targets = benches
}
criterion_main!(invoke);
