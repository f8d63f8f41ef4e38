//! Measures what an instance uses.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
};

use wasmtime::UpdateDeadline;

use crate::{
    cpu::{
        account::{Cpu, CpuCheck},
        ticker::EpochTicker,
    },
    fault::Fault,
};

/// Measures what an instance uses. It outlives the instance, so that a guest that was cut off is accounted
/// for.
pub(crate) struct Meter {
    pub(crate) cpu: Cpu,
    memory_peak_bytes: AtomicU64,
    /// Whether the guest asked for more memory than its limit.
    memory_refused: AtomicBool,
    /// Whether the guest asked for more memory than the node has left.
    memory_short: AtomicBool,
    /// Whether the guest asked for something that the node was to have, and has not got it.
    state_short: AtomicBool,
}

impl Meter {
    pub(crate) fn new(ticker: Arc<EpochTicker>) -> Self {
        Self {
            cpu: Cpu::new(ticker),
            memory_peak_bytes: AtomicU64::new(0),
            memory_refused: AtomicBool::new(false),
            memory_short: AtomicBool::new(false),
            state_short: AtomicBool::new(false),
        }
    }

    /// Decides how a guest goes on that runs past the end of an epoch.
    ///
    /// # Errors
    /// The guest used up its CPU time.
    pub(crate) fn interrupted(self: &Arc<Self>) -> wasmtime::Result<UpdateDeadline> {
        match self.cpu.check() {
            CpuCheck::Short => Ok(UpdateDeadline::Continue(1)),
            CpuCheck::Long => {
                let meter = self.clone();
                Ok(UpdateDeadline::YieldCustom(1, Box::pin(async move { meter.cpu.stand_back().await })))
            }
            CpuCheck::Over => Err(wasmtime::format_err!("its CPU time is used up")),
        }
    }

    /// Notes that the instance holds `bytes` of memory. Returns the most that it held before.
    pub(super) fn record_memory(&self, bytes: u64) -> u64 {
        self.memory_peak_bytes.fetch_max(bytes, Relaxed)
    }

    /// Notes that the instance did not get what was recorded last; `peak_bytes` is the most that it held
    /// before.
    pub(super) fn forget_memory(&self, peak_bytes: u64) {
        self.memory_peak_bytes.store(peak_bytes, Relaxed);
    }

    /// Notes that the guest was refused memory because of its limit.
    pub(super) fn refuse_memory(&self) {
        self.memory_refused.store(true, Relaxed);
    }

    /// Notes that the guest was refused memory because the node has none left.
    pub(super) fn starve(&self) {
        self.memory_short.store(true, Relaxed);
    }

    /// Notes whether the guest has not got what the node was to have for it. Returns what was noted before.
    pub(super) fn miss_state(&self, is_missed: bool) -> bool {
        self.state_short.swap(is_missed, Relaxed)
    }

    pub(crate) fn memory_peak_bytes(&self) -> u64 {
        self.memory_peak_bytes.load(Relaxed)
    }

    /// Why a guest failed that was refused memory; `None` when it never was. `limit_bytes` is its limit.
    pub(crate) fn refusal(&self, limit_bytes: u64) -> Option<Fault> {
        if self.is_starved() {
            Some(Fault::node_overloaded())
        } else if self.memory_refused.load(Relaxed) {
            Some(Fault::OutOfMemory { limit_bytes })
        } else {
            None
        }
    }

    /// Whether the guest asked for memory or state that the node did not have.
    pub(crate) fn is_starved(&self) -> bool {
        self.memory_short.load(Relaxed) || self.state_short.load(Relaxed)
    }

    /// Forgets refusals, which belong to an earlier request.
    pub(crate) fn forget_refusals(&self) {
        self.memory_refused.store(false, Relaxed);
        self.memory_short.store(false, Relaxed);
        self.state_short.store(false, Relaxed);
    }
}
