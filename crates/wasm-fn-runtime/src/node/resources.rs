//! What all versions of a node share.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::watch;
use wasm_fn_core::{BucketName, FunctionConfig, FunctionName, StageName, VersionNo};
use wasm_fn_memory::{Memories, Stacks};
use wasm_fn_pool::{ConcurrencyLimit, MemoryBudget, Slots};
use wasm_fn_secrets::SecretSet;

use super::teardown_limit::TeardownLimit;
use crate::{
    code::{
        cache::{CodeCache, ComponentCode, ForVersion},
        prepare::PrepareError,
    },
    cpu::ticker::EpochTicker,
    guest_host::{
        egress::policy::{EgressOptions, EgressPolicy},
        keyvalue::{BucketStore, NamedBuckets},
        logs::LogRing,
        template::InstanceTemplate,
        wasi::GuestEnvironment,
    },
    version::Version,
    waiter::Waiter,
};

/// What all versions of a node share.
pub(crate) struct NodeResources {
    pub(crate) codes: Arc<CodeCache>,
    pub(crate) slots: Arc<Slots>,
    pub(crate) ticker: Arc<EpochTicker>,
    pub(crate) memory: Arc<MemoryBudget>,
    pub(crate) concurrency: ConcurrencyLimit<Waiter>,
    pub(crate) teardown: TeardownLimit,
    /// Instances that one version keeps ready at most.
    pub(crate) warm_max: usize,
    /// Time without requests after which a version keeps no instance ready.
    pub(crate) idle_after: Duration,
    /// What holds for the outgoing requests of all functions.
    pub(super) egress: Arc<EgressOptions>,
    /// Keeps the buckets of all functions, if anything does.
    pub(super) bucket_store: Option<Arc<dyn BucketStore>>,
    pub(super) memories: Arc<Memories>,
    pub(super) stacks: Arc<Stacks>,
    /// How many bursts have ended.
    pub(super) bursts: watch::Sender<u64>,
    pub(super) origin: Instant,
    pub(super) maintained: Mutex<Vec<Maintained>>,
}

/// A version whose pool is adapted to its load.
pub(super) struct Maintained {
    /// When its pool is maintained next. This lies beside the version, so that skipping a version does not
    /// touch it.
    due: Duration,
    version: Arc<Version>,
}

impl NodeResources {
    /// Time since the runtime started.
    pub(crate) fn now(&self) -> Duration {
        self.origin.elapsed()
    }

    /// `at` as time since the runtime started; zero if it was before that.
    pub(crate) fn time(&self, at: Instant) -> Duration {
        at.saturating_duration_since(self.origin)
    }

    /// The buckets of `function` in `stage` that `config` names.
    pub(crate) fn buckets(
        &self,
        function: &FunctionName,
        stage: &StageName,
        config: &FunctionConfig,
    ) -> NamedBuckets {
        let Some(store) = &self.bucket_store else { return NamedBuckets::new() };
        let open = |(name, config)| (BucketName::clone(name), store.bucket(function, stage, name, config));
        config.buckets.iter().map(open).collect()
    }

    /// The template for instances of `version` with this `config`, these `secrets` and `buckets`. Their
    /// output goes to `log`.
    pub(crate) fn template(
        &self,
        version: VersionNo,
        config: FunctionConfig,
        secrets: Arc<SecretSet>,
        buckets: NamedBuckets,
        log: Arc<LogRing>,
    ) -> InstanceTemplate {
        let FunctionConfig { limits, env, egress, secrets_env, .. } = config;
        let egress = EgressPolicy::new(egress, &limits, self.egress.clone(), version, log.clone());
        let env = env.into_iter().collect();
        InstanceTemplate {
            ticker: self.ticker.clone(),
            limits,
            environment: GuestEnvironment { version, env, secrets, secrets_env, log },
            egress: Arc::new(egress),
            buckets,
            memory: self.memory.share(),
        }
    }

    /// Compiles the component of `code`, unless the cache has its code.
    pub(crate) async fn compile(
        &self,
        code: Arc<ComponentCode>,
        whom: Option<ForVersion>,
    ) -> Result<(), PrepareError> {
        if self.is_at_hand(&code).await {
            return Ok(());
        }
        self.codes.load(&code, self.now(), whom, Arc::new(|_| {})).await.map(drop)
    }

    async fn is_at_hand(&self, code: &Arc<ComponentCode>) -> bool {
        let (codes, digest) = (self.codes.clone(), code.digest());
        code.get().is_some()
            || tokio::task::spawn_blocking(move || codes.is_at_hand(digest)).await.unwrap_or(false)
    }

    /// Adapts the pool of `version` to its load from now on.
    pub(crate) fn add_maintained(&self, version: Arc<Version>) {
        self.maintained().push(Maintained { due: Duration::ZERO, version });
    }

    /// Frees the slot of a ready instance of some version. Returns `false` when there is none.
    pub(crate) fn reclaim(&self) -> bool {
        self.maintained().iter().any(|maintained| maintained.version.reclaim())
    }

    /// Maintains the pools that are due at `now`, and forgets versions that need it no more.
    pub(super) fn maintain_all(&self, now: Duration) {
        self.maintained().retain_mut(|Maintained { due, version }| {
            if now < *due {
                return true;
            }
            let Some(rest) = version.maintain(now) else { return false };
            *due = now + rest;
            true
        });
    }

    /// Gives the memory of free slots back to the system. Takes milliseconds.
    pub(super) fn decommit(&self) {
        let slots = self.memories.decommit();
        match self.stacks.decommit() {
            Ok(()) => tracing::debug!(slots, "memory of free slots given back"),
            Err(error) => tracing::warn!(%error, "free stacks keep their memory"),
        }
    }

    fn maintained(&self) -> MutexGuard<'_, Vec<Maintained>> {
        self.maintained.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
