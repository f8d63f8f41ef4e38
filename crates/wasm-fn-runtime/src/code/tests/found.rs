//! Components that once did something else when they were linked, or had their data taken out.

use super::forms::{Call, Forms, HOST, Ran};
use wasmtime::component::Val;

/// Runs `run` of the component with these `items`, in every form.
fn run(items: &str) -> Ran {
    let component = wat::parse_str(format!("(component {HOST} {items})")).expect("it is a component");
    let calls = [Call::new("run", [Val::U32(1), Val::U64(2)])];
    Forms::new(1 << 20).run(&component, &calls).unwrap_or_else(|problem| panic!("{problem:?}"))
}

/// A shim of one function, which the filler fills with `target`.
fn with_shim(modules: &str, instances: &str, target: &str) -> String {
    format!(
        r#"
        (core module $shim
          (table (export "$imports") 1 1 funcref)
          (type $0 (func))
          (func (export "0") (type $0) (call_indirect (type $0) (i32.const 0))))
        (core module $filler
          (import "" "$imports" (table 1 1 funcref)) (import "" "0" (func)) (elem (i32.const 0) func 0))
        {modules}
        (core instance $shim (instantiate $shim))
        {instances}
        (core instance $filler (instantiate $filler
          (with "" (instance (export "$imports" (table $shim "$imports")) (export "0" {target})))))
        (func (export "run") (param "a" u32) (param "b" u64) (result u64)
          (canon lift (core func $program "run")))
        "#
    )
}

const RUN: &str = r#"(func (export "run") (param i32 i64) (result i64) (local.get 1))"#;

#[test]
fn a_start_meets_the_empty_shim_in_what_allocates_for_the_host() {
    let modules = format!(
        r#"
        (core module $program
          (import "shim" "0" (func $later))
          (memory (export "memory") 1)
          (func (export "later"))
          (func (export "realloc") (param i32 i32 i32 i32) (result i32) (call $later) (i32.const 64))
          {RUN})
        (core module $starter
          (import "host" "fetch" (func $fetch (param i32 i32)))
          (func $begin (call $fetch (i32.const 3) (i32.const 8)))
          (start $begin))
        "#
    );
    let instances = r#"
        (core instance $program (instantiate $program (with "shim" (instance $shim))))
        (core func $fetch (canon lower (func $host "fetch")
          (memory $program "memory") (realloc (func $program "realloc"))))
        (core instance $starter (instantiate $starter
          (with "host" (instance (export "fetch" (func $fetch))))))
    "#;
    let ran = run(&with_shim(&modules, instances, r#"(func $program "later")"#));
    assert_eq!((ran.outcome.trapped(), ran.not_linked), (Some("wasm trap: uninitialized element"), None));
}

#[test]
fn a_start_that_meets_the_empty_shim_traps_the_same_where_a_table_stays() {
    let modules = format!(
        r#"
        (core module $program
          (import "shim" "0" (func $later))
          (memory (export "memory") 1)
          (table 4 funcref)
          (func (export "later") (drop (table.grow (ref.null func) (i32.const 1))))
          (func $begin (call $later))
          (start $begin)
          {RUN})
        "#
    );
    let instances = r#"(core instance $program (instantiate $program (with "shim" (instance $shim))))"#;
    let ran = run(&with_shim(&modules, instances, r#"(func $program "later")"#));
    assert_eq!((ran.outcome.trapped(), ran.not_linked), (Some("wasm trap: uninitialized element"), None));
}

#[test]
fn a_constant_of_64_bits_of_another_module_is_not_linked() {
    // The engine takes it from an import only, and linked it would be none.
    let ran = run(&format!(
        r#"
        (core module $program (global (export "wide") i64 (i64.const 7)) (memory 1) {RUN})
        (core module $library (import "env" "wide" (global $wide i64)) (global i64 (global.get $wide)))
        (core module $other)
        (core instance $program (instantiate $program))
        (core instance $library (instantiate $library (with "env" (instance $program))))
        (core instance $other (instantiate $other))
        (func (export "run") (param "a" u32) (param "b" u64) (result u64)
          (canon lift (core func $program "run")))
        "#
    ));
    assert!(ran.not_linked.is_some_and(|reason| reason.contains("another module's global")));
}

#[test]
fn code_refers_to_functions_that_were_only_exported() {
    let ran = run(r#"
        (core module $program (memory 1) (table 2 funcref)
          (func $run (export "run") (param i32 i64) (result i64)
            (i64.extend_i32_u (ref.is_null (ref.func $run)))))
        (core module $library) (core module $other)
        (core instance $program (instantiate $program))
        (core instance $library (instantiate $library))
        (core instance $other (instantiate $other))
        (func (export "run") (param "a" u32) (param "b" u64) (result u64)
          (canon lift (core func $program "run")))
        "#);
    assert_eq!((ran.outcome.trapped(), ran.not_linked), (None, None));
}
