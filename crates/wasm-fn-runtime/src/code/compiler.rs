//! Compiles components on threads of their own that give way to requests, a few at a time, with a bounded
//! queue.

use std::{
    io,
    num::NonZero,
    panic::{self, AssertUnwindSafe},
    sync::{Arc, Once},
    thread,
};

use rustix::process::{getpriority_process, setpriority_process};
use tokio::sync::{Semaphore, TryAcquireError, oneshot};

/// Components compiled at once. A second one uses the threads for which the first has no functions.
const AT_ONCE: usize = 2;

/// Most components that are compiled or wait for that.
const ADMITTED_MAX: usize = 64;

/// Niceness of the threads. Beside a busy data plane they get a tenth of each core, so a compilation is slow
/// but ends. Where cores are free, it has all of them.
const NICE: i32 = 10;

/// Stack of a compiling thread, bytes. While it waits for a part of one component it may begin another.
const STACK_BYTES: usize = 8 << 20;

/// Why nothing was compiled.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CompilerError {
    /// Too many components wait.
    #[error("{ADMITTED_MAX} components are being compiled or wait for it, expected fewer")]
    Full,
    /// The compiler panicked.
    #[error("the compiler panicked")]
    Panicked,
}

/// Compiles components, a few at a time.
pub(crate) struct Compiler {
    admitted: Arc<Semaphore>,
    turns: Arc<Semaphore>,
}

impl Compiler {
    /// The compiler of the node. All compilers of a process share their threads.
    pub(crate) fn new() -> Self {
        start_threads();
        Self { admitted: Arc::new(Semaphore::new(ADMITTED_MAX)), turns: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    /// Runs `work` on a compiling thread when it is its turn. Its parallel parts run on those threads, too.
    ///
    /// # Errors
    /// Too many components wait, or `work` panics.
    ///
    /// # Cancel safety
    /// Dropping the future gives up the turn, unless `work` has begun. Then it continues to its end.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, CompilerError> {
        let admitted = self.admitted.clone().try_acquire_owned().map_err(|error| match error {
            TryAcquireError::NoPermits => CompilerError::Full,
            TryAcquireError::Closed => unreachable!("nobody closes it"),
        })?;
        let turn = self.turns.clone().acquire_owned().await.expect("nobody closes it");
        let (sender, done) = oneshot::channel();
        rayon::spawn(move || {
            // A panic that leaves this closure would end the process.
            let result = panic::catch_unwind(AssertUnwindSafe(work));
            drop((admitted, turn));
            // Nobody may be waiting any more.
            let _ = sender.send(result);
        });
        match done.await {
            Ok(Ok(result)) => Ok(result),
            Ok(Err(_)) | Err(_) => Err(CompilerError::Panicked),
        }
    }
}

/// Starts the threads on which wasmtime compiles and validates in parallel: one for each core. Whoever does
/// either calls this before, or the process keeps threads with the priority of requests.
pub(crate) fn start_threads() {
    static STARTED: Once = Once::new();
    STARTED.call_once(|| {
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        let built = rayon::ThreadPoolBuilder::new()
            .num_threads(cores)
            .thread_name(|at| format!("compile-{at}"))
            .stack_size(STACK_BYTES)
            .start_handler(|_| {
                if let Err(error) = give_way() {
                    tracing::warn!(%error, "compilations have the priority of requests");
                }
            })
            .build_global();
        if let Err(error) = built {
            tracing::warn!(%error, "compilations use threads that were there before");
        }
    });
}

/// Lowers the priority of this thread, unless it is that low already. On Linux, `None` means the calling
/// thread.
fn give_way() -> io::Result<()> {
    let own = getpriority_process(None)?;
    Ok(setpriority_process(None, own.max(NICE))?)
}

#[cfg(test)]
mod tests;
