//! Loaded code: made when a version is first called, shared by all versions of a component, and given up when
//! nobody has called them for a while or when it does not fit the node's budget.
//!
//! What has to be compiled first is compiled in the background: a request waits for the cache, never for the compiler.
//!
//! Code counts as used while the node looks after some version of it, so calls that find it loaded pay for none
//! of this. Invocations that hold it keep it, whatever becomes of its cell.

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
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

use crate::{
    compiler::{Compiler, CompilerError},
    component::{Loader, Mapped, PrepareError, Progress, Step},
};

/// Takes progress, from any thread.
pub(crate) type ProgressSink = Arc<dyn Fn(Progress) + Send + Sync>;

/// How long what cannot be compiled is left alone before a request has it tried again.
const RETRY_AFTER: Duration = Duration::from_secs(10);

/// A load that is under way, for everybody who waits for it.
#[derive(Clone)]
struct Loading {
    done: Shared<BoxFuture<'static, Result<Arc<Mapped>, PrepareError>>>,
    /// Told when the cache has no code, so that it is compiled.
    compiles: Shared<oneshot::Receiver<()>>,
}

/// For whom code is loaded, for the log.
#[derive(Clone, Debug)]
pub struct ForVersion {
    /// The function.
    pub function: FunctionName,
    /// Its version.
    pub version: VersionNo,
}

/// Why a request gets no code.
#[derive(Debug)]
pub(crate) enum NoCode {
    /// It is being compiled.
    Compiling,
    /// It cannot be loaded, or could not be compiled when that was tried last.
    Failed(PrepareError),
}

/// The code of one component, loaded or not.
pub(crate) struct Code {
    digest: Digest,
    mapped: ArcSwapOption<Mapped>,
    loading: Mutex<Load>,
    /// Versions with this code that the node looks after.
    users: AtomicUsize,
    /// When it was last known to be used, milliseconds since the node's start.
    used_ms: AtomicU64,
}

/// What is known of the loads of some code.
#[derive(Default)]
struct Load {
    underway: Option<Loading>,
    /// When it was last tried in vain to compile it, and why.
    failed: Option<(Duration, PrepareError)>,
}

/// What [`Codes`] need to know.
pub(crate) struct CodesOptions {
    pub(crate) loader: Arc<Loader>,
    /// Where components lie, each named by its digest.
    pub(crate) components_dir: PathBuf,
    /// Most memory for loaded code, unless more of it is in use.
    pub(crate) bytes_max: u64,
    /// Time without use after which code is given up.
    pub(crate) idle_after: Duration,
}

/// The code of every component.
pub(crate) struct Codes {
    options: CodesOptions,
    compiler: Compiler,
    /// Loads from the cache at once; each takes a core.
    loads: Semaphore,
    // Dead entries are taken out by the sweep.
    by_component: DashMap<Digest, Weak<Code>>,
    // Invariant: every code that is loaded, each once.
    loaded: Mutex<Vec<Arc<Code>>>,
}

impl Code {
    /// The code of the component with `digest`, not loaded.
    pub(crate) fn new(digest: Digest) -> Self {
        Self {
            digest,
            mapped: ArcSwapOption::empty(),
            loading: Mutex::default(),
            users: AtomicUsize::new(0),
            used_ms: AtomicU64::new(0),
        }
    }

    pub(crate) fn digest(&self) -> Digest {
        self.digest
    }

    /// The code, if it is loaded. Costs next to nothing.
    pub(crate) fn get(&self) -> Guard<Option<Arc<Mapped>>> {
        self.mapped.load()
    }

    /// The node begins to look after a version of it.
    pub(crate) fn begin_use(&self) {
        self.users.fetch_add(1, Relaxed);
    }

    /// The node has looked after a version of it until `now`.
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
        self.mapped.load().as_ref().map_or(0, |mapped| mapped.bytes)
    }

    fn loading(&self) -> MutexGuard<'_, Load> {
        lock(&self.loading)
    }
}

/// The load of some code ends with this, however it ends.
struct Underway(Arc<Code>);

impl Drop for Underway {
    fn drop(&mut self) {
        self.0.loading().underway = None;
    }
}

impl Codes {
    pub(crate) fn new(options: CodesOptions) -> Self {
        let cores = thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            options,
            compiler: Compiler::new(),
            loads: Semaphore::new(cores),
            by_component: DashMap::new(),
            loaded: Mutex::default(),
        }
    }

    /// The cell of a component's code, the same for all who ask here.
    pub(crate) fn of(&self, digest: Digest) -> Arc<Code> {
        let mut entry = self.by_component.entry(digest).or_default();
        entry.upgrade().unwrap_or_else(|| {
            let code = Arc::new(Code::new(digest));
            *entry = Arc::downgrade(&code);
            code
        })
    }

    /// Whether the cache has an artefact of a component, or its code is loaded anyway. Blocks.
    pub(crate) fn is_at_hand(&self, digest: Digest) -> bool {
        let code = || self.by_component.get(&digest).and_then(|code| code.upgrade());
        self.options.loader.has_cached(digest) || code().is_some_and(|code| code.get().is_some())
    }

    /// Loads `code`, or compiles it for `whom`; whoever asks meanwhile gets the same, and does not hear of progress.
    ///
    /// # Errors
    /// When it cannot be loaded or compiled. The next call tries again.
    ///
    /// # Cancel safety
    /// The load goes on when nobody waits for it.
    pub(crate) async fn load(
        self: &Arc<Self>,
        code: &Arc<Code>,
        now: Duration,
        whom: Option<ForVersion>,
        progress: ProgressSink,
    ) -> Result<Arc<Mapped>, PrepareError> {
        let loading = {
            let mut load = code.loading();
            if let Some(mapped) = &*code.get() {
                return Ok(mapped.clone());
            }
            load.underway.get_or_insert_with(|| self.start(code, now, whom, progress)).clone()
        };
        loading.done.await
    }

    /// Loads `code` if that takes no compiler; otherwise has it compiled for `whom`, and does not wait for that.
    ///
    /// # Errors
    /// When there is no code yet.
    ///
    /// # Cancel safety
    /// The load goes on when nobody waits for it.
    pub(crate) async fn load_compiled(
        self: &Arc<Self>,
        code: &Arc<Code>,
        now: Duration,
        whom: impl FnOnce() -> ForVersion,
    ) -> Result<Arc<Mapped>, NoCode> {
        let Loading { done, compiles } = {
            let mut load = code.loading();
            if let Some(mapped) = &*code.get() {
                return Ok(mapped.clone());
            }
            let failed = load.failed.clone();
            if let Some((at, error)) = &failed
                && (load.underway.is_some() || now.saturating_sub(*at) < RETRY_AFTER)
            {
                return Err(NoCode::Failed(error.clone()));
            }
            let start = || self.start(code, now, Some(whom()), Arc::new(|_| {}));
            let loading = load.underway.get_or_insert_with(start).clone();
            if let Some((_, error)) = failed {
                return Err(NoCode::Failed(error));
            }
            loading
        };
        match future::select(done, compiles).await {
            Either::Left((loaded, _)) => loaded.map_err(NoCode::Failed),
            Either::Right((Ok(()), _)) => Err(NoCode::Compiling),
            // Nobody will tell: the cache had it.
            Either::Right((Err(_), done)) => done.await.map_err(NoCode::Failed),
        }
    }

    fn start(
        self: &Arc<Self>,
        code: &Arc<Code>,
        now: Duration,
        whom: Option<ForVersion>,
        progress: ProgressSink,
    ) -> Loading {
        let (codes, code) = (self.clone(), code.clone());
        let digest = code.digest;
        let (tell, compiles) = oneshot::channel();
        let task = tokio::spawn(async move {
            let underway = Underway(code);
            let mapped = match codes.cached(digest, &progress).await? {
                Some(mapped) => mapped,
                None => {
                    // Nobody may wait for it.
                    let _ = tell.send(());
                    let compiled = codes.compile(digest, whom, progress).await;
                    let failed = compiled.as_ref().err().filter(|error| !error.is_busy()).cloned();
                    underway.0.loading().failed = failed.map(|error| (now, error));
                    compiled?
                }
            };
            let mapped = Arc::new(mapped);
            codes.keep(&underway.0, &mapped, now);
            Ok(mapped)
        });
        let done = async move { task.await.unwrap_or_else(|error| Err(interrupted(digest, error))) };
        Loading { done: done.boxed().shared(), compiles: compiles.shared() }
    }

    /// The code from the cache; `None` when it has to be compiled.
    async fn cached(&self, digest: Digest, progress: &ProgressSink) -> Result<Option<Mapped>, PrepareError> {
        progress(Progress { step: Step::Checking, functions: 0 });
        let loader = self.options.loader.clone();
        let _turn = self.loads.acquire().await.expect("nobody closes it");
        let cached = tokio::task::spawn_blocking(move || loader.cached(digest)).await;
        cached.map_err(|error| interrupted(digest, error))?.transpose()
    }

    /// Compiles a component, when it is its turn, and says so in the log.
    #[expect(clippy::disallowed_methods, reason = "the log says how long it took")]
    async fn compile(
        &self,
        digest: Digest,
        whom: Option<ForVersion>,
        progress: ProgressSink,
    ) -> Result<Mapped, PrepareError> {
        let function = whom.as_ref().map(|whom| display(&whom.function));
        let version = whom.as_ref().map(|whom| display(&whom.version));
        tracing::info!(component = %digest, function, version, "component is compiled: the cache has no code of it");
        let began = Instant::now();
        let (loader, source) =
            (self.options.loader.clone(), self.options.components_dir.join(digest.to_string()));
        let compiled = self.compiler.run(move || loader.compile(digest, &source, &*progress)).await;
        let compiled = compiled.unwrap_or_else(|error| match error {
            CompilerError::Full => Err(PrepareError::Busy { reason: error.to_string() }),
            CompilerError::Panicked => Err(interrupted(digest, error)),
        });
        let took = began.elapsed();
        match &compiled {
            Ok(_) => tracing::info!(component = %digest, function, version, ?took, "component was compiled"),
            Err(error) => tracing::warn!(
                component = %digest, function, version, ?took, %error, "component was not compiled"
            ),
        }
        compiled
    }

    /// Holds `mapped` loaded, and gives up what does not fit beside it.
    fn keep(&self, code: &Arc<Code>, mapped: &Arc<Mapped>, now: Duration) {
        code.touch(now);
        let mut loaded = lock(&self.loaded);
        code.mapped.store(Some(mapped.clone()));
        let given_up = give_up(&mut loaded, self.options.bytes_max.saturating_sub(mapped.bytes));
        loaded.push(code.clone());
        drop(loaded);
        // Unmapping takes time: outside the lock.
        drop(given_up);
    }

    /// Gives up what was not used for a while, and what is above the budget, unless it is in use. To be called
    /// every second or so.
    pub(crate) fn sweep(&self, now: Duration) {
        let mut loaded = lock(&self.loaded);
        let idle = |code: &mut Arc<Code>| {
            !code.is_used() && now.saturating_sub(code.used()) >= self.options.idle_after
        };
        let mut given_up: Vec<_> = loaded.extract_if(.., idle).map(|code| code.mapped.swap(None)).collect();
        given_up.extend(give_up(&mut loaded, self.options.bytes_max));
        drop(loaded);
        if !given_up.is_empty() {
            tracing::debug!(components = given_up.len(), "code was given up");
        }
        drop(given_up);
        self.by_component.retain(|_, code| code.strong_count() > 0);
    }

    /// Keeps everybody from loading anything.
    #[cfg(test)]
    pub(crate) async fn hold_loads(&self) -> tokio::sync::SemaphorePermit<'_> {
        let all = u32::try_from(self.loads.available_permits()).expect("there are few");
        self.loads.acquire_many(all).await.expect("nobody closes it")
    }

    /// Memory that loaded code takes.
    pub(crate) fn bytes(&self) -> u64 {
        lock(&self.loaded).iter().map(|code| code.bytes()).sum()
    }
}

/// Takes the codes out of `loaded` that were used longest ago and are not in use, until the others have at most
/// `bytes_max`.
fn give_up(loaded: &mut Vec<Arc<Code>>, bytes_max: u64) -> Vec<Option<Arc<Mapped>>> {
    let mut bytes: u64 = loaded.iter().map(|code| code.bytes()).sum();
    if bytes <= bytes_max {
        return Vec::new();
    }
    loaded.sort_by_key(|code| std::cmp::Reverse(code.used_ms.load(Relaxed)));
    let mut given_up = Vec::new();
    for at in (0..loaded.len()).rev() {
        if bytes <= bytes_max {
            break;
        }
        if !loaded[at].is_used() {
            let code = loaded.remove(at);
            bytes -= code.bytes();
            given_up.push(code.mapped.swap(None));
        }
    }
    given_up
}

fn interrupted(digest: Digest, error: impl std::error::Error + Send + Sync + 'static) -> PrepareError {
    PrepareError::io(digest, std::io::Error::other(format!("loading did not end: {error}")))
}

/// Locks; nothing here panics while it holds a lock, so a poisoned one is as good as any.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
