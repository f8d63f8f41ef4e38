//! A version: which component it runs, and what its requests share.

mod admission;
mod invoke;
mod teardown;
mod upkeep;

use std::{
    sync::{Arc, atomic::AtomicBool},
    time::Instant,
};

use tokio::sync::Notify;
use wasm_fn_core::{Digest, FunctionConfig, FunctionName, Limits, StageName, VersionNo};
use wasm_fn_pool::{ConcurrencyLimit, Pool, PoolOptions, share_max};
use wasm_fn_secrets::SecretSet;

pub(crate) use admission::Admission;

use crate::{
    code::{
        cache::{ComponentCode, ForVersion},
        loader::LoadedComponent,
        prepare::PrepareError,
    },
    guest_host::{
        instance::Instance,
        logs::{LogRing, LogStage},
        template::InstanceTemplate,
    },
    node::resources::NodeResources,
    waiter::Waiter,
};

/// Identifies a version, and configures it.
#[derive(Clone, Debug)]
pub struct VersionSpec {
    /// Its function.
    pub function: FunctionName,
    /// The stage whose buckets it has.
    pub stage: StageName,
    /// Its number.
    pub version: VersionNo,
    /// Its component.
    pub digest: Digest,
    /// Its configuration.
    pub config: FunctionConfig,
    /// The secrets that its configuration names, with the values that it has for good.
    pub secrets: Arc<SecretSet>,
}

/// A version that can be invoked. It costs little until then: its code is loaded at the first request, and
/// unloaded after a while without requests.
///
/// The fields that every request touches come first and lie together. Where thousands of versions serve, a
/// version is in no cache when its request comes, which then waits for each cache line.
#[repr(C)]
pub struct Version {
    template: Arc<InstanceTemplate>,
    pub(crate) code: Arc<ComponentCode>,
    node: Arc<NodeResources>,
    /// Whether the node maintains its pool at the moment.
    maintained: AtomicBool,
    /// Whether a task refills its pool.
    refilling: AtomicBool,
    /// Whether it served with code of one pass when its pool was last maintained.
    had_baseline: AtomicBool,
    pub(crate) concurrency: ConcurrencyLimit<Waiter>,
    pub(crate) pool: Pool<Instance>,
    /// Tells that task that the pool has fewer instances than it wants, or wants none.
    short: Notify,
    function: FunctionName,
}

impl Version {
    /// The version of `spec`. `code` belongs to its component.
    pub(crate) fn new(
        node: Arc<NodeResources>,
        code: Arc<ComponentCode>,
        spec: VersionSpec,
        log: Arc<LogRing>,
    ) -> Self {
        let VersionSpec { function, stage, version, config, secrets, .. } = spec;
        let buckets = node.buckets(&function, &stage, &config);
        let template = Arc::new(node.template(version, config, secrets, buckets, log));
        let limits = &template.limits;
        let pool = Pool::new(PoolOptions {
            slots: node.slots.clone(),
            floor: 1,
            ceiling: node.warm_max.min(limits.concurrency as usize),
            idle_after: node.idle_after,
        });
        // Requests beyond its share of the node wait here, where they block no other version.
        let running_max = limits.concurrency.min(share_max(node.concurrency.limit()));
        let concurrency = ConcurrencyLimit::new(running_max, limits.queue);
        let [maintained, refilling, had_baseline] = [const { AtomicBool::new(false) }; 3];
        Self {
            template,
            code,
            node,
            maintained,
            refilling,
            had_baseline,
            concurrency,
            pool,
            short: Notify::new(),
            function,
        }
    }

    pub(crate) fn no(&self) -> VersionNo {
        self.template.environment.version
    }

    pub(crate) fn function(&self) -> &FunctionName {
        &self.function
    }

    /// Its component.
    pub fn component(&self) -> Digest {
        self.code.digest()
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.template.limits
    }

    pub(crate) fn secrets(&self) -> &SecretSet {
        &self.template.environment.secrets
    }

    pub(crate) fn log(&self) -> &LogRing {
        &self.template.environment.log
    }

    /// What requests of `stage` write to the function's log as theirs.
    pub fn log_stage(&self, stage: &StageName) -> LogStage {
        self.log().stage(stage)
    }

    /// Loads the code, so that the next request need not.
    ///
    /// # Errors
    /// The component cannot be loaded or compiled.
    ///
    /// # Cancel safety
    /// The load continues for others.
    pub async fn load(&self) -> Result<(), PrepareError> {
        self.loaded().await.map(drop)
    }

    /// Compiles the component, unless the cache has its code. An upgrade with another engine makes this
    /// necessary.
    ///
    /// # Errors
    /// The component cannot be compiled.
    pub async fn compile(&self) -> Result<(), PrepareError> {
        self.node.compile(self.code.clone(), Some(self.whom())).await
    }

    /// Whether the code is loaded.
    pub fn is_loaded(&self) -> bool {
        self.code.get().is_some()
    }

    /// Keeps at least one instance ready until `until`, however idle the version is. The last call counts.
    ///
    /// A task of its own loads the code first if necessary, so this must be called within the runtime. If the
    /// node has no other instance, it may take this one for a request of another version. Then it makes
    /// another.
    pub fn keep_warm(self: &Arc<Self>, until: Instant) {
        self.pool.keep_until(self.node.time(until));
        let version = self.clone();
        tokio::spawn(async move {
            match version.load().await {
                Ok(()) => version.ensure_maintained(),
                Err(error) => tracing::warn!(version = %version.no(), %error, "version is not kept warm"),
            }
        });
    }

    /// Instances that wait ready.
    pub fn ready(&self) -> usize {
        self.pool.ready()
    }

    /// Live instances: those that run a request, those that wait ready, and those that are being made.
    pub fn live(&self) -> usize {
        self.pool.live()
    }

    /// Requests that found an instance ready.
    pub fn warm_starts(&self) -> u64 {
        self.pool.warm_starts()
    }

    /// Requests that had to wait for an instance.
    pub fn cold_starts(&self) -> u64 {
        self.pool.cold_starts()
    }

    async fn loaded(&self) -> Result<Arc<LoadedComponent>, PrepareError> {
        self.node.codes.load(&self.code, self.node.now(), Some(self.whom()), Arc::new(|_| {})).await
    }

    fn whom(&self) -> ForVersion {
        ForVersion { function: self.function.clone(), version: self.no() }
    }
}
