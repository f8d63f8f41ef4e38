//! Work for each thread of the runtime.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::{self, ThreadId},
    time::Duration,
};

use tokio::{runtime::Handle, sync::watch, task::yield_now, time::sleep};

use crate::allocator::flush_thread_cache;

/// How often the tasks of one round look whether they have come to another thread; some hundred microseconds.
const TURNS_MAX: usize = 1_000;

/// Rounds, for threads that had no core or no turn in the first.
const ROUNDS_MAX: usize = 100;

/// Between rounds.
const PAUSE: Duration = Duration::from_millis(10);

/// Has each thread give up its allocator's cache whenever a burst is over, until there will be no more.
/// Threads that sleep keep it otherwise, and a few small objects in it keep many pages.
pub(crate) async fn flush_after_bursts(mut bursts: watch::Receiver<u64>) {
    while bursts.changed().await.is_ok() {
        on_each(flush_thread_cache).await;
    }
}

/// Does `work` once on each worker of the current runtime; those that have no turn for it within a second are
/// left out.
async fn on_each(work: fn()) {
    let workers = Handle::current().metrics().num_workers();
    let visited = Arc::new(Visited { threads: Mutex::default(), workers });
    for _ in 0..ROUNDS_MAX {
        // As many tasks as there are workers, each ready all the time: whoever is idle is woken to take one.
        let visits: Vec<_> = (0..workers).map(|_| tokio::spawn(visit(work, visited.clone()))).collect();
        for visit in visits {
            // One that was cut off leaves its thread to the others.
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

/// Which workers have done it.
struct Visited {
    threads: Mutex<HashSet<ThreadId>>,
    workers: usize,
}

impl Visited {
    /// Whether `thread` is new.
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
