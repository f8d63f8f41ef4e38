//! Loaded code. It is loaded when a version is first called, shared by all versions of a component, and
//! unloaded when nobody has called them for a while or when it exceeds the node's budget.
//!
//! Code that must be compiled first is compiled in the background: a request waits for the disk, never for
//! the compiler.
//!
//! Code counts as used while the node maintains some version of it, so calls that find it loaded pay for none
//! of this. Invocations keep the code that they run, even when it is unloaded.

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use arc_swap::{ArcSwapOption, Guard};
use dashmap::DashMap;
use futures_util::{
    FutureExt,
    future::{self, BoxFuture, Either, Shared},
};
use tokio::sync::{Semaphore, oneshot};
use tracing::field::display;
use wasm_fn_core::{Digest, FunctionName, VersionNo};

use super::{
    compiler::{Compiler, CompilerError},
    loader::{LoadedComponent, Loader, Unfused},
    prepare::{PrepareError, PrepareProgress, PrepareStep},
};
use crate::clock;

/// Receives progress, from any thread.
pub(crate) type ProgressSink = Arc<dyn Fn(PrepareProgress) + Send + Sync>;

/// After a failed compilation, a request triggers another only after this time.
const RETRY_AFTER: Duration = Duration::from_secs(10);

/// A load that is under way; several callers may wait for it.
#[derive(Clone)]
struct PendingLoad {
    done: Shared<BoxFuture<'static, Result<Arc<LoadedComponent>, PrepareError>>>,
    /// Notified when the disk has no code, so that it is compiled.
    compiles: Shared<oneshot::Receiver<()>>,
}

/// The version that code is loaded for, for the log.
#[derive(Clone, Debug)]
pub struct ForVersion {
    /// The function.
    pub function: FunctionName,
    /// Its version.
    pub version: VersionNo,
}

/// Why code is not available.
#[derive(Debug)]
pub(crate) enum CodeUnavailable {
    /// It is being compiled.
    Compiling,
    /// It cannot be loaded, or the last compilation failed.
    Failed(PrepareError),
}

/// The code of one component, loaded or not.
pub(crate) struct ComponentCode {
    digest: Digest,
    loaded: ArcSwapOption<LoadedComponent>,
    loading: Mutex<LoadState>,
    /// Versions with this code that the node maintains.
    users: AtomicUsize,
    /// When it was last used, milliseconds since the start of the node.
    used_ms: AtomicU64,
}

/// The loads of some code.
#[derive(Default)]
struct LoadState {
    underway: Option<PendingLoad>,
    /// When the last compilation failed, and why.
    failed: Option<(Duration, PrepareError)>,
}

/// What [`CodeCache`] need to know.
pub(crate) struct CodeCacheOptions {
    pub(crate) loader: Arc<Loader>,
    /// The folder of components, each named by its digest.
    pub(crate) components_dir: PathBuf,
    /// Most memory for loaded code, bytes; more only while more is in use.
    pub(crate) bytes_max: u64,
    /// Time without use after which code is unloaded.
    pub(crate) idle_after: Duration,
}

/// The loaded code of all components.
pub(crate) struct CodeCache {
    options: CodeCacheOptions,
    compiler: Compiler,
    /// Limits loads from the disk; each takes a core.
    loads: Semaphore,
    // The sweep removes dead entries.
    by_component: DashMap<Digest, Weak<ComponentCode>>,
    // Invariant: all code that is loaded, each once.
    loaded: Mutex<Vec<Arc<ComponentCode>>>,
}

impl ComponentCode {
    /// Code of the component `digest`, not loaded.
    pub(crate) fn new(digest: Digest) -> Self {
        Self {
            digest,
            loaded: ArcSwapOption::empty(),
            loading: Mutex::default(),
            users: AtomicUsize::new(0),
            used_ms: AtomicU64::new(0),
        }
    }

    pub(crate) fn digest(&self) -> Digest {
        self.digest
    }

    /// The code, if it is loaded. This costs next to nothing.
    pub(crate) fn get(&self) -> Guard<Option<Arc<LoadedComponent>>> {
        self.loaded.load()
    }

    /// Notes that the node begins to maintain a version of it.
    pub(crate) fn begin_use(&self) {
        self.users.fetch_add(1, Relaxed);
    }

    /// Notes that the node has maintained a version of it until `now`.
    pub(crate) fn end_use(&self, now: Duration) {
        self.touch(now);
        self.users.fetch_sub(1, Relaxed);
    }

    fn touch(&self, now: Duration) {
        self.used_ms.fetch_max(u64::try_from(now.as_millis()).unwrap_or(u64::MAX), Relaxed);
    }

    fn is_used(&self) -> bool {
        self.users.load(Relaxed) > 0
    }

    fn used(&self) -> Duration {
        Duration::from_millis(self.used_ms.load(Relaxed))
    }

    fn bytes(&self) -> u64 {
        self.loaded.load().as_ref().map_or(0, |loaded| loaded.bytes)
    }

    fn loading(&self) -> MutexGuard<'_, LoadState> {
        lock(&self.loading)
    }
}

/// Ends the load of some code when dropped.
struct LoadGuard(Arc<ComponentCode>);

impl Drop for LoadGuard {
    fn drop(&mut self) {
        self.0.loading().underway = None;
    }
}

impl CodeCache {
    pub(crate) fn new(options: CodeCacheOptions) -> Self {
        let cores = thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            options,
            compiler: Compiler::new(),
            loads: Semaphore::new(cores),
            by_component: DashMap::new(),
            loaded: Mutex::default(),
        }
    }

    /// The code of a component; all callers get the same.
    pub(crate) fn of(&self, digest: Digest) -> Arc<ComponentCode> {
        let mut entry = self.by_component.entry(digest).or_default();
        entry.upgrade().unwrap_or_else(|| {
            let code = Arc::new(ComponentCode::new(digest));
            *entry = Arc::downgrade(&code);
            code
        })
    }

    /// What compiles and caches.
    pub(crate) fn loader(&self) -> &Arc<Loader> {
        &self.options.loader
    }

    /// Whether the disk has an artefact of a component, or its code is loaded. Blocks.
    pub(crate) fn is_at_hand(&self, digest: Digest) -> bool {
        let code = || self.by_component.get(&digest).and_then(|code| code.upgrade());
        self.options.loader.has_cached(digest) || code().is_some_and(|code| code.get().is_some())
    }

    /// Loads `code`, or compiles it for `whom`. Callers meanwhile get the same code, without progress.
    ///
    /// # Errors
    /// It cannot be loaded or compiled. The next call tries again.
    ///
    /// # Cancel safety
    /// The load continues when nobody waits for it.
    pub(crate) async fn load(
        self: &Arc<Self>,
        code: &Arc<ComponentCode>,
        now: Duration,
        whom: Option<ForVersion>,
        progress: ProgressSink,
    ) -> Result<Arc<LoadedComponent>, PrepareError> {
        let loading = {
            let mut load = code.loading();
            if let Some(loaded) = &*code.get() {
                return Ok(loaded.clone());
            }
            load.underway.get_or_insert_with(|| self.start(code, now, whom, progress)).clone()
        };
        loading.done.await
    }

    /// Loads `code` from the disk. If it must be compiled, starts that for `whom` and does not wait.
    ///
    /// # Errors
    /// There is no code yet.
    ///
    /// # Cancel safety
    /// The load continues when nobody waits for it.
    pub(crate) async fn load_compiled(
        self: &Arc<Self>,
        code: &Arc<ComponentCode>,
        now: Duration,
        whom: impl FnOnce() -> ForVersion,
    ) -> Result<Arc<LoadedComponent>, CodeUnavailable> {
        let PendingLoad { done, compiles } = {
            let mut load = code.loading();
            if let Some(loaded) = &*code.get() {
                return Ok(loaded.clone());
            }
            let failed = load.failed.clone();
            if let Some((at, error)) = &failed
                && (load.underway.is_some() || now.saturating_sub(*at) < RETRY_AFTER)
            {
                return Err(CodeUnavailable::Failed(error.clone()));
            }
            let start = || self.start(code, now, Some(whom()), Arc::new(|_| {}));
            let loading = load.underway.get_or_insert_with(start).clone();
            if let Some((_, error)) = failed {
                return Err(CodeUnavailable::Failed(error));
            }
            loading
        };
        match future::select(done, compiles).await {
            Either::Left((loaded, _)) => loaded.map_err(CodeUnavailable::Failed),
            Either::Right((Ok(()), _)) => Err(CodeUnavailable::Compiling),
            // The sender is gone: the disk had the code.
            Either::Right((Err(_), done)) => done.await.map_err(CodeUnavailable::Failed),
        }
    }

    fn start(
        self: &Arc<Self>,
        code: &Arc<ComponentCode>,
        now: Duration,
        whom: Option<ForVersion>,
        progress: ProgressSink,
    ) -> PendingLoad {
        let (codes, code) = (self.clone(), code.clone());
        let digest = code.digest;
        let (tell, compiles) = oneshot::channel();
        let task = tokio::spawn(async move {
            let underway = LoadGuard(code);
            let loaded = match codes.cached(digest, &progress).await? {
                Some(loaded) => loaded,
                None => {
                    // Nobody may be waiting for it.
                    let _ = tell.send(());
                    let compiled = codes.compile(digest, whom, progress).await;
                    let failed = compiled.as_ref().err().filter(|error| !error.is_busy()).cloned();
                    underway.0.loading().failed = failed.map(|error| (now, error));
                    compiled?
                }
            };
            let loaded = Arc::new(loaded);
            codes.keep(&underway.0, &loaded, now);
            Ok(loaded)
        });
        let done = async move { task.await.unwrap_or_else(|error| Err(interrupted(digest, error))) };
        PendingLoad { done: done.boxed().shared(), compiles: compiles.shared() }
    }

    /// Loads code from the disk; `None` when it must be compiled.
    async fn cached(
        &self,
        digest: Digest,
        progress: &ProgressSink,
    ) -> Result<Option<LoadedComponent>, PrepareError> {
        progress(PrepareProgress { step: PrepareStep::Checking, functions: 0 });
        let loader = self.options.loader.clone();
        let _turn = self.loads.acquire().await.expect("nobody closes it");
        let cached = tokio::task::spawn_blocking(move || loader.cached(digest)).await;
        cached.map_err(|error| interrupted(digest, error))?.transpose()
    }

    /// Compiles a component when it is its turn, and logs that.
    async fn compile(
        &self,
        digest: Digest,
        whom: Option<ForVersion>,
        progress: ProgressSink,
    ) -> Result<LoadedComponent, PrepareError> {
        let function = whom.as_ref().map(|whom| display(&whom.function));
        let version = whom.as_ref().map(|whom| display(&whom.version));
        tracing::info!(
            component = %digest, function, version, "component is compiled: the cache has no code of it"
        );
        let began = clock::now();
        let (loader, source) =
            (self.options.loader.clone(), self.options.components_dir.join(digest.to_string()));
        let compiled = self.compiler.run(move || loader.compile(digest, &source, &*progress)).await;
        let compiled = compiled.unwrap_or_else(|error| Err(not_compiled(digest, error)));
        let took = began.elapsed();
        match &compiled {
            Ok(_) => tracing::info!(component = %digest, function, version, ?took, "component was compiled"),
            Err(error) => tracing::warn!(
                component = %digest, function, version, ?took, %error, "component was not compiled"
            ),
        }
        compiled
    }

    /// Compiles a component in one pass, unless it is loaded, or the disk has its code. Its code is there in
    /// a fifth of the time, and slow. `None` if it is not compiled in this way.
    pub(crate) async fn load_baseline(
        &self,
        code: &Arc<ComponentCode>,
        now: Duration,
        progress: ProgressSink,
    ) -> Option<Arc<LoadedComponent>> {
        let (digest, loader) = (code.digest, self.options.loader.clone());
        let source = self.options.components_dir.join(digest.to_string());
        if code.get().is_some() || code.loading().underway.is_some() {
            return None;
        }
        let began = clock::now();
        let compile = move || {
            if loader.has_cached(digest) {
                None
            } else {
                loader.compile_baseline(digest, &source, &*progress)
            }
        };
        let loaded = Arc::new(self.compiler.run(compile).await.ok().flatten()?);
        tracing::info!(
            component = %digest, took = ?began.elapsed(),
            "component was compiled in one pass, so that it can serve: faster code is to come"
        );
        self.keep(code, &loaded, now);
        Some(loaded)
    }

    /// Compiles a component whose code of one pass is loaded. Nothing keeps the result yet but the disk.
    ///
    /// # Errors
    /// It cannot be compiled.
    pub(crate) async fn optimise(&self, digest: Digest) -> Result<LoadedComponent, PrepareError> {
        self.compile(digest, None, Arc::new(|_| {})).await
    }

    /// Compiles a component as it was uploaded, although it can be fused. Nothing keeps the result yet.
    ///
    /// # Errors
    /// It cannot be compiled.
    pub(crate) async fn compile_unfused(&self, digest: Digest) -> Result<Unfused, PrepareError> {
        let (loader, source) =
            (self.options.loader.clone(), self.options.components_dir.join(digest.to_string()));
        let compiled = self.compiler.run(move || loader.compile_unfused(digest, &source)).await;
        compiled.unwrap_or_else(|error| Err(not_compiled(digest, error)))
    }

    /// Keeps a component as it was uploaded, here and on the disk. From now on it is never fused.
    ///
    /// # Errors
    /// The node stops.
    pub(crate) async fn adopt(
        &self,
        code: &Arc<ComponentCode>,
        unfused: Unfused,
        now: Duration,
    ) -> Result<(), PrepareError> {
        let loader = self.options.loader.clone();
        let adopted = tokio::task::spawn_blocking(move || loader.adopt(unfused)).await;
        let adopted = adopted.map_err(|error| interrupted(code.digest, error))?;
        self.keep(code, &Arc::new(adopted), now);
        Ok(())
    }

    /// Keeps code loaded, and unloads other code that does not fit beside it.
    pub(crate) fn keep(&self, code: &Arc<ComponentCode>, component: &Arc<LoadedComponent>, now: Duration) {
        code.touch(now);
        let mut loaded = lock(&self.loaded);
        // A load that began before the component was adopted does not undo that.
        let is_adopted = |code: &LoadedComponent| !code.is_fused && !code.prepared.is_baseline;
        if component.is_fused && code.get().as_deref().is_some_and(is_adopted) {
            return;
        }
        let before = code.loaded.swap(Some(component.clone()));
        loaded.retain(|other| !Arc::ptr_eq(other, code));
        let unloaded = unload(&mut loaded, self.options.bytes_max.saturating_sub(component.bytes));
        loaded.push(code.clone());
        drop(loaded);
        // Unmapping takes time, so this happens outside the lock.
        drop((before, unloaded));
    }

    /// Unloads code that was not used for a while or exceeds the budget, unless it is in use. Call this every
    /// second or so.
    pub(crate) fn sweep(&self, now: Duration) {
        let mut loaded = lock(&self.loaded);
        let idle = |code: &mut Arc<ComponentCode>| {
            !code.is_used() && now.saturating_sub(code.used()) >= self.options.idle_after
        };
        let mut unloaded: Vec<_> = loaded.extract_if(.., idle).map(|code| code.loaded.swap(None)).collect();
        unloaded.extend(unload(&mut loaded, self.options.bytes_max));
        drop(loaded);
        if !unloaded.is_empty() {
            tracing::debug!(components = unloaded.len(), "code was given up");
        }
        drop(unloaded);
        self.by_component.retain(|_, code| code.strong_count() > 0);
    }

    /// Compiled functions that were found again.
    #[cfg(test)]
    pub(crate) fn functions_found(&self) -> u64 {
        self.options.loader.functions_found()
    }

    /// Blocks all loads.
    #[cfg(test)]
    pub(crate) async fn hold_loads(&self) -> tokio::sync::SemaphorePermit<'_> {
        let all = u32::try_from(self.loads.available_permits()).expect("there are few");
        self.loads.acquire_many(all).await.expect("nobody closes it")
    }

    /// Memory of loaded code, bytes.
    pub(crate) fn bytes(&self) -> u64 {
        lock(&self.loaded).iter().map(|code| code.bytes()).sum()
    }
}

/// Unloads code that is not in use, least recently used first, until the rest takes at most `bytes_max`.
fn unload(loaded: &mut Vec<Arc<ComponentCode>>, bytes_max: u64) -> Vec<Option<Arc<LoadedComponent>>> {
    let mut bytes: u64 = loaded.iter().map(|code| code.bytes()).sum();
    if bytes <= bytes_max {
        return Vec::new();
    }
    loaded.sort_by_key(|code| std::cmp::Reverse(code.used_ms.load(Relaxed)));
    let mut unloaded = Vec::new();
    for at in (0..loaded.len()).rev() {
        if bytes <= bytes_max {
            break;
        }
        if !loaded[at].is_used() {
            let code = loaded.remove(at);
            bytes -= code.bytes();
            unloaded.push(code.loaded.swap(None));
        }
    }
    unloaded
}

fn not_compiled(digest: Digest, error: CompilerError) -> PrepareError {
    match error {
        CompilerError::Full => PrepareError::Busy { reason: error.to_string() },
        CompilerError::Panicked => interrupted(digest, error),
    }
}

fn interrupted(digest: Digest, error: impl std::error::Error + Send + Sync + 'static) -> PrepareError {
    PrepareError::io(digest, std::io::Error::other(format!("loading did not end: {error}")))
}

/// Locks `mutex`. Nothing here panics while it holds a lock, so a poisoned one is as good as any.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
