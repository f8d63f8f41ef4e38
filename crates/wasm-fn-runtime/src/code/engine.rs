//! The engines: how guests are compiled, where their memory lies, and that they can be interrupted.

mod absent;

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use wasm_fn_memory::{Memories, MemoriesOptions, MemoryReset, Stacks};
use wasm_fn_pool::{PoolPlan, SlotCost};
use wasmtime::{
    CacheStore, Config, Engine, InstanceAllocationStrategy, MemoryCreator, Strategy, WasmBacktraceDetails,
};

use super::compiler::start_threads;

/// Address space of a memory slot: everything that 32-bit code can reach, so that bounds checks cost nothing.
const RESERVATION_BYTES: u64 = 4 << 30;

/// Guard after a slot, so that constant offsets need no check either.
const GUARD_BYTES: u64 = 32 << 20;

/// Most memory that a free slot keeps for its next guest: more than small guests touch, and less than a
/// greedy guest may leave behind.
const KEEP_BYTES_MAX: u64 = 4 << 20;

/// Deepest stack of a guest. Interpreters of JavaScript and Python need more than the default of half as
/// much.
const WASM_STACK_BYTES: usize = 1 << 20;

/// Stack of one fiber: that of the guest, and as much for host functions.
const FIBER_STACK_BYTES: usize = 2 << 20;

/// Mappings of a used slot: memory before, in and behind the image, a guard, a stack and its guard, and spare
/// ones for guests with a second memory.
const MAPS_PER_SLOT: u64 = 8;

/// Why the engines cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The system refuses to reserve what the pool needs.
    #[error("a pool of {slots} instances does not fit this machine, try fewer: {reason}")]
    Pool {
        /// Instances asked for.
        slots: u32,
        /// The error of the operating system.
        reason: String,
    },
    /// The engine takes guests that are not held apart.
    #[error("the engine takes guests with {0}, expected that it refuses them")]
    Feature(&'static str),
    /// There is no thread to interrupt guests.
    #[error("no thread to interrupt guests with: {0}")]
    Ticker(std::io::Error),
}

/// What holds guests apart, where there is a choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IsolationOptions {
    /// How the memory of an instance is reset for the next one. If the kernel cannot do that, the next safer
    /// way is taken.
    pub memory_reset: MemoryReset,
    /// One reset in this many is audited, on average; none if it is 0.
    pub audit_resets: u32,
    /// Whether the core modules of components are linked before they are compiled.
    pub link_components: bool,
}

impl IsolationOptions {
    /// The fastest, audited.
    pub const USUAL: Self =
        Self { memory_reset: MemoryReset::Counted, audit_resets: 10_000, link_components: true };
}

/// The resources that one slot takes from the machine.
pub fn slot_cost() -> SlotCost {
    SlotCost {
        address_bytes: RESERVATION_BYTES + GUARD_BYTES + FIBER_STACK_BYTES as u64,
        commit_bytes: FIBER_STACK_BYTES as u64,
        maps: MAPS_PER_SLOT,
        keep_bytes_max: KEEP_BYTES_MAX,
    }
}

/// How the calls of a guest may overlap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Calls {
    /// One after the other. Without tracking of tasks, calls into and out of a guest are cheaper.
    Sequential,
    /// Concurrently, with the asynchronous functions, streams and futures of the component model.
    Concurrent,
}

/// How code is made.
#[derive(Clone)]
pub(crate) enum Codegen {
    /// Optimised.
    Optimised,
    /// Optimised. Functions that were compiled before are found again. That costs time for those that were
    /// not.
    Incremental(Arc<dyn CacheStore>),
    /// In one pass: in a fifth of the time, and a few times slower.
    Baseline,
}

/// The engines of a node. Few guests need the more expensive one. Guests of all share the memories.
pub(crate) struct Engines {
    pub(crate) sequential: Engine,
    pub(crate) concurrent: Engine,
    /// For guests with sequential calls, compiled in one pass; `None` if there is no such compiler for this
    /// machine.
    pub(crate) baseline: Option<Engine>,
    pub(crate) memories: Arc<Memories>,
    pub(crate) stacks: Arc<Stacks>,
}

impl Engines {
    /// Engines for the pool `plan`.
    ///
    /// # Errors
    /// The system refuses to reserve what the pool needs.
    pub(crate) fn new(plan: &PoolPlan, isolation: IsolationOptions) -> Result<Self, EngineError> {
        let refused = |reason: String| EngineError::Pool { slots: plan.instances_max, reason };
        let addresses = |error: io::Error| refused(format!("no addresses for it: {error}"));
        let slots = plan.instances_max as usize;
        let bytes = |bytes: u64| usize::try_from(bytes).expect("a 64-bit machine");
        let memories = Memories::new(MemoriesOptions {
            slots,
            slot_bytes: bytes(RESERVATION_BYTES),
            guard_bytes: bytes(GUARD_BYTES),
            keep_bytes: bytes(plan.keep_bytes.min(KEEP_BYTES_MAX)),
            reset: isolation.memory_reset,
            audit_one_in: isolation.audit_resets,
        })
        .map_err(addresses)?;
        let stacks = Stacks::new(slots, FIBER_STACK_BYTES).map_err(addresses)?;
        let engine = |calls| {
            let engine = engine(memories.clone(), &stacks, calls, Codegen::Optimised);
            engine.map_err(|error| refused(format!("{error:#}")))
        };
        let (sequential, concurrent) = (engine(Calls::Sequential)?, engine(Calls::Concurrent)?);
        let baseline = self::engine(memories.clone(), &stacks, Calls::Sequential, Codegen::Baseline)
            .inspect_err(|error| tracing::debug!(%error, "no component is compiled in one pass"))
            .ok();
        start_threads();
        let all = [&sequential, &concurrent].into_iter().chain(&baseline);
        if let Some(feature) = all.into_iter().find_map(absent::found) {
            return Err(EngineError::Feature(feature));
        }
        Ok(Self { sequential, concurrent, baseline, memories, stacks })
    }

    /// An engine that only compiles, for the guests of [`sequential`](Self::sequential) or
    /// [`concurrent`](Self::concurrent).
    pub(crate) fn incremental(
        &self,
        calls: Calls,
        functions: Arc<dyn CacheStore>,
    ) -> wasmtime::Result<Engine> {
        engine(self.memories.clone(), &self.stacks, calls, Codegen::Incremental(functions))
    }
}

/// An engine whose guests get their memories from `memories`, and their stacks from `stacks`.
pub(super) fn engine(
    memories: Arc<dyn MemoryCreator>,
    stacks: &Arc<Stacks>,
    calls: Calls,
    codegen: Codegen,
) -> wasmtime::Result<Engine> {
    let mut config = Config::new();
    match codegen {
        Codegen::Optimised => {}
        Codegen::Incremental(functions) => drop(config.enable_incremental_compilation(functions)?),
        Codegen::Baseline => drop(config.strategy(Strategy::Winch)),
    }
    config
        .allocation_strategy(InstanceAllocationStrategy::OnDemand)
        .with_host_memory(memories)
        .with_host_stack(stacks.clone())
        // The initial content of a memory is there when it is made; otherwise the engine writes it.
        .memory_init_cow(false)
        .memory_reservation(RESERVATION_BYTES)
        .memory_guard_size(GUARD_BYTES)
        .concurrency_support(calls == Calls::Concurrent)
        .wasm_component_model_async(calls == Calls::Concurrent)
        .epoch_interruption(true)
        .max_wasm_stack(WASM_STACK_BYTES)
        .async_stack_size(FIBER_STACK_BYTES)
        // Symbols are enough to read a trap. Line tables would cost memory for every function.
        .wasm_backtrace_details(WasmBacktraceDetails::Disable);
    absent::switch_off(&mut config);
    Engine::new(&config)
}

/// Logs once per process which reset is in use, and whether that is the one that was `asked` for.
pub(crate) fn announce(asked: MemoryReset, reset: MemoryReset) {
    static SAID: AtomicBool = AtomicBool::new(false);
    if SAID.swap(true, Ordering::Relaxed) {
        return;
    }
    if asked == reset {
        tracing::info!(%reset, "memory reset");
    } else {
        tracing::warn!(
            %reset, %asked,
            "memory reset costs more than it could: this kernel has no PAGEMAP_SCAN (Linux 6.7), or does not \
             count faults"
        );
    }
}
