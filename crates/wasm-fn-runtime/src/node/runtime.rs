//! The runtime of a node: hosts versions.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, Weak},
    time::Duration,
};

use dashmap::DashMap;
use tokio::sync::watch;
use wasm_fn_core::{Digest, FunctionConfig, FunctionName, VersionNo};
use wasm_fn_memory::Isolation;
use wasm_fn_pool::{ConcurrencyLimit, MemoryBudget, PoolPlan, Slots};
use wasm_fn_secrets::SecretSet;

use super::{
    burst_detector::BurstDetector, error::RuntimeError, isolation_fault, preparation::Preparation,
    resources::NodeResources, teardown_limit::TeardownLimit,
};
use crate::{
    clock,
    code::{
        artifacts::NativeCode,
        cache::{CodeCache, CodeCacheOptions, ComponentCode, ForVersion},
        engine::{self, Engines, IsolationOptions},
        kind,
        loader::Loader,
        prepare::{PrepareError, PrepareProgress, PreparedComponent},
    },
    cpu::ticker::EpochTicker,
    guest_host::{
        egress::policy::EgressOptions,
        keyvalue::{BucketStore, NamedBuckets},
        logs::{GuestLogPage, GuestLogSink, LineTee, LogRing},
    },
    version::{Version, VersionSpec},
};

/// How often pools are adapted to the load.
const MAINTAIN_EVERY: Duration = Duration::from_millis(100);

/// Loaded code is swept once in this many rounds.
const SWEEP_EVERY: u32 = 10;

/// Options of a runtime.
#[derive(Clone)]
pub struct RuntimeOptions {
    /// The folder in which artefacts are cached.
    pub data_dir: PathBuf,
    /// The folder of components, each named by its digest.
    pub components_dir: PathBuf,
    /// How many instances live and run at once on this node, and their memory.
    pub pool: PoolPlan,
    /// Most instances that one version keeps ready.
    pub warm_max: usize,
    /// Time without requests after which a version keeps no instance ready.
    pub idle_after: Duration,
    /// Most memory for loaded native code, bytes; more only while more is in use.
    pub code_bytes_max: u64,
    /// Time without use after which native code is unloaded. The next request loads it from the cache.
    pub code_idle_after: Duration,
    /// What holds for the outgoing requests of all functions.
    pub egress: EgressOptions,
    /// What holds guests apart.
    pub isolation: IsolationOptions,
    /// Keeps the buckets of functions. Without it there are none, whatever is configured.
    pub buckets: Option<Arc<dyn BucketStore>>,
    /// Takes the lines of functions' logs, beside the logs.
    pub log_sink: Option<Arc<dyn GuestLogSink>>,
}

/// Hosts versions.
pub struct Runtime {
    node: Arc<NodeResources>,
    logs: DashMap<FunctionName, Arc<LogRing>>,
    log_changes: watch::Sender<u64>,
    log_sink: Option<Arc<dyn GuestLogSink>>,
    data_dir: PathBuf,
}

impl Runtime {
    /// Starts a runtime. Call this within a tokio runtime, whose timers it uses.
    ///
    /// # Errors
    /// The engine does not fit the machine, or the data directory cannot be used.
    pub fn start(options: RuntimeOptions) -> Result<Arc<Self>, RuntimeError> {
        let engines = Engines::new(&options.pool, options.isolation)?;
        let (memories, stacks) = (engines.memories.clone(), engines.stacks.clone());
        engine::announce(options.isolation.memory_reset, memories.isolation().reset);
        isolation_fault::forget(&options.data_dir)
            .map_err(|source| RuntimeError::Artifacts { dir: options.data_dir.clone(), source })?;
        let threads = tokio::runtime::Handle::current().metrics().num_workers();
        let threads = u32::try_from(threads).unwrap_or(u32::MAX);
        let ticker = EpochTicker::start(&engines, threads, options.pool.instances_max)?;
        let loader = Loader::new(engines, &options.data_dir, options.isolation.link_components)?;
        let slots = Arc::new(Slots::new(options.pool.instances_max as usize));
        let memory = Arc::new(MemoryBudget::new(options.pool.memory_max_bytes));
        let running_max = options.pool.running_max;
        let node = Arc::new(NodeResources {
            codes: Arc::new(CodeCache::new(CodeCacheOptions {
                loader: Arc::new(loader),
                components_dir: options.components_dir.clone(),
                bytes_max: options.code_bytes_max,
                idle_after: options.code_idle_after,
            })),
            slots,
            ticker,
            memory,
            concurrency: ConcurrencyLimit::new(running_max, running_max),
            teardown: TeardownLimit::new(options.pool.instances_max),
            egress: Arc::new(options.egress),
            bucket_store: options.buckets,
            memories,
            stacks,
            bursts: watch::Sender::new(0),
            origin: clock::now(),
            maintained: Mutex::default(),
            warm_max: options.warm_max,
            idle_after: options.idle_after,
        });
        tokio::spawn(maintain_while_alive(Arc::downgrade(&node), options.data_dir.clone()));
        let (log_changes, _) = watch::channel(0);
        let RuntimeOptions { data_dir, log_sink, .. } = options;
        Ok(Arc::new(Self { node, logs: DashMap::new(), log_changes, log_sink, data_dir }))
    }

    /// How the memory of instances is reset, and what audits of that have found.
    pub fn isolation(&self) -> Isolation {
        self.node.memories.isolation()
    }

    /// The interfaces that the component at `path` imports, without their versions.
    ///
    /// # Errors
    /// It is not a function.
    pub async fn imports(&self, digest: Digest, path: PathBuf) -> Result<Vec<String>, PrepareError> {
        let read = move || -> Result<Vec<String>, PrepareError> {
            let bytes = std::fs::read(path).map_err(|error| PrepareError::io(digest, error))?;
            Ok(kind::recognise(&bytes)?.imports)
        };
        let task = tokio::task::spawn_blocking(read).await;
        task.unwrap_or_else(|error| Err(PrepareError::io(digest, std::io::Error::other(error))))
    }

    /// Checks a component, compiles it into the cache, and starts one instance to check that it starts. Its
    /// code stays loaded for the traffic to come. A component that does not start with its core modules
    /// linked is tried as it was uploaded.
    ///
    /// # Errors
    /// It is not a function that this node can run under `config` with `secrets`.
    pub async fn prepare(
        &self,
        digest: Digest,
        config: &FunctionConfig,
        secrets: Arc<SecretSet>,
        progress: Arc<dyn Fn(PrepareProgress) + Send + Sync>,
    ) -> Result<PreparedComponent, PrepareError> {
        self.preparation(digest, config, secrets).run(progress).await
    }

    /// [`prepare`](Self::prepare), but a large component whose code is not cached can be called as soon as
    /// code of one pass is there, in a fifth of the time. It is a few times slower. Optimised code takes its
    /// place later, without a pause. So use this only where nobody compares the latency of the component.
    ///
    /// # Errors
    /// It is not a function that this node can run under `config` with `secrets`.
    pub async fn prepare_quick(
        &self,
        digest: Digest,
        config: &FunctionConfig,
        secrets: Arc<SecretSet>,
        progress: Arc<dyn Fn(PrepareProgress) + Send + Sync>,
    ) -> Result<PreparedComponent, PrepareError> {
        self.preparation(digest, config, secrets).run_quick(progress).await
    }

    fn preparation(&self, digest: Digest, config: &FunctionConfig, secrets: Arc<SecretSet>) -> Preparation {
        let log = Arc::new(LogRing::new(watch::channel(0).0, None));
        // What runs without a request opens no bucket.
        let buckets = NamedBuckets::new();
        let template = self.node.template(VersionNo::FIRST, config.clone(), secrets, buckets, log);
        let template = Arc::new(template);
        Preparation { node: self.node.clone(), code: self.node.codes.of(digest), template }
    }

    /// A handle on a version.
    pub fn version(&self, spec: VersionSpec) -> Arc<Version> {
        let code = self.node.codes.of(spec.digest);
        self.version_of(code, spec)
    }

    /// A handle on a version that does not share its code with other versions of its component. It is as
    /// fresh as the handle of a newly deployed version: none of it is in any cache yet.
    pub fn fresh_version(&self, spec: VersionSpec) -> Arc<Version> {
        self.version_of(Arc::new(ComponentCode::new(spec.digest)), spec)
    }

    fn version_of(&self, code: Arc<ComponentCode>, spec: VersionSpec) -> Arc<Version> {
        let log = self.ring(&spec.function);
        Arc::new(Version::new(self.node.clone(), code, spec, log))
    }

    /// Compiles the component of a version without a handle, unless the cache has its code. `whom` is the
    /// version that the log names.
    ///
    /// # Errors
    /// The component cannot be compiled.
    pub async fn compile(&self, digest: Digest, whom: Option<ForVersion>) -> Result<(), PrepareError> {
        self.node.compile(self.node.codes.of(digest), whom).await
    }

    /// Those of `components` that must be compiled before they can be called.
    pub async fn missing(&self, components: Vec<Digest>) -> Vec<Digest> {
        let codes = self.node.codes.clone();
        let missing = move || components.into_iter().filter(|&digest| !codes.is_at_hand(digest)).collect();
        tokio::task::spawn_blocking(missing).await.unwrap_or_default()
    }

    /// Whether a component can be called without being compiled. Blocks for as long as the disk takes to look
    /// for a file.
    pub fn is_at_hand(&self, component: Digest) -> bool {
        self.node.codes.is_at_hand(component)
    }

    /// The file with the native code of a component, for nodes whose data directories have the same key;
    /// `None` if it is not in the cache.
    pub async fn native_code(&self, component: Digest) -> Option<NativeCode> {
        let codes = self.node.codes.clone();
        let found = tokio::task::spawn_blocking(move || codes.loader().native_code(component));
        found.await.ok().flatten()
    }

    /// Moves a file with the native code of a component into the cache, from the same disk. Returns false,
    /// and leaves it, if it is for another engine or processor.
    ///
    /// # Errors
    /// Its hash is wrong: it was changed, or made with another key. The disk fails.
    pub async fn take_native_code(&self, component: Digest, code: NativeCode) -> io::Result<bool> {
        let codes = self.node.codes.clone();
        let taken = tokio::task::spawn_blocking(move || codes.loader().take_native_code(component, &code));
        taken.await.map_err(io::Error::other)?
    }

    /// Memory of loaded native code, bytes.
    pub fn code_bytes(&self) -> u64 {
        self.node.codes.bytes()
    }

    /// The lines of a function's log after position `after`.
    pub fn logs(&self, function: &FunctionName, after: u64) -> GuestLogPage {
        match self.logs.get(function) {
            Some(ring) => ring.page(after),
            None => GuestLogPage { lines: Vec::new(), newest: 0, lost: 0 },
        }
    }

    /// Changes whenever some function's log has a new line.
    pub fn log_changes(&self) -> watch::Receiver<u64> {
        self.log_changes.subscribe()
    }

    /// Changes whenever a burst is over: its instances have been gone for ten seconds, and their memory was
    /// given back to the system.
    pub fn bursts(&self) -> watch::Receiver<u64> {
        self.node.bursts.subscribe()
    }

    /// Removes the log of a function.
    pub fn forget(&self, function: &FunctionName) {
        self.logs.remove(function);
    }

    /// The data directory.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    fn ring(&self, function: &FunctionName) -> Arc<LogRing> {
        let ring = self.logs.entry(function.clone());
        let new = || {
            let tee = self.log_sink.clone().map(|sink| LineTee { function: function.clone(), sink });
            Arc::new(LogRing::new(self.log_changes.clone(), tee))
        };
        ring.or_insert_with(new).clone()
    }
}

/// Maintains the pools and the code cache until the runtime and its versions are gone.
async fn maintain_while_alive(node: Weak<NodeResources>, data_dir: PathBuf) {
    let mut is_trusted = true;
    let (mut until_sweep, mut detector) = (SWEEP_EVERY, BurstDetector::default());
    let mut ticks = tokio::time::interval(MAINTAIN_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        ticks.tick().await;
        let Some(node) = node.upgrade() else { break };
        let now = node.now();
        node.maintain_all(now);
        if is_trusted && node.memories.isolation().faults > 0 {
            is_trusted = false;
            // Instances that are ready got their memories before the fault was found.
            while node.reclaim() {}
            isolation_fault::remember(&data_dir);
        }
        until_sweep -= 1;
        if until_sweep == 0 {
            until_sweep = SWEEP_EVERY;
            node.codes.sweep(now);
        }
        if detector.is_over(now, node.slots.used()) {
            let bursts = node.bursts.clone();
            let given = tokio::task::spawn_blocking(move || node.decommit()).await;
            if let Err(error) = given {
                tracing::warn!(%error, "free slots keep their memory");
            }
            bursts.send_modify(|bursts| *bursts += 1);
        }
    }
}

#[cfg(test)]
mod tests;
