//! Has the allocator give back what threads have freed.
//!
//! Each thread keeps freed memory for its next allocation, and only the thread itself can give it back. It does so
//! before it sleeps, some times after each burst; at other times that costs a thread a comparison.

use std::{
    cell::Cell,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use tokio::{runtime::Handle, sync::watch};

/// How often threads are asked after a burst: what one gives back may be another's to give back, and the instances
/// that were kept ready for the burst go one after the other.
const ROUNDS: u32 = 5;

/// Time between two rounds.
const ROUND_EVERY: Duration = Duration::from_secs(3);

/// Tasks for each thread of the runtime, to wake those that sleep.
const TASKS: usize = 4;

/// Times that threads were asked to give back.
static ASKED: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// The value of `ASKED` that this thread has met.
    static MET: Cell<u64> = const { Cell::new(0) };
}

/// For every thread of the runtime, before it sleeps.
pub(crate) fn before_sleep() {
    let asked = ASKED.load(Relaxed);
    if MET.replace(asked) != asked {
        collect();
    }
}

/// Has all threads of this runtime give back after each change of `bursts`.
pub(crate) async fn follow(mut bursts: watch::Receiver<u64>) {
    let threads = Handle::current().metrics().num_workers();
    while bursts.changed().await.is_ok() {
        for _ in 0..ROUNDS {
            ASKED.fetch_add(1, Relaxed);
            // Whoever has nothing to do wakes for these, and goes to sleep again.
            for _ in 0..threads * TASKS {
                tokio::spawn(tokio::task::yield_now());
            }
            tokio::time::sleep(ROUND_EVERY).await;
        }
    }
}

/// Gives back what this thread has freed.
fn collect() {
    #[expect(unsafe_code, reason = "the allocator is a C library")]
    unsafe extern "C" {
        safe fn mi_collect(force: bool);
    }
    mi_collect(true);
}
