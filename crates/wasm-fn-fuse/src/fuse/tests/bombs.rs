//! Facts about components that are made to take time and memory.

use std::fmt::Write as _;

use super::*;
use crate::read::program::LISTED;

/// A component with a shim of `slots` functions, each of a type of its own, that a start function may call.
fn guarded(slots: usize) -> Vec<u8> {
    let [mut shim, mut used, mut calls, mut imports, mut items] = [const { String::new() }; 5];
    for slot in 0..slots {
        let _ = write!(
            shim,
            r#"(type ${slot} (func (param i32)))
               (func (export "{slot}") (type ${slot})
                 (call_indirect (type ${slot}) (local.get 0) (i32.const {slot})))"#
        );
        let _ = write!(used, r#"(import "shim" "{slot}" (func $s{slot} (param i32)))"#);
        let _ = write!(calls, "(call $s{slot} (i32.const 2))");
        let _ = write!(imports, r#"(import "" "{slot}" (func (param i32)))"#);
        let _ = write!(items, r#"(export "{slot}" (func $mark))"#);
    }
    let list: String = (0..slots).map(|slot| format!(" {slot}")).collect();
    component(&format!(
        r#"(component
            (import "host" (instance $host (export "mark" (func (param "a" u32)))))
            (core module $shim (table (export "$imports") {slots} {slots} funcref) {shim})
            (core module $program {used}
              (memory (export "memory") 1)
              (func $begin (call $s0 (i32.const 1)))
              (start $begin)
              (func (export "run") {calls}))
            (core module $filler
              (import "" "$imports" (table {slots} {slots} funcref)) {imports}
              (elem (i32.const 0) func {list}))
            (core instance $shim (instantiate $shim))
            (core instance $program (instantiate $program (with "shim" (instance $shim))))
            (core func $mark (canon lower (func $host "mark")))
            (core instance $filler (instantiate $filler
              (with "" (instance (export "$imports" (table $shim "$imports")) {items}))))
            (func (export "run") (canon lift (core func $program "run"))))"#
    ))
}

#[test]
fn types_are_not_listed_for_each_guard() {
    let listed = |slots: usize| {
        let component = guarded(slots);
        let before = LISTED.get();
        assert_eq!(guards(&fuse(&component).unwrap()), slots);
        LISTED.get() - before
    };
    assert_eq!(listed(1000), listed(2));
}

/// A component with `count` functions of the host, each with another function that allocates.
fn allocating(count: usize) -> Vec<u8> {
    let [mut reallocs, mut imports, mut calls, mut lowered, mut items] = [const { String::new() }; 5];
    for at in 0..count {
        let _ = write!(
            reallocs,
            r#"(func (export "{at}") (param i32 i32 i32 i32) (result i32) (i32.const {at}))"#
        );
        let _ = write!(imports, r#"(import "host" "{at}" (func $h{at} (param i32)))"#);
        let _ = write!(calls, "(call $h{at} (i32.const 8))");
        let _ = write!(
            lowered,
            r#"(core func $h{at} (canon lower (func $host "name") (memory $memory)
                 (realloc (func $program "{at}"))))"#
        );
        let _ = write!(items, r#"(export "{at}" (func $h{at}))"#);
    }
    component(&format!(
        r#"(component
            (import "host" (instance $host (export "name" (func (result string)))))
            (core module $program (memory (export "memory") 1) {reallocs})
            (core module $user {imports} (func (export "run") {calls}))
            (core module $more)
            (core instance $program (instantiate $program))
            (alias core export $program "memory" (core memory $memory))
            {lowered}
            (core instance $user (instantiate $user (with "host" (instance {items}))))
            (core instance (instantiate $more))
            (func (export "run") (canon lift (core func $user "run"))))"#
    ))
}

#[test]
fn many_functions_that_allocate_are_not_linked() {
    // Each function that is called from outside would have code for each of them.
    assert!(fuse(&allocating(16)).is_ok());
    let why = fuse(&allocating(17)).unwrap_err();
    assert!(matches!(why, NotFused::Shape { found: "many functions that allocate", .. }), "{why}");
}

#[test]
fn calls_through_a_table_by_the_million_take_little_memory() {
    const CALL: &str = "(call_indirect (result i32) (i32.const 1))";
    const CALLS: usize = 100_000;
    // Each call may reach as many functions as a table may have.
    let calls = format!("(drop {CALL})").repeat(CALLS) + CALL;
    let slots = "$answer ".repeat(480);
    let text = LINKED.replacen(CALL, &calls, 1);
    let text = text.replacen("(export \"table\") 8 funcref", "(export \"table\") 488 funcref", 1);
    let text = text.replacen("(func $answer", &format!("(elem (i32.const 8) func {slots}) (func $answer"), 1);
    let component = component(&text);
    let before = peak_bytes();
    assert!(fuse(&component).is_ok());
    let grown = peak_bytes() - before;
    assert!(grown < 100 << 20, "{grown} bytes for a component of {}", component.len());
}

/// Most memory that this process ever had, bytes.
fn peak_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}
