//! The node's pace: how often guests that compute are interrupted, and whose turn it is then.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread::{self, Thread},
    time::Duration,
};

use wasm_fn_pool::RunQueue;
use wasmtime::EngineWeak;

use crate::{
    engine::{EngineError, Engines},
    version::Waiter,
};

/// How often guests are interrupted while some of them compute for long: what a short request waits for at
/// most behind one of them, and the grain at which CPU time is limited.
const SLICE: Duration = Duration::from_millis(1);

/// How often they are while none does. Waking a thread costs the same however little it does.
const PATROL: Duration = Duration::from_millis(10);

/// Slices without a guest that computed through one, after which it is enough to patrol again.
const CALM: u32 = 50;

/// Advances the engines' epoch, and knows who waits to compute.
pub(crate) struct Pace {
    /// Epochs since the start. Counts up before the engines do, so that a guest that was resumed after the
    /// count and is interrupted at once can be told from one that computed for a whole epoch.
    epochs: AtomicU64,
    /// Whether a guest computed through an epoch since the last one.
    computing: AtomicBool,
    ticker: OnceLock<Thread>,
    pub(crate) run_queue: RunQueue<Waiter>,
}

impl Pace {
    /// A pace that nobody advances.
    pub(crate) fn new(threads: u32, guests_max: u32) -> Self {
        Self {
            epochs: AtomicU64::new(0),
            computing: AtomicBool::new(false),
            ticker: OnceLock::new(),
            run_queue: RunQueue::new(threads, guests_max),
        }
    }

    /// Starts the thread that advances the epoch of `engines`, which ends with them. Guests run on so many
    /// `threads`, and at most `guests_max` exist at once.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(crate) fn start(engines: &Engines, threads: u32, guests_max: u32) -> Result<Arc<Self>, EngineError> {
        let pace = Arc::new(Self::new(threads, guests_max));
        let ticking = pace.clone();
        let engines = [engines.sequential.weak(), engines.concurrent.weak()];
        let ticker = thread::Builder::new().name("epoch".to_owned()).spawn(move || {
            let mut slices_left = 0;
            while let Some(computing) = ticking.advance(&engines) {
                slices_left = if computing { CALM } else { slices_left.saturating_sub(1) };
                if slices_left > 0 {
                    thread::sleep(SLICE);
                } else {
                    thread::park_timeout(PATROL);
                }
            }
        });
        let ticker = ticker.map_err(EngineError::Ticker)?;
        pace.ticker.get_or_init(|| ticker.thread().clone());
        Ok(pace)
    }

    /// Begins an epoch; whether a guest computed through the one before. `None` when an engine is gone.
    pub(crate) fn advance(&self, engines: &[EngineWeak]) -> Option<bool> {
        self.epochs.fetch_add(1, Relaxed);
        for engine in engines {
            engine.upgrade()?.increment_epoch();
        }
        Some(self.computing.swap(false, Relaxed))
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.epochs.load(Relaxed)
    }

    /// A guest computed through an epoch: slices are in order.
    pub(crate) fn hasten(&self) {
        if !self.computing.swap(true, Relaxed)
            && let Some(ticker) = self.ticker.get()
        {
            ticker.unpark();
        }
    }
}
