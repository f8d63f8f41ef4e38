//! Guests that attack what resets memories, each followed by a witness: a guest that reads every byte that it
//! can, and finds what its image has, or the test fails. Each attack runs in every reset, and every reset is
//! audited. `WASM_FN_ATTACKS` says how often each runs.

mod machine;
mod stacks;
mod starved;

use std::{
    future::{Future, pending},
    task::{Context, Waker},
};

use wasmtime::{Caller, Extern, Linker};

use super::*;
use crate::{Isolation, Stacks, restore_batched};

/// How often each attack runs unless the environment says it.
const RUNS: usize = 30;

/// Pages that a free slot keeps at most here.
const KEPT: usize = 1024;

/// How often each attack runs.
fn runs() -> usize {
    std::env::var("WASM_FN_ATTACKS").ok().and_then(|runs| runs.parse().ok()).unwrap_or(RUNS)
}

/// A node whose memories are reset in this way, and all audited.
fn audited(slots: usize, reset: MemoryReset) -> Node {
    node_of(MemoriesOptions { slots, keep_bytes: KEPT * PAGE, reset, audit_one_in: 1, ..OPTIONS })
}

/// Runs `attack` against a witness with the same image, in every reset.
fn attack(slots: usize, attack: impl Fn(&Node, &Arc<Image>, &mut Numbers)) {
    for reset in RESETS {
        let node = audited(slots, reset);
        let (image, mut numbers) = (node.image(3), Numbers(0x5eed));
        for _ in 0..runs() {
            attack(&node, &image, &mut numbers);
            // A witness in each place.
            let mut witnesses: Vec<_> = (0..slots).map(|_| node.guest(&image).unwrap()).collect();
            witnesses.iter_mut().for_each(|witness| witness.check(Some(3)));
        }
        let Isolation { reset: now, faults, .. } = node.memories.isolation();
        assert_eq!((now, faults), (reset, 0));
    }
}

/// Pages of 64 KiB that a guest grows by.
fn grow(guest: &mut Guest, pages: usize) {
    guest.memory.grow(&mut guest.store, pages as u64).unwrap();
}

#[test]
fn one_that_grows_and_writes_the_last_page_and_then_a_smaller_one() {
    attack(1, |node, image, numbers| {
        for pages in [32, 1 + numbers.below(8), 0] {
            let mut guest = node.guest(image).unwrap();
            grow(&mut guest, pages);
            let bytes = guest.memory.data_size(&guest.store);
            guest.write(bytes - 1);
        }
    });
}

#[test]
fn one_that_writes_more_pages_than_are_kept_and_then_a_quiet_one() {
    attack(1, |node, image, numbers| {
        let mut guest = node.guest(image).unwrap();
        grow(&mut guest, 130);
        let bytes = guest.memory.data_size(&guest.store);
        // Every other page, and one more than are kept.
        (0..=KEPT).for_each(|page| guest.write((2 * page * PAGE + numbers.below(PAGE)) % bytes));
        drop(guest);
        drop(node.guest(image).unwrap());
    });
}

#[test]
fn two_images_and_two_sizes_by_turns() {
    attack(2, |node, image, numbers| {
        let (blank, other) = (Image::blank(&node.memories), node.image(9));
        for image in [image, &blank, image, &other] {
            let mut guest = node.guest(image).unwrap();
            grow(&mut guest, numbers.below(16));
            (0..4).for_each(|_| {
                let bytes = guest.memory.data_size(&guest.store);
                guest.write(numbers.below(bytes));
            });
        }
    });
}

#[test]
fn one_with_two_memories_of_different_sizes() {
    const TWO: &str = r#"(module (memory (export "m") 3) (memory (export "n") 40)
        (func (export "read") (param i32) (result i32) (i32.load8_u (local.get 0))))"#;
    attack(2, |node, image, numbers| {
        let module = Module::new(node.module.engine(), wat::parse_str(TWO).unwrap()).unwrap();
        let mut store = Store::new(module.engine(), ());
        let instance = image.during(|| Instance::new(&mut store, &module, &[])).unwrap();
        for name in ["m", "n"] {
            let memory = instance.get_memory(&mut store, name).unwrap();
            let _ = memory.grow(&mut store, numbers.below(8) as u64);
            let data = memory.data_mut(&mut store);
            let last = data.len() - 1;
            data[last] = 1;
            data[numbers.below(last)] = 1;
        }
    });
}

#[test]
fn one_that_writes_a_page_on_each_thread_that_it_is_moved_to() {
    attack(1, |node, image, numbers| {
        let mut guest = node.guest(image).unwrap();
        for _ in 0..3 {
            let page = numbers.below(BYTES / PAGE);
            guest = thread::scope(|scope| {
                let elsewhere = scope.spawn(move || {
                    let _noted = guest.whereabouts.arrive();
                    guest.write(page * PAGE);
                    guest
                });
                elsewhere.join().unwrap()
            });
            let _noted = guest.whereabouts.arrive();
            guest.write(numbers.below(BYTES));
        }
    });
}

/// Writes to the guest's memory, and never returns.
fn wait<'a>(mut caller: Caller<'a, usize>, (): ()) -> Box<dyn Future<Output = ()> + Send + 'a> {
    let memory = caller.get_export("m").and_then(Extern::into_memory).unwrap();
    let at = *caller.data();
    memory.data_mut(&mut caller)[at] = 1;
    Box::new(pending())
}

#[test]
fn one_that_is_cancelled_in_mid_call_and_dropped_on_another_thread() {
    const WAITING: &str = r#"(module (import "" "wait" (func $wait)) (memory (export "m") 3)
        (func (export "run") (param i32)
            (i32.store8 (local.get 0) (i32.const 1)) (call $wait) unreachable))"#;
    let stacks = Stacks::new(4, 2 << 20).unwrap();
    attack(1, |node, image, numbers| {
        let mut config = config(&node.memories, SLOT_BYTES);
        config.with_host_stack(stacks.clone());
        let engine = Engine::new(&config).unwrap();
        let module = Module::new(&engine, wat::parse_str(WAITING).unwrap()).unwrap();
        let mut linker = Linker::new(&engine);
        linker.func_wrap_async("", "wait", wait).unwrap();
        let mut store = Store::new(&engine, numbers.below(BYTES));
        let at = i32::try_from(numbers.below(BYTES)).unwrap();
        let mut run = Box::pin(async move {
            let instance = linker.instantiate_async(&mut store, &module).await.unwrap();
            let run = instance.get_typed_func::<i32, ()>(&mut store, "run").unwrap();
            run.call_async(&mut store, at).await
        });
        let mut context = Context::from_waker(Waker::noop());
        assert!(image.during(|| run.as_mut().poll(&mut context)).is_pending());
        if numbers.below(2) == 0 {
            thread::scope(|scope| drop(scope.spawn(move || drop(run)).join()));
        }
    });
}

#[test]
fn one_whose_start_traps_while_others_are_taken_down() {
    const TRAPPING: &str = r#"(module (memory (export "m") 3)
        (func $begin (i32.store8 (i32.const 70000) (i32.const 1)) unreachable) (start $begin))"#;
    attack(3, |node, image, numbers| {
        let module = Module::new(node.module.engine(), wat::parse_str(TRAPPING).unwrap()).unwrap();
        let mut guests: Vec<_> = (0..2).map(|_| node.guest(image).unwrap()).collect();
        guests.iter_mut().for_each(|guest| guest.write(numbers.below(BYTES)));
        let begin = || {
            let mut store = Store::new(module.engine(), ());
            image.during(|| Instance::new(&mut store, &module, &[])).map(drop)
        };
        assert!(begin().is_err());
        restore_batched(|| drop(guests));
        assert!(begin().is_err());
    });
}

#[test]
fn one_whose_start_traps_while_another_thread_takes_others_down() {
    const TRAPPING: &str = r#"(module (memory (export "m") 3)
        (func $begin (i32.store8 (i32.const 70000) (i32.const 1)) unreachable) (start $begin))"#;
    attack(4, |node, image, numbers| {
        let module = Module::new(node.module.engine(), wat::parse_str(TRAPPING).unwrap()).unwrap();
        let mut guests: Vec<_> = (0..2).map(|_| node.guest(image).unwrap()).collect();
        guests.iter_mut().for_each(|guest| guest.write(numbers.below(BYTES)));
        thread::scope(|scope| {
            scope.spawn(move || restore_batched(|| drop(guests)));
            for _ in 0..3 {
                let mut store = Store::new(module.engine(), ());
                assert!(image.during(|| Instance::new(&mut store, &module, &[])).is_err());
            }
        });
    });
}

#[test]
fn one_that_asks_for_too_much_in_a_loop() {
    attack(1, |node, image, numbers| {
        let mut guest = node.guest(image).unwrap();
        for _ in 0..100 {
            assert!(guest.memory.grow(&mut guest.store, (SLOT_BYTES >> 16) as u64).is_err());
            guest.write(numbers.below(BYTES));
            assert!(guest.read(BYTES).is_err());
        }
        grow(&mut guest, 1);
        guest.write(BYTES + numbers.below(PAGE));
    });
}

#[test]
fn one_with_addresses_of_64_bits_at_its_edges() {
    const WIDE: &str = r#"(module (memory (export "m") i64 3)
        (func (export "write") (param i64) (i64.store8 (local.get 0) (i64.const 1)))
        (func (export "far") (param i64) (i64.store8 offset=0x100000000 (local.get 0) (i64.const 1))))"#;
    attack(1, |node, image, numbers| {
        // One that begins with more than there are addresses.
        let vast = format!("(module (memory i64 {}))", (SLOT_BYTES >> 16) + 1);
        let vast = Module::new(node.module.engine(), wat::parse_str(vast).unwrap()).unwrap();
        assert!(image.during(|| Instance::new(Store::new(vast.engine(), ()), &vast, &[])).is_err());
        let module = Module::new(node.module.engine(), wat::parse_str(WIDE).unwrap()).unwrap();
        let mut store = Store::new(module.engine(), ());
        let instance = image.during(|| Instance::new(&mut store, &module, &[])).unwrap();
        let bytes = BYTES as i64;
        for (name, at, is_in) in [
            ("write", bytes - 1, true),
            ("write", bytes, false),
            ("write", -1, false),
            ("write", i64::MIN, false),
            ("write", SLOT_BYTES as i64, false),
            ("write", (SLOT_BYTES + GUARD_BYTES) as i64, false),
            ("far", 0, false),
            ("far", -0x1_0000_0000, false),
        ] {
            let write = instance.get_typed_func::<i64, ()>(&mut store, name).unwrap();
            assert_eq!(write.call(&mut store, at).is_ok(), is_in, "{name} {at}");
        }
        let memory = instance.get_memory(&mut store, "m").unwrap();
        let left = ((SLOT_BYTES - BYTES) >> 16) as u64;
        assert!(memory.grow(&mut store, left + 1).is_err());
        memory.grow(&mut store, 1 + numbers.below(4) as u64).unwrap();
        let last = memory.data_size(&store) - 1;
        memory.data_mut(&mut store)[last] = 1;
    });
}
