//! The engine: how guests are compiled, where their memory lives, that they can be interrupted.

use std::sync::atomic::{AtomicBool, Ordering};

use wasm_fn_pool::{PoolPlan, SlotCost};
use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, WasmBacktraceDetails,
};

/// Address space a memory slot reserves: everything 32-bit code can reach, so that bounds checks
/// cost nothing.
pub(crate) const RESERVATION_BYTES: u64 = 4 << 30;

/// Addresses after a slot that nobody may touch, so that constant offsets need no check either.
const GUARD_BYTES: u64 = 32 << 20;

/// Most memory that a free slot keeps mapped for its next guest, zeroed. Above what small guests
/// touch, below what a greedy guest could leave behind.
const KEEP_RESIDENT_BYTES_MAX: usize = 4 << 20;

/// The same where keeping pages means zeroing all of them each time.
const KEEP_RESIDENT_BLINDLY_BYTES: usize = 64 << 10;

/// Deepest guest stack; JavaScript and Python interpreters need more than the usual half.
const WASM_STACK_BYTES: usize = 1 << 20;

/// Stack of one fiber: the guest's, and as much for the host functions it calls.
pub(crate) const FIBER_STACK_BYTES: usize = 2 << 20;

/// Elements of one table.
const TABLE_ELEMENTS: usize = 100_000;

/// Addresses that a table slot has at least.
pub(crate) const TABLE_BYTES: usize = TABLE_ELEMENTS * size_of::<usize>();

/// A component is a handful of core instances: the program and its adapters. Each may have a table.
pub(crate) const CORE_INSTANCES_PER_SLOT: u32 = 4;

/// Mappings of a used slot: a memory before, in and after its image and what it may not touch, a stack and
/// its guard, and as many to spare for guests with a second memory.
const MAPS_PER_SLOT: u64 = 8;

/// A guest lives in one of them, and each must be able to hold all guests.
const ENGINES: u64 = 2;

/// Why no engine could be made.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The system refused what the plan of the pool reserves.
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
    pub fn probe() -> Self {
        if PoolingAllocationConfig::is_pagemap_scan_available() { Self::DirtyPages } else { Self::AllPages }
    }
}

/// What one slot takes from the machine: each engine has it.
pub fn slot_cost() -> SlotCost {
    let tables_bytes = TABLE_BYTES as u64 * u64::from(CORE_INSTANCES_PER_SLOT);
    let commit_bytes = FIBER_STACK_BYTES as u64 + tables_bytes;
    SlotCost {
        address_bytes: ENGINES * (RESERVATION_BYTES + GUARD_BYTES + commit_bytes),
        commit_bytes: ENGINES * commit_bytes,
        maps: ENGINES * MAPS_PER_SLOT,
        keep_bytes_max: KEEP_RESIDENT_BYTES_MAX as u64,
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
    /// Engines with the pool that was planned, each.
    ///
    /// # Errors
    /// When the system refuses it.
    pub(crate) fn new(plan: &PoolPlan, reset: InstanceMemoryReset) -> Result<Self, EngineError> {
        Ok(Self {
            sequential: engine(plan, reset, Calls::Sequential)?,
            concurrent: engine(plan, reset, Calls::Concurrent)?,
        })
    }
}

fn engine(plan: &PoolPlan, reset: InstanceMemoryReset, calls: Calls) -> Result<Engine, EngineError> {
    let slots = plan.instances_max;
    let keep_bytes = usize::try_from(plan.keep_bytes).unwrap_or(usize::MAX).min(KEEP_RESIDENT_BYTES_MAX);
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(slots)
        .total_core_instances(slots.saturating_mul(CORE_INSTANCES_PER_SLOT))
        .total_memories(slots)
        .total_tables(slots.saturating_mul(CORE_INSTANCES_PER_SLOT))
        .total_stacks(slots)
        .max_core_instances_per_component(200)
        .max_memories_per_component(8)
        .max_tables_per_component(64)
        .max_tables_per_module(CORE_INSTANCES_PER_SLOT)
        .max_component_instance_size(4 << 20)
        .max_core_instance_size(4 << 20)
        .table_elements(TABLE_ELEMENTS)
        .max_memory_size(usize::try_from(RESERVATION_BYTES).expect("a 64-bit machine"))
        .table_keep_resident(64 << 10)
        .async_stack_keep_resident(64 << 10)
        .max_unused_warm_slots(slots.min(256));
    match reset {
        InstanceMemoryReset::DirtyPages => {
            pool.pagemap_scan(Enabled::Yes).linear_memory_keep_resident(keep_bytes);
        }
        InstanceMemoryReset::AllPages => {
            let keep_bytes = keep_bytes.min(KEEP_RESIDENT_BLINDLY_BYTES);
            pool.pagemap_scan(Enabled::No).linear_memory_keep_resident(keep_bytes);
        }
    }

    let mut config = Config::new();
    config
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool))
        .memory_reservation(RESERVATION_BYTES)
        .memory_guard_size(GUARD_BYTES)
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
