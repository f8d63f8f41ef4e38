//! Runs work on each thread of the runtime.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::{self, ThreadId},
    time::Duration,
};

use tokio::{runtime::Handle, sync::watch, task::yield_now, time::sleep};

use crate::allocator::flush_thread_cache;

/// How often each task of a round checks whether it has moved to another thread. This takes a few hundred
/// microseconds.
const TURNS_MAX: usize = 1_000;

/// Maximum number of rounds. Threads that got no core or no turn in the first round get one later.
const ROUNDS_MAX: usize = 100;

/// Time between rounds.
const PAUSE: Duration = Duration::from_millis(10);

/// Flushes every thread's allocator cache after each burst, until the sender of `bursts` is gone.
/// Otherwise, sleeping threads keep their caches, and a few small objects in a cache keep many pages.
pub(crate) async fn flush_after_bursts(mut bursts: watch::Receiver<u64>) {
    while bursts.changed().await.is_ok() {
        on_each(flush_thread_cache).await;
    }
}

/// Runs `work` once on each worker of the current runtime. Workers that get no turn for it within a second
/// are left out.
async fn on_each(work: fn()) {
    let workers = Handle::current().metrics().num_workers();
    let visited = Arc::new(Visited { threads: Mutex::default(), workers });
    for _ in 0..ROUNDS_MAX {
        // One task per worker, each always ready: idle workers are woken to take one.
        let visits: Vec<_> = (0..workers).map(|_| tokio::spawn(visit(work, visited.clone()))).collect();
        for visit in visits {
            // If a task was cancelled, the others visit its thread.
            let _ = visit.await;
        }
        if visited.is_all() {
            return;
        }
        sleep(PAUSE).await;
    }
}

async fn visit(work: fn(), visited: Arc<Visited>) {
    for _ in 0..TURNS_MAX {
        if visited.add(thread::current().id()) {
            work();
        }
        if visited.is_all() {
            return;
        }
        yield_now().await;
    }
}

/// The workers that have run it.
struct Visited {
    threads: Mutex<HashSet<ThreadId>>,
    workers: usize,
}

impl Visited {
    /// Adds `thread` and returns whether it is new.
    fn add(&self, thread: ThreadId) -> bool {
        self.lock().insert(thread)
    }

    fn is_all(&self) -> bool {
        self.lock().len() >= self.workers
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<ThreadId>> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
