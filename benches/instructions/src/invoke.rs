//! One invocation without a network: hello, for WASI 0.2, with an instance of its own.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use sha2::{Digest as _, Sha256};
use wasm_fn_core::{Digest, FunctionConfig, Scheme, StageName, VersionNo};
use wasm_fn_pool::PoolPlan;
use wasm_fn_runtime::{
    BodyError, EgressOptions, Invocation, IsolationOptions, LogStage, Runtime, RuntimeOptions, Version,
    VersionSpec, slot_cost,
};
use wasm_fn_secrets::SecretSet;

const GUEST: &str = "hello-v1";

/// As few as one invocation after the other can do with: what counts instructions has little address
/// space to give.
const INSTANCES: u32 = 4;

const MEMORY_MAX_BYTES: u64 = 256 << 20;

/// Serves `count` requests, one after the other, with the native code of the guest cached in `cache`.
///
/// # Errors
/// The cache cannot be written, or the guest or the runtime is not usable; which is said.
pub(crate) fn run(count: u32, cache: &Path) -> anyhow::Result<()> {
    // One thread: what another does meanwhile would count as well.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let version = version(cache).await?;
        for _ in 0..count {
            call(&version).await?;
        }
        Ok(())
    })
}

async fn version(cache: &Path) -> anyhow::Result<Arc<Version>> {
    let components_dir = cache.join("blobs");
    std::fs::create_dir_all(&components_dir)
        .with_context(|| format!("{} cannot be made", components_dir.display()))?;
    let prebuilt = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../guest-examples/prebuilt");
    let guest = prebuilt.join(GUEST).with_extension("wasm");
    let bytes = std::fs::read(&guest).with_context(|| format!("{} cannot be read", guest.display()))?;
    let digest = Digest(Sha256::digest(&bytes).into());
    std::fs::copy(&guest, components_dir.join(digest.to_string()))
        .with_context(|| format!("{} cannot be copied to {}", guest.display(), components_dir.display()))?;
    let node = Runtime::start(RuntimeOptions {
        data_dir: cache.to_owned(),
        components_dir,
        pool: PoolPlan {
            instances_max: INSTANCES,
            running_max: INSTANCES,
            memory_max_bytes: MEMORY_MAX_BYTES,
            keep_bytes: 1 << 20,
            address_bytes: slot_cost().address_bytes * u64::from(INSTANCES),
        },
        warm_max: 1,
        idle_after: Duration::from_secs(3600),
        code_bytes_max: MEMORY_MAX_BYTES,
        code_idle_after: Duration::from_secs(3600),
        egress: EgressOptions::public(),
        isolation: IsolationOptions::USUAL,
        buckets: None,
        log_sink: None,
    })?;
    let function = GUEST.parse()?;
    let config = FunctionConfig::default();
    let version = node.version(VersionSpec {
        function,
        stage: StageName::live(),
        version: VersionNo::FIRST,
        digest,
        config,
        secrets: SecretSet::none(),
    });
    version.load().await?;
    Ok(version)
}

#[expect(clippy::disallowed_methods, reason = "a request arrives")]
async fn call(version: &Arc<Version>) -> anyhow::Result<()> {
    let body = Empty::<Bytes>::new().map_err(|never| -> BodyError { match never {} });
    let request = http::Request::get("http://localhost/hello").body(body)?;
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
    let response = Arc::clone(version).invoke(invocation).await?;
    let body = response.into_body().collect().await?.to_bytes();
    anyhow::ensure!(body.starts_with(b"hello from"), "hello answered {body:?}");
    // Instances are made ahead by another task.
    tokio::task::yield_now().await;
    Ok(())
}
