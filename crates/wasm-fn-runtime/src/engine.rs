//! The engine: how guests are compiled, where their memory lives, that they can be interrupted.

use std::sync::atomic::{AtomicBool, Ordering};

use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, WasmBacktraceDetails,
};

/// Address space a memory slot reserves: everything 32-bit code can reach, so that bounds checks
/// cost nothing.
const RESERVATION_BYTES: u64 = 4 << 30;

/// Memory a free slot keeps mapped for its next guest, zeroed. Above what small guests touch, below
/// what a greedy guest could leave behind.
const KEEP_RESIDENT_BYTES: usize = 4 << 20;

/// Deepest guest stack; JavaScript and Python interpreters need more than the usual half.
const WASM_STACK_BYTES: usize = 1 << 20;

/// Stack of one fiber: the guest's, and as much for the host functions it calls.
const FIBER_STACK_BYTES: usize = 2 << 20;

/// Elements of one table.
const TABLE_ELEMENTS: usize = 100_000;

/// Why no engine could be made.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The address space or the memory does not hold the pool.
    #[error("a pool of {slots} instances does not fit this machine, try fewer: {reason}")]
    Pool {
        /// Instances asked for.
        slots: u32,
        /// What the operating system said.
        reason: String,
    },
    /// No thread for the interruption of guests.
    #[error("no thread to interrupt guests with: {0}")]
    Ticker(std::io::Error),
}

/// How an instance's memory is made clean for the next guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InstanceMemoryReset {
    /// Only pages that the guest wrote, found by the kernel (`PAGEMAP_SCAN`, Linux 6.7).
    DirtyPages,
    /// Every page, given back to the kernel.
    AllPages,
}

impl InstanceMemoryReset {
    /// What this machine offers.
    pub(crate) fn probe() -> Self {
        if PoolingAllocationConfig::is_pagemap_scan_available() { Self::DirtyPages } else { Self::AllPages }
    }
}

/// How the calls of a guest may relate in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Calls {
    /// One after the other. Keeping no account of tasks makes each call into a guest and out of it cheaper.
    Sequential,
    /// Side by side: the component model's asynchronous functions, streams and futures.
    Concurrent,
}

/// The engines of a node: few guests need the costlier one.
pub(crate) struct Engines {
    pub(crate) sequential: Engine,
    pub(crate) concurrent: Engine,
}

impl Engines {
    /// Engines with a pool of `slots` instances each.
    ///
    /// # Errors
    /// When the machine cannot hold the pools.
    pub(crate) fn new(slots: u32, reset: InstanceMemoryReset) -> Result<Self, EngineError> {
        Ok(Self {
            sequential: engine(slots, reset, Calls::Sequential)?,
            concurrent: engine(slots, reset, Calls::Concurrent)?,
        })
    }
}

fn engine(slots: u32, reset: InstanceMemoryReset, calls: Calls) -> Result<Engine, EngineError> {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(slots)
        // A component is a handful of core instances: the program and its adapters.
        .total_core_instances(slots.saturating_mul(4))
        .total_memories(slots)
        .total_tables(slots.saturating_mul(4))
        .total_stacks(slots)
        .max_core_instances_per_component(200)
        .max_memories_per_component(8)
        .max_tables_per_component(64)
        .max_component_instance_size(4 << 20)
        .max_core_instance_size(4 << 20)
        .table_elements(TABLE_ELEMENTS)
        .max_memory_size(usize::try_from(RESERVATION_BYTES).expect("a 64-bit machine"))
        .table_keep_resident(64 << 10)
        .async_stack_keep_resident(64 << 10)
        .max_unused_warm_slots(slots.min(256));
    match reset {
        InstanceMemoryReset::DirtyPages => {
            pool.pagemap_scan(Enabled::Yes).linear_memory_keep_resident(KEEP_RESIDENT_BYTES);
        }
        // Without the kernel's help, keeping pages means zeroing all of them each time.
        InstanceMemoryReset::AllPages => {
            pool.pagemap_scan(Enabled::No).linear_memory_keep_resident(64 << 10);
        }
    }

    let mut config = Config::new();
    config
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool))
        .memory_reservation(RESERVATION_BYTES)
        .concurrency_support(calls == Calls::Concurrent)
        .wasm_component_model_async(calls == Calls::Concurrent)
        .epoch_interruption(true)
        .max_wasm_stack(WASM_STACK_BYTES)
        .async_stack_size(FIBER_STACK_BYTES)
        // Symbols are enough to read a trap; line tables would cost memory for every function.
        .wasm_backtrace_details(WasmBacktraceDetails::Disable);
    Engine::new(&config).map_err(|error| EngineError::Pool { slots, reason: format!("{error:#}") })
}

/// Says once per process which reset is in use.
pub(crate) fn announce(reset: InstanceMemoryReset) {
    static SAID: AtomicBool = AtomicBool::new(false);
    if !SAID.swap(true, Ordering::Relaxed) {
        match reset {
            InstanceMemoryReset::DirtyPages => tracing::info!("instance memory is reset by dirty pages"),
            InstanceMemoryReset::AllPages => tracing::warn!(
                "instance memory is reset as a whole, which costs more: the kernel has no PAGEMAP_SCAN (Linux 6.7)"
            ),
        }
    }
}
