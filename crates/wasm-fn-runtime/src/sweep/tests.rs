//! What a sweep gives back, and what it leaves alone.

use std::{fs::File, os::unix::fs::FileExt as _};

use wasm_fn_pool::PoolPlan;
use wasmtime::{Memory, MemoryType};

use super::*;
use crate::engine::{InstanceMemoryReset, slot_cost};

const SLOTS: u32 = 200;

/// `(module (memory (export "m") 1))`
const GUEST: &[u8] = b"\0asm\x01\0\0\0\x05\x03\x01\0\x01\x07\x05\x01\x01m\x02\0";

const PAGE: usize = 4096;

const GUEST_PAGES: usize = (64 << 10) / PAGE;

/// Those of the few elements that a table has here.
const TABLE_PAGES: usize = 1;

pub(crate) fn engines() -> Engines {
    let plan = PoolPlan {
        instances_max: SLOTS,
        running_max: SLOTS,
        memory_max_bytes: 1 << 30,
        keep_bytes: 1 << 20,
        address_bytes: slot_cost().address_bytes * u64::from(SLOTS),
    };
    Engines::new(&plan, InstanceMemoryReset::probe()).unwrap()
}

/// A guest that has written `byte` into all of its memory, and where that is.
fn guest(module: &Module, byte: u8) -> (Store<()>, Memory, usize) {
    let (mut store, memory, address) = guest_without_writing(module);
    memory.data_mut(&mut store).fill(byte);
    (store, memory, address)
}

/// A guest's memory `m`, and where that is.
pub(crate) fn guest_without_writing(module: &Module) -> (Store<()>, Memory, usize) {
    let mut store = Store::new(module.engine(), ());
    let instance = Instance::new_async(&mut store, module, &[]).now_or_never().unwrap().unwrap();
    let memory = instance.get_memory(&mut store, "m").unwrap();
    let address = memory.data_ptr(&store).addr();
    (store, memory, address)
}

/// How many of `pages` at `address` are in memory.
pub(crate) fn resident(address: usize, pages: usize) -> usize {
    let page_map = File::open("/proc/self/pagemap").unwrap();
    let is_present = |page: usize| {
        let mut entry = [0; 8];
        page_map.read_exact_at(&mut entry, ((address / PAGE + page) * 8) as u64).unwrap();
        u64::from_ne_bytes(entry) >> 63 == 1
    };
    (0..pages).filter(|&page| is_present(page)).count()
}

#[test]
fn free_slots_are_emptied_and_live_ones_are_not() {
    let engines = engines();
    let slots = Arc::new(Slots::new(SLOTS as usize));
    let module = Module::new(&engines.sequential, GUEST).unwrap();
    let _permits: Vec<_> = (0..20).map(|_| slots.try_take().unwrap()).collect();
    let mut live: Vec<_> = (0..20).map(|_| guest(&module, 7)).collect();
    let burst: Vec<_> = (0..100).map(|_| guest(&module, 8)).collect();
    let free: Vec<usize> = burst.iter().map(|&(_, _, address)| address).collect();
    drop(burst);
    assert!(
        free.iter().all(|&address| resident(address, GUEST_PAGES) == GUEST_PAGES),
        "free slots keep what they had"
    );

    let dir = tempfile::tempdir().unwrap();
    let sweeper = Sweeper::new(&engines, dir.path()).unwrap();
    let kept = || free.iter().map(|&address| resident(address, GUEST_PAGES)).sum::<usize>();
    // Threads that others start meanwhile look at a list in a sweep's place, so one sweep may miss it.
    let mut sweeps = 0;
    while kept() > 0 && sweeps < 50 {
        let swept = sweeper.sweep(&slots).unwrap();
        assert!(swept >= 100, "{swept} swept");
        sweeps += 1;
    }

    assert_eq!(kept(), 0, "after {sweeps} sweeps");
    assert_eq!(slots.used(), 20);
    for (store, memory, _) in &mut live {
        assert!(memory.data(&*store).iter().all(|&byte| byte == 7));
    }
    let (store, memory, _) = guest(&module, 0);
    assert_eq!(memory.ty(&store), MemoryType::new(1, None));
}

#[test]
fn slots_are_spared_for_requests() {
    let engines = engines();
    let slots = Arc::new(Slots::new(SLOTS as usize));
    let module = Module::new(&engines.concurrent, GUEST).unwrap();
    drop((0..150).map(|_| guest(&module, 8)).collect::<Vec<_>>());
    let _permits: Vec<_> = (0..150).map(|_| slots.try_take().unwrap()).collect();
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(Sweeper::new(&engines, dir.path()).unwrap().sweep(&slots).unwrap(), 0);
}

#[test]
fn stack_of_an_instance_is_found_whole() {
    let engines = engines();
    let slots = Arc::new(Slots::new(1));
    let module = Module::new(&engines.sequential, MODULE).unwrap();
    let broom = Broom::new(&module, slots.try_take().unwrap()).unwrap();
    let stacks = Stacks::find().unwrap();
    let stack = stacks.around(*broom.store.data()).unwrap();
    assert_eq!(stack.len(), FIBER_STACK_BYTES);
    assert!(stacks.around(stack.end).is_none_or(|other| other != stack));
    assert!(stacks.around(0).is_none());
}

#[test]
fn only_anonymous_memory_of_a_stacks_size_may_be_a_stack() {
    let may_be = |line| mappings(line).any(|mapping| may_be_stack(&mapping));
    assert!(may_be("7f0000000000-7f0000200000 rw-p 00000000 00:00 0 "));
    assert!(!may_be("7f0000000000-7f0000200000 ---p 00000000 00:00 0 "));
    assert!(!may_be("7f0000000000-7f0000200000 rw-p 00000000 fe:00 326279 /usr/lib/libc.so.6"));
    assert!(!may_be("7f0000000000-7f0000201000 rw-p 00000000 00:00 0 "));
}

#[test]
fn tables_of_free_slots_are_emptied_and_live_ones_are_not() {
    let engines = engines();
    let slots = Arc::new(Slots::new(SLOTS as usize));
    let module = Module::new(&engines.sequential, MODULE).unwrap();
    let _permit = slots.try_take().unwrap();
    let brooms = |count| (0..count).map(|_| Broom::new(&module, slots.try_take().unwrap()).unwrap());
    let tables = brooms(1).next().unwrap().learn_tables().unwrap();
    // What a guest does, and the sweep's instances do not: its tables have an element.
    let fill = |mut broom: Broom| {
        let function = broom.function().unwrap();
        for name in TABLES {
            let table = broom.instance.get_table(&mut broom.store, name).unwrap();
            table.grow(&mut broom.store, 1, function.into()).unwrap();
        }
        let begins = tables.of(&mut broom.store, function).unwrap();
        assert_eq!(begins.len(), TABLES.len());
        (broom, begins)
    };
    let live: Vec<_> = brooms(10).map(fill).collect();
    // All at once: one after the other they would have the same slot.
    let burst: Vec<_> = brooms(50).map(fill).collect();
    let free: Vec<_> = burst.iter().flat_map(|(_, begins)| begins).copied().collect();
    drop(burst);
    assert!(free.iter().all(|&begin| resident(begin, TABLE_PAGES) > 0), "free slots keep what they had");

    let dir = tempfile::tempdir().unwrap();
    let sweeper = Sweeper::new(&engines, dir.path()).unwrap();
    let kept = || free.iter().filter(|&&begin| resident(begin, TABLE_PAGES) > 0).count();
    let mut sweeps = 0;
    // The trial has four tables of its own.
    while kept() > TABLES.len() && sweeps < 50 {
        let swept = sweeper.sweep(&slots).unwrap();
        assert!(swept >= 50, "{swept} swept");
        sweeps += 1;
    }

    assert!(kept() <= TABLES.len(), "{} kept after {sweeps} sweeps", kept());
    for (mut broom, begins) in live {
        assert!(begins.iter().all(|&begin| resident(begin, TABLE_PAGES) > 0));
        for name in TABLES {
            let table = broom.instance.get_table(&mut broom.store, name).unwrap();
            assert!(table.get(&mut broom.store, 0).unwrap().unwrap_func().is_some());
        }
    }
}

#[test]
fn code_of_the_sweep_is_compiled_once_for_a_data_directory() {
    let (engines, dir) = (engines(), tempfile::tempdir().unwrap());
    let files = || {
        let entries = std::fs::read_dir(dir.path().join("artifacts")).unwrap();
        let mut files: Vec<_> = entries
            .map(|entry| entry.unwrap())
            .map(|entry| (entry.path(), entry.metadata().unwrap().modified().unwrap()))
            .collect();
        files.sort();
        files
    };
    Sweeper::new(&engines, dir.path()).unwrap().compile().unwrap();
    let kept = files();
    // Code and its hash, for each engine.
    assert_eq!(kept.len(), 4, "{kept:?}");
    Sweeper::new(&engines, dir.path()).unwrap().compile().unwrap();
    assert_eq!(files(), kept, "nothing was written again");
}
