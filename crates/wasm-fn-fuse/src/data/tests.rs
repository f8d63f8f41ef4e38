//! Facts about what data is taken out and what stays.

use super::*;

/// A component with `module` and, when it is not empty, `more`.
fn component(module: &str, more: &str) -> Vec<u8> {
    wat::parse_str(format!("(component (core module {module}) {more})")).unwrap()
}

fn valid(component: &[u8]) {
    wasmparser::Validator::new_with_features(wasmparser::WasmFeatures::all())
        .validate_all(component)
        .unwrap();
}

const DATA: &str = r#"
    (memory 3) (data (i32.const 70000) "two") (data (i32.const 66000) "one!") (data (i32.const 66001) "N")
"#;

#[test]
fn data_is_taken_out_as_the_memory_would_have_it() {
    let apart = extract_data(&component(DATA, ""), 4096).unwrap();
    valid(&apart.component);
    assert_eq!((apart.start, apart.data.len()), (65536, 8192));
    assert_eq!(&apart.data[66000 - 65536..][..4], b"oNe!");
    assert_eq!(&apart.data[70000 - 65536..][..3], b"two");
    assert_eq!(apart.data.iter().filter(|byte| **byte != 0).count(), 7);
    assert_eq!(extract_data(&apart.component, 4096), None, "nothing is left");
}

#[test]
fn what_else_the_component_has_stays() {
    let more = r#"
        (component (core module (func)) (core module $m (func (export "f"))) (core instance (instantiate $m)))
    "#;
    let with = component(&format!("{DATA} (func (export \"f\") (drop (i32.const 7)))"), more);
    let without = component("(memory 3) (func (export \"f\") (drop (i32.const 7)))", more);
    assert_eq!(extract_data(&with, 4096).unwrap().component, without);
}

#[test]
fn components_within_are_looked_into() {
    let within = |module: &str| {
        let text = format!("(component (component (component (core module {module}) (core module (func)))))");
        wat::parse_str(text).unwrap()
    };
    let apart = extract_data(&within(DATA), 4096).unwrap();
    assert_eq!(apart.component, within("(memory 3)"));
}

#[test]
fn what_cannot_be_taken_out_stays() {
    for (module, more) in [
        ("(memory 1)", ""),
        (r#"(memory 1) (data "passive")"#, ""),
        (r#"(memory 1) (data (i32.const 0) "")"#, ""),
        (r#"(memory 1) (data (i32.const 65535) "ab")"#, ""),
        (r#"(memory 1) (data (i32.const -1) "a")"#, ""),
        (r#"(memory 64) (data (i32.const 0) "a") (data (i32.const 4000000) "z")"#, ""),
        (r#"(memory i64 1) (data (i64.const 0) "a")"#, ""),
        (r#"(memory 1 1 shared) (data (i32.const 0) "a")"#, ""),
        (r#"(memory 1) (memory 1) (data (i32.const 0) "a")"#, ""),
        (r#"(memory 1) (data (i32.const 0) "a")"#, "(core module (memory 1))"),
        (r#"(memory 1) (data (i32.const 0) "a")"#, "(component (core module (memory 1)))"),
        (r#"(memory 1) (data (i32.const 0) "a")"#, "(core module (memory i64 0))"),
        (r#"(memory 1) (data (i32.const 0) "a")"#, r#"(core module (memory 1) (data (i32.const 0) "b"))"#),
        (r#"(global $at (import "a" "b") i32) (memory 1) (data (global.get $at) "a")"#, ""),
        (r#"(import "a" "b" (memory 1)) (data (i32.const 0) "a")"#, ""),
        (r#"(memory 1) (data $d (i32.const 0) "a") (func (data.drop $d))"#, ""),
    ] {
        assert_eq!(extract_data(&component(module, more), 4096), None, "{module} {more}");
    }
    assert_eq!(extract_data(b"\0asm", 4096), None);
}

#[test]
fn other_memories_may_be_too_small_for_it() {
    let more = "(core module (memory 1)) (component (core module (memory 0)))";
    let apart = extract_data(&component(DATA, more), 4096).unwrap();
    assert_eq!(apart.component, component("(memory 3)", more));
}

#[test]
fn data_for_an_imported_memory_stays() {
    // Its memory 0 is the imported one, wherever the import comes from.
    let module = r#"(import "a" "b" (memory 1)) (memory 1) (data (memory 0) (i32.const 0) "a")"#;
    assert_eq!(extract_data(&component(module, ""), 4096), None);
    // Another module's data is taken out all the same, unless this one's memory would get it too.
    let writer = |pages: u32| {
        format!(
            r#"(core module (import "a" "b" (memory 1)) (memory {pages})
                (data (i32.const 0) "a") (data (memory 1) (i32.const 0) "b"))"#
        )
    };
    let apart = extract_data(&component(DATA, &writer(1)), 4096).unwrap();
    assert_eq!(apart.component, component("(memory 3)", &writer(1)));
    assert_eq!(extract_data(&component(DATA, &writer(2)), 4096), None);
}

#[test]
fn a_module_may_write_into_the_memory_of_another() {
    let more = r#"(core module (import "a" "b" (memory 1)) (data (i32.const 0) "later"))"#;
    let apart = extract_data(&component(DATA, more), 4096).unwrap();
    assert_eq!(apart.component, component("(memory 3)", more));
}
