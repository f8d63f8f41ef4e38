//! Advances the epoch of the engines, which interrupts guests that compute.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread::{self, Thread},
    time::Duration,
};

use wasm_fn_pool::RunQueue;
use wasmtime::{Engine, EngineWeak};

use crate::{
    code::engine::{EngineError, Engines},
    waiter::Waiter,
};

/// Length of an epoch while some guest computes for long. A short request waits at most this long behind such
/// a guest, and CPU time is limited with this precision.
const SLICE: Duration = Duration::from_millis(1);

/// Length of an epoch while none does. Waking a thread costs the same however little it does.
const IDLE_TICK: Duration = Duration::from_millis(10);

/// After this many short epochs in which no guest computed all the time, epochs are long again.
const CALM: u32 = 50;

/// Advances the epoch of the engines, and queues guests that wait to compute.
pub(crate) struct EpochTicker {
    /// Epochs since the start. This counts up before the engines do. So a guest that was resumed in between
    /// and is interrupted at once differs from one that computed for a whole epoch.
    epochs: AtomicU64,
    /// Whether a guest computed through an epoch since the last tick.
    computing: AtomicBool,
    thread: OnceLock<Thread>,
    pub(crate) run_queue: RunQueue<Waiter>,
}

impl EpochTicker {
    /// A ticker without a thread.
    pub(crate) fn new(threads: u32, guests_max: u32) -> Self {
        Self {
            epochs: AtomicU64::new(0),
            computing: AtomicBool::new(false),
            thread: OnceLock::new(),
            run_queue: RunQueue::new(threads, guests_max),
        }
    }

    /// Starts the thread that advances the epoch of `engines`. It ends with them. Guests run on `threads`
    /// threads, and at most `guests_max` exist at once.
    ///
    /// # Errors
    /// The system provides no thread.
    pub(crate) fn start(engines: &Engines, threads: u32, guests_max: u32) -> Result<Arc<Self>, EngineError> {
        let this = Arc::new(Self::new(threads, guests_max));
        let ticking = this.clone();
        let all = [Some(&engines.sequential), Some(&engines.concurrent), engines.baseline.as_ref()];
        let engines: Vec<_> = all.into_iter().flatten().map(Engine::weak).collect();
        let thread = thread::Builder::new().name("epoch".to_owned()).spawn(move || {
            let mut slices_left = 0;
            while let Some(computing) = ticking.advance(&engines) {
                slices_left = if computing { CALM } else { slices_left.saturating_sub(1) };
                if slices_left > 0 {
                    thread::sleep(SLICE);
                } else {
                    thread::park_timeout(IDLE_TICK);
                }
            }
        });
        let handle = thread.map_err(EngineError::Ticker)?;
        this.thread.get_or_init(|| handle.thread().clone());
        Ok(this)
    }

    /// Begins an epoch. Returns whether a guest computed through the one before, or `None` when an engine is
    /// gone.
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

    /// Notes that a guest computed through an epoch, so that epochs become short.
    pub(crate) fn speed_up(&self) {
        if !self.computing.swap(true, Relaxed)
            && let Some(thread) = self.thread.get()
        {
            thread.unpark();
        }
    }
}
