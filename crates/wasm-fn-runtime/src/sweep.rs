//! Gives back the memory that free slots keep after a burst.
//!
//! The engines' pools never let go of what a slot once had in memory, so that its next guest finds it there; after a
//! burst it waits for guests that do not come. Nobody but the pool knows which slots are free, so the sweep takes
//! them as a guest does: it starts instances, which gives it memories, tables and stacks of its own, gives their pages
//! back to the system, and drops the instances. Every free slot was reset before, so what the next guest finds is the
//! same: zeros.
//!
//! The pools give out the slots that were free longest, and keep lists by core, in which a thread always looks at
//! the same one first. So a few slots at a time are enough to come past all, from a thread for each list.

mod tables;

use std::{
    io,
    ops::Range,
    path::Path,
    sync::{Arc, OnceLock},
    thread,
};

use futures_util::FutureExt as _;
use rustix::mm::{Advice, madvise};
use wasm_fn_pool::{Slots, StartPermit};
use wasmtime::{Caller, Engine, Func, Instance, Module, Store};

use crate::artifacts::{Artifacts, Code};
use crate::engine::{CORE_INSTANCES_PER_SLOT, Engines, FIBER_STACK_BYTES, RESERVATION_BYTES, TABLE_BYTES};
use crate::maps::{self, Mapping, mappings};
use tables::Tables;

/// Slots that are taken at once.
const BATCH: u32 = 64;

/// Only while this part of the node's slots is free besides, so that no request finds none.
const SPARED: usize = 4;

/// Epochs until an instance of the sweep would be interrupted: it runs no code of its own.
const NEVER: u64 = 1 << 40;

/// A core module in its binary format, with a host function that it starts, a function `f` that does nothing, four
/// tables without elements, and a memory `m` without pages:
///
/// ```text
/// (module (import "" "" (func)) (func (export "f")) (table (export "0") 0 funcref) (table (export "1") 0 funcref)
///   (table (export "2") 0 funcref) (table (export "3") 0 funcref) (memory (export "m") 0) (start 0))
/// ```
///
/// What it starts has a stack of the pool to run on and nothing else; `f` leads to its tables.
const MODULE: &[u8] = &[
    0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00, // magic, version
    0x01, 0x04, 0x01, 0x60, 0x00, 0x00, // types: one, no parameters, no results
    0x02, 0x05, 0x01, 0x00, 0x00, 0x00, 0x00, // imports: one, without names, a function of type 0
    0x03, 0x02, 0x01, 0x00, // functions: one, of type 0
    0x04, 0x0d, 0x04, // tables: four, of functions, at least 0 elements
    0x70, 0x00, 0x00, 0x70, 0x00, 0x00, 0x70, 0x00, 0x00, 0x70, 0x00, 0x00, //
    0x05, 0x03, 0x01, 0x00, 0x00, // memories: one, at least 0 pages
    0x07, 0x19, 0x06, // exports: six
    0x01, b'f', 0x00, 0x01, // function 1
    0x01, b'0', 0x01, 0x00, 0x01, b'1', 0x01, 0x01, 0x01, b'2', 0x01, 0x02, 0x01, b'3', 0x01,
    0x03, // tables
    0x01, b'm', 0x02, 0x00, // memory 0
    0x08, 0x01, 0x00, // start: function 0
    0x0a, 0x04, 0x01, 0x02, 0x00, 0x0b, // code: one body, empty
];

/// The names of its tables: one for each core instance of a slot.
const TABLES: [&str; CORE_INSTANCES_PER_SLOT as usize] = ["0", "1", "2", "3"];

/// Sweeps the pools of a node's engines.
pub(crate) struct Sweeper {
    pools: [Swept; 2],
}

/// An engine, and the code of [`MODULE`] for it. It is kept on disk: what a compiler leaves behind in memory is more
/// than what many slots keep.
struct Swept {
    engine: Engine,
    artifacts: Artifacts,
    code: OnceLock<Code>,
}

impl Sweeper {
    /// Sweeps nothing yet. Its code is kept among the artefacts in `data_dir`.
    pub(crate) fn new(engines: &Engines, data_dir: &Path) -> io::Result<Self> {
        let swept = |engine: &Engine| -> io::Result<Swept> {
            let artifacts = Artifacts::open(data_dir, engine)?;
            Ok(Swept { engine: engine.clone(), artifacts, code: OnceLock::new() })
        };
        Ok(Self { pools: [swept(&engines.sequential)?, swept(&engines.concurrent)?] })
    }

    /// Compiles what it needs, unless that was kept. To be called when the compiler is in memory for a guest anyway.
    ///
    /// # Errors
    /// When the system refuses memory.
    pub(crate) fn compile(&self) -> io::Result<()> {
        self.pools.iter().try_for_each(|pool| pool.code().map(drop))
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
            let tables = pool.learn_tables(slots)?;
            for _ in 0..lists {
                // A new thread looks at another list than the one before.
                swept += thread::scope(|scope| {
                    let list = thread::Builder::new().name("sweep".to_owned());
                    let list =
                        list.spawn_scoped(scope, || pool.sweep_list(free, slots, &stacks, tables.as_ref()))?;
                    list.join().unwrap_or_else(|_| Err(io::Error::other("the sweep's thread ended early")))
                })?;
            }
        }
        Ok(swept)
    }
}

impl Swept {
    fn code(&self) -> io::Result<&Code> {
        if let Some(code) = self.code.get() {
            return Ok(code);
        }
        let code = self.artifacts.own(&self.engine, MODULE)?;
        Ok(self.code.get_or_init(|| code))
    }

    /// The module, different from all before: of one that had a slot, the pool would give the same slot again.
    fn module(&self) -> io::Result<Module> {
        self.code()?.module(&self.engine).map_err(io::Error::other)
    }

    /// Where instances of the module have their tables; `None` when no slot is free to learn it from, or when the
    /// engine has them elsewhere: then they keep their pages.
    fn learn_tables(&self, slots: &Arc<Slots>) -> io::Result<Option<Tables>> {
        let Some(permit) = slots.try_take() else { return Ok(None) };
        let mut broom = Broom::new(&self.module()?, permit)?;
        let tables = broom.learn_tables();
        Ok(tables.inspect_err(|error| tracing::warn!(%error, "free tables keep their memory")).ok())
    }

    /// Takes `count` slots after each other, those of this thread's list first.
    fn sweep_list(
        &self,
        count: u32,
        slots: &Arc<Slots>,
        stacks: &Stacks,
        tables: Option<&Tables>,
    ) -> io::Result<u32> {
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
            batch.iter_mut().try_for_each(|broom| broom.sweep(stacks, tables))?;
        }
        Ok(swept)
    }
}

/// An instance that holds a slot.
struct Broom {
    /// Holds an address in the stack that the instance was started on.
    store: Store<usize>,
    instance: Instance,
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
        Ok(Self { store, instance, _slot: slot })
    }

    fn learn_tables(&mut self) -> io::Result<Tables> {
        let tables = TABLES.map(|name| self.instance.get_table(&mut self.store, name));
        let tables: Vec<_> = tables.into_iter().flatten().collect();
        let function = self.function()?;
        Tables::learn(&mut self.store, function, &tables)
    }

    fn function(&mut self) -> io::Result<Func> {
        let function = self.instance.get_func(&mut self.store, "f");
        function.ok_or_else(|| io::Error::other("an instance of the sweep has no function"))
    }

    fn sweep(&mut self, stacks: &Stacks, tables: Option<&Tables>) -> io::Result<()> {
        let memory = self.instance.get_memory(&mut self.store, "m");
        let memory = memory.ok_or_else(|| io::Error::other("an instance of the sweep has no memory"))?;
        let memory = memory.data_ptr(&self.store).addr();
        let reserved = usize::try_from(RESERVATION_BYTES).unwrap_or(0);
        give_back(&(memory..memory + reserved))?;
        if let Some(tables) = tables {
            let function = self.function()?;
            for begin in tables.of(&mut self.store, function)? {
                give_back(&(begin..begin + TABLE_BYTES))?;
            }
        }
        // The store keeps the stack for its next call, which does not come.
        stacks.around(*self.store.data()).map_or(Ok(()), give_back)
    }
}

/// Lets the system have the pages of `range`, which are zero from then on.
fn give_back(range: &Range<usize>) -> io::Result<()> {
    let start = std::ptr::with_exposed_provenance_mut(range.start);
    // SAFETY: the range belongs to an instance of the sweep: what the pool reserves for its memory or one of its tables,
    // which have no size, so that nothing refers into them, or the stack that it has finished to run on. All of it is
    // anonymous.
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
        let maps = maps::read()?;
        let stacks = mappings(&maps).filter(may_be_stack);
        Ok(Self { ranges: stacks.map(|mapping| mapping.range).collect() })
    }

    fn around(&self, address: usize) -> Option<&Range<usize>> {
        let after = self.ranges.partition_point(|range| range.start <= address);
        self.ranges[..after].last().filter(|range| range.contains(&address))
    }
}

/// Whether a mapping may be a stack: anonymous, and of that size.
fn may_be_stack(mapping: &Mapping<'_>) -> bool {
    mapping.is_private_data && mapping.inode == 0 && mapping.range.len() == FIBER_STACK_BYTES
}

#[cfg(test)]
pub(crate) mod tests;
