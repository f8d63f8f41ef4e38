//! Gives back the memory that free slots keep after a burst.
//!
//! The engines' pools never let go of what a slot once had in memory, so that its next guest finds it there; after a
//! burst it waits for guests that do not come. Nobody but the pool knows which slots are free, so the sweep takes
//! them as a guest does: it starts instances, which gives it memories and stacks of its own, gives their pages back
//! to the system, and drops the instances. Every free slot was reset before, so what the next guest finds is the
//! same: zeros.
//!
//! The pools give out the slots that were free longest, and keep lists by core, in which a thread always looks at
//! the same one first. So a few slots at a time are enough to come past all, from a thread for each list.

use std::{
    fs, io,
    ops::Range,
    sync::{Arc, OnceLock},
    thread,
};

use futures_util::FutureExt as _;
use rustix::mm::{Advice, madvise};
use wasm_fn_pool::{Slots, StartPermit};
use wasmtime::{Caller, Engine, Func, Instance, Memory, Module, Store};

use crate::engine::{Engines, FIBER_STACK_BYTES, RESERVATION_BYTES};

/// Slots that are taken at once.
const BATCH: u32 = 64;

/// Only while this part of the node's slots is free besides, so that no request finds none.
const SPARED: usize = 4;

/// Epochs until an instance of the sweep would be interrupted: it runs no code of its own.
const NEVER: u64 = 1 << 40;

/// A core module in its binary format: `(module (import "" "" (func)) (memory (export "m") 0) (start 0))`.
///
/// Its start is a host function, which has a stack of the pool to run on and nothing else.
const MODULE: &[u8] = &[
    0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00, // magic, version
    0x01, 0x04, 0x01, 0x60, 0x00, 0x00, // types: one, no parameters, no results
    0x02, 0x05, 0x01, 0x00, 0x00, 0x00, 0x00, // imports: one, without names, a function of type 0
    0x05, 0x03, 0x01, 0x00, 0x00, // memories: one, at least 0 pages
    0x07, 0x05, 0x01, 0x01, b'm', 0x02, 0x00, // exports: one, `m`, memory 0
    0x08, 0x01, 0x00, // start: function 0
];

/// Sweeps the pools of a node's engines.
pub(crate) struct Sweeper {
    pools: [Swept; 2],
}

/// An engine, and the code of [`MODULE`] for it: made once, for what a compiler leaves behind is more than what many
/// slots keep.
struct Swept {
    engine: Engine,
    code: OnceLock<Vec<u8>>,
}

impl Sweeper {
    pub(crate) fn new(engines: &Engines) -> Self {
        let pools = [&engines.sequential, &engines.concurrent];
        Self { pools: pools.map(|engine| Swept { engine: engine.clone(), code: OnceLock::new() }) }
    }

    /// Gives back what free slots keep; their number. Takes some milliseconds for a thousand.
    ///
    /// # Errors
    /// When the system refuses something, or the engine: then the rest keeps what it has.
    pub(crate) fn sweep(&self, slots: &Arc<Slots>) -> io::Result<u32> {
        let stacks = Stacks::find()?;
        let lists = thread::available_parallelism()?.get();
        let mut swept = 0;
        for pool in &self.pools {
            let free = pool.engine.pooling_allocator_metrics().map_or(0, |pool| pool.unused_warm_memories());
            if free == 0 {
                continue;
            }
            pool.compile()?;
            for _ in 0..lists {
                // A new thread looks at another list than the one before.
                swept += thread::scope(|scope| {
                    let list = thread::Builder::new().name("sweep".to_owned());
                    let list = list.spawn_scoped(scope, || pool.sweep_list(free, slots, &stacks))?;
                    list.join().unwrap_or_else(|_| Err(io::Error::other("the sweep's thread ended early")))
                })?;
            }
        }
        Ok(swept)
    }
}

impl Swept {
    fn compile(&self) -> io::Result<()> {
        if self.code.get().is_none() {
            let code = self.engine.precompile_module(MODULE).map_err(io::Error::other)?;
            self.code.get_or_init(|| code);
        }
        Ok(())
    }

    /// The module, different from all before: of one that had a slot, the pool would give the same slot again.
    fn module(&self) -> io::Result<Module> {
        let code = self.code.get().map_or(&[][..], Vec::as_slice);
        // SAFETY: the code is what this engine made of `MODULE`.
        #[expect(unsafe_code, reason = "native code has no safe loader")]
        let module = unsafe { Module::deserialize(&self.engine, code) };
        module.map_err(io::Error::other)
    }

    /// Takes `count` slots after each other, those of this thread's list first.
    fn sweep_list(&self, count: u32, slots: &Arc<Slots>, stacks: &Stacks) -> io::Result<u32> {
        let mut swept = 0;
        while swept < count {
            let module = self.module()?;
            let mut batch = Vec::new();
            for _ in 0..BATCH.min(count - swept) {
                let spared = slots.max() / SPARED;
                let permit = if slots.used() + spared < slots.max() { slots.try_take() } else { None };
                let Some(permit) = permit else { break };
                batch.push(Broom::new(&module, permit)?);
                swept += 1;
            }
            if batch.is_empty() {
                break;
            }
            batch.iter().try_for_each(|broom| broom.sweep(stacks))?;
        }
        Ok(swept)
    }
}

/// An instance that holds a slot.
struct Broom {
    /// Holds an address in the stack that the instance was started on.
    store: Store<usize>,
    memory: Memory,
    _slot: StartPermit,
}

impl Broom {
    fn new(module: &Module, slot: StartPermit) -> io::Result<Self> {
        let mut store = Store::new(module.engine(), 0);
        store.set_epoch_deadline(NEVER);
        let start = Func::wrap(&mut store, |mut caller: Caller<'_, usize>| {
            let here = std::hint::black_box(0_u8);
            *caller.data_mut() = (&raw const here).addr();
        });
        let started = Instance::new_async(&mut store, module, &[start.into()]).now_or_never();
        let instance = started.ok_or_else(|| io::Error::other("an instance of the sweep waits"))?;
        let instance = instance.map_err(io::Error::other)?;
        let memory = instance.get_memory(&mut store, "m");
        let memory = memory.ok_or_else(|| io::Error::other("an instance of the sweep has no memory"))?;
        Ok(Self { store, memory, _slot: slot })
    }

    fn sweep(&self, stacks: &Stacks) -> io::Result<()> {
        let memory = self.memory.data_ptr(&self.store).addr();
        let reserved = usize::try_from(RESERVATION_BYTES).unwrap_or(0);
        give_back(&(memory..memory + reserved))?;
        // The store keeps the stack for its next call, which does not come.
        stacks.around(*self.store.data()).map_or(Ok(()), give_back)
    }
}

/// Lets the system have the pages of `range`, which are zero from then on.
fn give_back(range: &Range<usize>) -> io::Result<()> {
    let start = std::ptr::with_exposed_provenance_mut(range.start);
    // SAFETY: the range belongs to an instance of the sweep: either what the pool reserves for its memory, which has
    // no size, so that nothing refers into it, or the stack that it has finished to run on. Both are anonymous.
    #[expect(unsafe_code, reason = "the engine has no call for it")]
    unsafe {
        madvise(start, range.len(), Advice::LinuxDontNeed)?;
    }
    Ok(())
}

/// Where this process may have stacks of the pool: they lie between pages that nobody may touch.
struct Stacks {
    ranges: Vec<Range<usize>>,
}

impl Stacks {
    fn find() -> io::Result<Self> {
        let maps = fs::read_to_string("/proc/self/maps")?;
        Ok(Self { ranges: maps.lines().filter_map(stack).collect() })
    }

    fn around(&self, address: usize) -> Option<&Range<usize>> {
        let after = self.ranges.partition_point(|range| range.start <= address);
        self.ranges[..after].last().filter(|range| range.contains(&address))
    }
}

/// The range of a line of `maps`, when it may be a stack: anonymous, and of that size.
fn stack(line: &str) -> Option<Range<usize>> {
    let mut words = line.split_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let address = |hex| usize::from_str_radix(hex, 16).ok();
    let range = address(start)?..address(end)?;
    let anonymous = words.next()? == "rw-p" && words.nth(2)? == "0";
    (anonymous && range.len() == FIBER_STACK_BYTES).then_some(range)
}

#[cfg(test)]
mod tests;
