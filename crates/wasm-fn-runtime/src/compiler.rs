//! Where components are compiled: on threads of their own that give way to requests, a few components at a
//! time, with a bounded queue.

use std::{
    io,
    num::NonZero,
    panic::{self, AssertUnwindSafe},
    sync::{Arc, Once},
    thread,
};

use rustix::process::{getpriority_process, setpriority_process};
use tokio::sync::{Semaphore, TryAcquireError, oneshot};

/// Components compiled at once. A second one fills the threads that the first has no functions for.
const AT_ONCE: usize = 2;

/// Components that are compiled or wait to be.
const ADMITTED_MAX: usize = 64;

/// Niceness of the threads: beside a busy data plane they get a tenth of a core, so that a compilation is
/// slow then, but ends.
const NICE: i32 = 10;

/// Stack of a compiling thread. While it waits for a part of one component it may begin the other.
const STACK_BYTES: usize = 8 << 20;

/// Why nothing was compiled.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CompilerError {
    /// Too many wait.
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
    /// The node's compiler. Its threads are the process's.
    pub(crate) fn new() -> Self {
        start_threads();
        Self { admitted: Arc::new(Semaphore::new(ADMITTED_MAX)), turns: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    /// Runs `work` on a compiling thread when it is its turn; the parts that it makes parallel run there too.
    ///
    /// # Errors
    /// When too many wait, or `work` panics.
    ///
    /// # Cancel safety
    /// Dropping the future gives up the turn, unless `work` has begun: then it goes on to its end.
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
            // A panic that left this function would end the process.
            let result = panic::catch_unwind(AssertUnwindSafe(work));
            drop((admitted, turn));
            // Nobody may wait for it any more.
            let _ = sender.send(result);
        });
        match done.await {
            Ok(Ok(result)) => Ok(result),
            Ok(Err(_)) | Err(_) => Err(CompilerError::Panicked),
        }
    }
}

/// Makes the threads on which wasmtime compiles in parallel, all but one core's worth of them.
fn start_threads() {
    static STARTED: Once = Once::new();
    STARTED.call_once(|| {
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        let built = rayon::ThreadPoolBuilder::new()
            .num_threads(cores.saturating_sub(1).max(1))
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

/// Lowers the priority of this thread, unless it is as low: Linux takes no process to mean the calling thread.
fn give_way() -> io::Result<()> {
    let own = getpriority_process(None)?;
    Ok(setpriority_process(None, own.max(NICE))?)
}

#[cfg(test)]
mod tests;
