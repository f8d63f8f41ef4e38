//! Notices when a guest goes on on another thread.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use wasm_fn_thread::thread_number;

/// How often a guest of this process went on on another thread than before.
static MOVES: AtomicU64 = AtomicU64::new(0);

/// The thread that runs a guest.
#[derive(Debug)]
pub struct ThreadAffinity {
    thread: AtomicU64,
}

impl ThreadAffinity {
    /// The affinity of a guest that will run on this thread.
    #[expect(clippy::new_without_default, reason = "it belongs to the thread that calls it")]
    pub fn new() -> Self {
        Self { thread: AtomicU64::new(thread_number()) }
    }

    /// Call this whenever the guest begins to run or goes on, on the thread that runs it.
    pub fn arrive(&self) {
        let here = thread_number();
        if self.thread.load(Relaxed) != here {
            self.thread.store(here, Relaxed);
            MOVES.fetch_add(1, Relaxed);
        }
    }
}

/// How often any guest has moved so far.
pub(crate) fn moves() -> u64 {
    MOVES.load(Relaxed)
}
