//! Loaded code: made when a version is first called, shared by all versions of a component, and given up when
//! nobody has called them for a while or when it does not fit the node's budget.
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
    time::Duration,
};

use arc_swap::{ArcSwapOption, Guard};
use dashmap::DashMap;
use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use tokio::sync::Semaphore;
use wasm_fn_core::Digest;

use crate::{
    compiler::{Compiler, CompilerError},
    component::{Loader, Mapped, PrepareError, Progress, Step},
};

/// Takes progress, from any thread.
pub(crate) type ProgressSink = Arc<dyn Fn(Progress) + Send + Sync>;

/// A load that is under way, for everybody who waits for it.
type Loading = Shared<BoxFuture<'static, Result<Arc<Mapped>, PrepareError>>>;

/// The code of one component, loaded or not.
pub(crate) struct Code {
    digest: Digest,
    mapped: ArcSwapOption<Mapped>,
    loading: Mutex<Option<Loading>>,
    /// Versions with this code that the node looks after.
    users: AtomicUsize,
    /// When it was last known to be used, milliseconds since the node's start.
    used_ms: AtomicU64,
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

    fn loading(&self) -> MutexGuard<'_, Option<Loading>> {
        lock(&self.loading)
    }
}

/// The load of some code ends with this, however it ends.
struct Underway(Arc<Code>);

impl Drop for Underway {
    fn drop(&mut self) {
        *self.0.loading() = None;
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

    /// Whether the cache has an artefact of `code`, or it is loaded anyway. Blocks.
    pub(crate) fn is_at_hand(&self, code: &Code) -> bool {
        code.get().is_some() || self.options.loader.has_cached(code.digest)
    }

    /// Loads `code`, or compiles it; whoever asks meanwhile gets the same, and does not hear of progress.
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
        progress: ProgressSink,
    ) -> Result<Arc<Mapped>, PrepareError> {
        let loading = {
            let mut underway = code.loading();
            if let Some(mapped) = &*code.get() {
                return Ok(mapped.clone());
            }
            underway.get_or_insert_with(|| self.start(code, now, progress)).clone()
        };
        loading.await
    }

    fn start(self: &Arc<Self>, code: &Arc<Code>, now: Duration, progress: ProgressSink) -> Loading {
        let (codes, code) = (self.clone(), code.clone());
        let digest = code.digest;
        let task = tokio::spawn(async move {
            let underway = Underway(code);
            let mapped = Arc::new(codes.fetch(digest, progress).await?);
            codes.keep(&underway.0, &mapped, now);
            Ok(mapped)
        });
        let done = async move { task.await.unwrap_or_else(|error| Err(interrupted(digest, error))) };
        done.boxed().shared()
    }

    async fn fetch(&self, digest: Digest, progress: ProgressSink) -> Result<Mapped, PrepareError> {
        progress(Progress { step: Step::Checking, functions: 0 });
        let loader = self.options.loader.clone();
        let cached = {
            let _turn = self.loads.acquire().await.expect("nobody closes it");
            tokio::task::spawn_blocking(move || loader.cached(digest)).await
        };
        if let Some(mapped) = cached.map_err(|error| interrupted(digest, error))? {
            return mapped;
        }
        let (loader, source) =
            (self.options.loader.clone(), self.options.components_dir.join(digest.to_string()));
        let compiled = self.compiler.run(move || loader.compile(digest, &source, &*progress)).await;
        compiled.unwrap_or_else(|error| match error {
            CompilerError::Full => Err(PrepareError::Busy { reason: error.to_string() }),
            CompilerError::Panicked => Err(interrupted(digest, error)),
        })
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
