//! One invocation without a network: a guest with an instance of its own, by default hello for WASI 0.2.

use std::{
    path::{Path, PathBuf},
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
    BodyError, EgressOptions, Invocation, IsolationOptions, LogStage, MemoryReset, Runtime, RuntimeOptions,
    Version, VersionSpec, slot_cost,
};
use wasm_fn_secrets::SecretSet;

/// What is invoked, and how guests are held apart.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Of `invoke`: a prebuilt guest, or a file
    #[arg(long, default_value = "hello-v1")]
    guest: String,
    /// Of `invoke`: what is requested
    #[arg(long, value_name = "PATH", default_value = "/hello")]
    target: String,
    /// Of `invoke`: discard, scan or counted
    #[arg(long, default_value_t = IsolationOptions::USUAL.memory_reset)]
    memory_reset: MemoryReset,
    /// Of `invoke`: does not link the guest's core modules
    #[arg(long)]
    unlinked: bool,
}

/// As few as one invocation after the other can do with: what counts instructions has little address
/// space to give.
const INSTANCES: u32 = 4;

const MEMORY_MAX_BYTES: u64 = 1 << 30;

/// Answers before those that are counted: by then, memories and instances are reused.
const WARM_UP: u32 = 20;

/// Serves `count` requests, one after the other, with the native code of the guest cached in `cache`. Prints
/// the CPU time that one took, nanoseconds.
///
/// # Errors
/// The cache cannot be written, or the guest or the runtime is not usable; which is said.
#[expect(clippy::print_stdout, reason = "the line is this program's output")]
pub(crate) fn run(count: u32, cache: &Path, options: &Options) -> anyhow::Result<()> {
    // One thread: what another does meanwhile would count as well.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let version = version(cache, options).await?;
        let url = format!("http://localhost{}", options.target);
        for _ in 0..WARM_UP.min(count) {
            call(&version, &url).await?;
        }
        let before = on_core()?;
        for _ in 0..count {
            call(&version, &url).await?;
        }
        println!("{}", (on_core()? - before) / u64::from(count.max(1)));
        Ok(())
    })
}

/// Time of this thread on a core, nanoseconds: the first field of its schedstat
/// (Documentation/scheduler/sched-stats).
fn on_core() -> anyhow::Result<u64> {
    let path = "/proc/thread-self/schedstat";
    let found = std::fs::read_to_string(path).context(path)?;
    let first = found.split_whitespace().next().context("schedstat is empty")?;
    first.parse().with_context(|| format!("{path} begins with {first}"))
}

async fn version(cache: &Path, options: &Options) -> anyhow::Result<Arc<Version>> {
    let components_dir = cache.join("blobs");
    std::fs::create_dir_all(&components_dir)
        .with_context(|| format!("{} cannot be made", components_dir.display()))?;
    let prebuilt = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../guest-examples/prebuilt");
    let guest = match Path::new(&options.guest) {
        file if file.extension().is_some() => PathBuf::from(file),
        name => prebuilt.join(name).with_extension("wasm"),
    };
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
        isolation: IsolationOptions {
            memory_reset: options.memory_reset,
            link_components: !options.unlinked,
            ..IsolationOptions::USUAL
        },
        buckets: None,
        log_sink: None,
    })?;
    let function = "guest".parse()?;
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
async fn call(version: &Arc<Version>, url: &str) -> anyhow::Result<()> {
    let body = Empty::<Bytes>::new().map_err(|never| -> BodyError { match never {} });
    let request = http::Request::get(url).body(body)?;
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
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    anyhow::ensure!(status.is_success(), "the guest answered {status} and {body:?}");
    // Instances are made ahead by another task.
    tokio::task::yield_now().await;
    Ok(())
}
