//! The runtime of one node: the engine, the cache, and every version that is at work.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, Weak},
    time::{Duration, Instant},
};

use dashmap::DashMap;
use tokio::sync::watch;
use wasm_fn_core::{Digest, FunctionConfig, FunctionName, VersionNo};
use wasm_fn_memory::{Memories, Stacks};
use wasm_fn_pool::{ConcurrencyLimit, MemoryBudget, PoolPlan, Slots};

use crate::{
    code::{Code, Codes, CodesOptions, ForVersion},
    component::{Loader, PrepareError, Prepared, Progress},
    ebb::Ebb,
    engine::{self, EngineError, Engines, InstanceMemoryReset},
    fault::Fault,
    instance::Mould,
    logs::{LogPage, LogRing},
    pace::Pace,
    retired::Retirement,
    version::{Version, VersionSpec, Waiter},
    wasi::Surroundings,
};

/// How often pools are fitted to the load.
const TEND_EVERY: Duration = Duration::from_millis(100);

/// How many fittings pass between two looks at loaded code.
const SWEEP_EVERY: u32 = 10;

/// What a runtime needs to know.
#[derive(Clone, Debug)]
pub struct RuntimeOptions {
    /// Where artefacts are cached.
    pub data_dir: PathBuf,
    /// Where components lie, each named by its digest.
    pub components_dir: PathBuf,
    /// How many instances live and run at once on this node, and what memory they have.
    pub pool: PoolPlan,
    /// Instances that one version keeps ready at most.
    pub warm_max: usize,
    /// Time without requests after which a version keeps none ready.
    pub idle_after: Duration,
    /// Most memory for loaded native code, bytes; more only while more of it is in use.
    pub code_bytes_max: u64,
    /// Time without use after which native code is given up; the next request loads it from the cache.
    pub code_idle_after: Duration,
}

/// Why a runtime does not start.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// No engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The data directory failed.
    #[error("artefact cache in {}: {source}", dir.display())]
    Artifacts {
        /// The data directory.
        dir: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The host's own interfaces do not fit each other.
    #[error("host interfaces: {0}")]
    Linker(String),
}

/// Hosts versions.
pub struct Runtime {
    node: Arc<Node>,
    logs: DashMap<FunctionName, Arc<LogRing>>,
    log_changes: watch::Sender<u64>,
    reset: InstanceMemoryReset,
}

/// What all versions share.
pub(crate) struct Node {
    pub(crate) options: RuntimeOptions,
    pub(crate) codes: Arc<Codes>,
    pub(crate) slots: Arc<Slots>,
    pub(crate) pace: Arc<Pace>,
    pub(crate) memory: Arc<MemoryBudget>,
    pub(crate) gate: ConcurrencyLimit<Waiter>,
    pub(crate) retirement: Retirement,
    memories: Arc<Memories>,
    stacks: Arc<Stacks>,
    /// How many bursts have ended.
    bursts: watch::Sender<u64>,
    origin: Instant,
    tended: Mutex<Vec<Tended>>,
}

/// A version whose pool follows its load.
struct Tended {
    /// When it is looked at next. It lies beside the version, so that passing it over does not touch that.
    due: Duration,
    version: Arc<Version>,
}

impl Node {
    /// Time since the runtime started.
    pub(crate) fn now(&self) -> Duration {
        self.origin.elapsed()
    }

    /// `at` on the same clock; zero when it was before the start.
    pub(crate) fn time(&self, at: Instant) -> Duration {
        at.saturating_duration_since(self.origin)
    }

    /// What the instances of a `version` with this `config` are made from; what they print goes to `log`.
    pub(crate) fn mould(&self, version: VersionNo, config: FunctionConfig, log: Arc<LogRing>) -> Mould {
        let FunctionConfig { limits, env, egress, .. } = config;
        Mould {
            pace: self.pace.clone(),
            limits,
            surroundings: Surroundings { version, env: env.into_iter().collect(), log },
            egress: (!egress.is_empty()).then(|| egress.into()),
            memory: self.memory.share(),
        }
    }

    /// Compiles the component of `code` if the cache has nothing of it.
    pub(crate) async fn compile(&self, code: Arc<Code>, whom: ForVersion) -> Result<(), PrepareError> {
        if self.is_at_hand(&code).await {
            return Ok(());
        }
        self.codes.load(&code, self.now(), Some(whom), Arc::new(|_| {})).await.map(drop)
    }

    async fn is_at_hand(&self, code: &Arc<Code>) -> bool {
        let (codes, digest) = (self.codes.clone(), code.digest());
        code.get().is_some()
            || tokio::task::spawn_blocking(move || codes.is_at_hand(digest)).await.unwrap_or(false)
    }

    pub(crate) fn tend(&self, version: Arc<Version>) {
        self.tended
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Tended { due: Duration::ZERO, version });
    }

    /// Frees the slot of an instance that waits ready for some version; false when none does.
    pub(crate) fn reclaim(&self) -> bool {
        let tended = self.tended.lock().unwrap_or_else(PoisonError::into_inner);
        tended.iter().any(|tended| tended.version.reclaim())
    }

    fn tend_all(&self, now: Duration) {
        let mut tended = self.tended.lock().unwrap_or_else(PoisonError::into_inner);
        tended.retain_mut(|Tended { due, version }| {
            if now < *due {
                return true;
            }
            let Some(rest) = version.tend(now) else { return false };
            *due = now + rest;
            true
        });
    }

    /// Lets the system have the memory that free slots keep; takes milliseconds.
    fn give_back(&self) {
        let slots = self.memories.decommit();
        match self.stacks.decommit() {
            Ok(()) => tracing::debug!(slots, "memory of free slots given back"),
            Err(error) => tracing::warn!(%error, "free stacks keep their memory"),
        }
    }
}

impl Runtime {
    /// Starts a runtime. Must be called within a tokio runtime, whose timers it uses.
    ///
    /// # Errors
    /// When the engine does not fit the machine, or the data directory cannot be used.
    #[expect(clippy::disallowed_methods, reason = "the origin of the pools' time")]
    pub fn start(options: RuntimeOptions) -> Result<Arc<Self>, RuntimeError> {
        let reset = InstanceMemoryReset::probe();
        engine::announce(reset);
        let engines = Engines::new(&options.pool)?;
        let (memories, stacks) = (engines.memories.clone(), engines.stacks.clone());
        let threads = tokio::runtime::Handle::current().metrics().num_workers();
        let threads = u32::try_from(threads).unwrap_or(u32::MAX);
        let pace = Pace::start(&engines, threads, options.pool.instances_max)?;
        let loader = Loader::new(engines, &options.data_dir)?;
        let slots = Arc::new(Slots::new(options.pool.instances_max as usize));
        let memory = Arc::new(MemoryBudget::new(options.pool.memory_max_bytes));
        let running_max = options.pool.running_max;
        let node = Arc::new(Node {
            codes: Arc::new(Codes::new(CodesOptions {
                loader: Arc::new(loader),
                components_dir: options.components_dir.clone(),
                bytes_max: options.code_bytes_max,
                idle_after: options.code_idle_after,
            })),
            slots,
            pace,
            memory,
            gate: ConcurrencyLimit::new(running_max, running_max),
            retirement: Retirement::new(options.pool.instances_max),
            memories,
            stacks,
            bursts: watch::Sender::new(0),
            origin: Instant::now(),
            tended: Mutex::default(),
            options,
        });
        tokio::spawn(tend_while_alive(Arc::downgrade(&node)));
        let (log_changes, _) = watch::channel(0);
        Ok(Arc::new(Self { node, logs: DashMap::new(), log_changes, reset }))
    }

    /// How instances' memory is reset on this machine.
    pub fn memory_reset(&self) -> InstanceMemoryReset {
        self.reset
    }

    /// Checks a component, compiles it into the cache, and starts one instance to see that it can. Its code stays
    /// loaded for the traffic that is about to come.
    ///
    /// # Errors
    /// When it is no function this node can run under `config`.
    pub async fn prepare(
        &self,
        digest: Digest,
        config: &FunctionConfig,
        progress: Arc<dyn Fn(Progress) + Send + Sync>,
    ) -> Result<Prepared, PrepareError> {
        let code = self.node.codes.of(digest);
        let at_hand = code.get().is_some();
        let mapped = self.node.codes.load(&code, self.node.now(), None, progress).await?;
        let prepared = Prepared { cached: mapped.prepared.cached || at_hand, ..mapped.prepared };
        let log = Arc::new(LogRing::new(watch::channel(0).0));
        let mould = Arc::new(self.node.mould(VersionNo::FIRST, config.clone(), log));
        let Some(permit) = self.node.slots.try_take() else { return Ok(prepared) };
        match mould.instantiate_in_time(&mapped, permit).await {
            Ok(_) | Err(Fault::NodeOverloaded { .. }) => Ok(prepared),
            Err(Fault::OutOfMemory { limit_bytes }) => Err(PrepareError::Memory { limit_bytes }),
            Err(fault) => Err(PrepareError::Start { reason: fault.to_string() }),
        }
    }

    /// A handle on a version.
    pub fn version(&self, spec: VersionSpec) -> Arc<Version> {
        let code = self.node.codes.of(spec.digest);
        self.version_of(code, spec)
    }

    /// A handle on a version that has code of its own, beside that of all others of its component. It is as fresh as the
    /// handle of a version that was deployed now: none of it is in any cache yet.
    pub fn fresh_version(&self, spec: VersionSpec) -> Arc<Version> {
        self.version_of(Arc::new(Code::new(spec.digest)), spec)
    }

    fn version_of(&self, code: Arc<Code>, spec: VersionSpec) -> Arc<Version> {
        let log = self.ring(&spec.function);
        Arc::new(Version::new(self.node.clone(), code, spec, log))
    }

    /// Compiles the component of a version that there is no handle on yet, if the cache has nothing of it.
    ///
    /// # Errors
    /// When the component cannot be compiled.
    pub async fn compile(&self, digest: Digest, whom: ForVersion) -> Result<(), PrepareError> {
        self.node.compile(self.node.codes.of(digest), whom).await
    }

    /// Those of `components` that have to be compiled before they can be called.
    pub async fn missing(&self, components: Vec<Digest>) -> Vec<Digest> {
        let codes = self.node.codes.clone();
        let missing = move || components.into_iter().filter(|&digest| !codes.is_at_hand(digest)).collect();
        tokio::task::spawn_blocking(missing).await.unwrap_or_default()
    }

    /// Memory that loaded native code takes, bytes.
    pub fn code_bytes(&self) -> u64 {
        self.node.codes.bytes()
    }

    /// The lines of a function's log after position `after`.
    pub fn logs(&self, function: &FunctionName, after: u64) -> LogPage {
        match self.logs.get(function) {
            Some(ring) => ring.page(after),
            None => LogPage { lines: Vec::new(), newest: 0, lost: 0 },
        }
    }

    /// Changes whenever some function's log has a new line.
    pub fn log_changes(&self) -> watch::Receiver<u64> {
        self.log_changes.subscribe()
    }

    /// Changes whenever a burst is over: its instances are gone, stayed so for ten seconds, and their memory was given
    /// back to the system.
    pub fn bursts(&self) -> watch::Receiver<u64> {
        self.node.bursts.subscribe()
    }

    /// Forgets a function's log.
    pub fn forget(&self, function: &FunctionName) {
        self.logs.remove(function);
    }

    /// Where the cache lies.
    pub fn data_dir(&self) -> &Path {
        &self.node.options.data_dir
    }

    fn ring(&self, function: &FunctionName) -> Arc<LogRing> {
        let ring = self.logs.entry(function.clone());
        ring.or_insert_with(|| Arc::new(LogRing::new(self.log_changes.clone()))).clone()
    }
}

/// Ends when the runtime and its versions are gone.
async fn tend_while_alive(node: Weak<Node>) {
    let (mut until_sweep, mut ebb) = (SWEEP_EVERY, Ebb::default());
    let mut ticks = tokio::time::interval(TEND_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        ticks.tick().await;
        let Some(node) = node.upgrade() else { break };
        let now = node.now();
        node.tend_all(now);
        until_sweep -= 1;
        if until_sweep == 0 {
            until_sweep = SWEEP_EVERY;
            node.codes.sweep(now);
        }
        if ebb.is_over(now, node.slots.used()) {
            let bursts = node.bursts.clone();
            let given = tokio::task::spawn_blocking(move || node.give_back()).await;
            if let Err(error) = given {
                tracing::warn!(%error, "free slots keep their memory");
            }
            bursts.send_modify(|bursts| *bursts += 1);
        }
    }
}

#[cfg(test)]
mod tests;
