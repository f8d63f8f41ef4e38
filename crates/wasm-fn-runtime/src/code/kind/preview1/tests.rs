//! Facts about changed modules, without running them.

use wasmparser::Validator;
use wit_component::ComponentEncoder;

use super::*;

fn is_valid(bytes: &[u8]) {
    Validator::new().validate_all(bytes).unwrap();
}

#[test]
fn the_changed_adapter_is_a_module() {
    is_valid(&adapter());
}

#[test]
fn modules_are_changed_whatever_sections_they_have() {
    const IMPORT: &str = r#"(import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))"#;
    const MEMORY: &str = r#"(memory (export "memory") 1)"#;
    const START: &str = r#"(func (export "_start") (drop (memory.grow (memory.size))))"#;
    for (rest, is_changed) in [
        (String::new(), true),
        ("(global $g (mut i32) (i32.const 1)) (func (global.set $g (global.get $g)))".to_owned(), true),
        ("(table 2 funcref) (elem (i32.const 0) $exit $f) (func $f) (start $f)".to_owned(), true),
        (
            r#"(func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) unreachable)"#.to_owned(),
            false,
        ),
    ] {
        let text = format!("(module {IMPORT} {MEMORY} {START} {rest})");
        let given = wat::parse_str(&text).unwrap();
        let changed = module(&given).unwrap();
        is_valid(&changed);
        assert_eq!(changed != given, is_changed, "{text}");
        let joined = ComponentEncoder::default().module(&changed).unwrap();
        is_valid(&joined.adapter(PREVIEW1, &adapter()).unwrap().encode().unwrap());
    }
}

#[test]
fn what_the_adapter_does_not_touch_stays_as_it_is() {
    for text in [
        r#"(module (memory (export "memory") 1) (func (export "_start")))"#,
        r#"(module (import "env" "memory" (memory 1)) (func (export "_start")))"#,
        r#"(module (func (export "_start")))"#,
    ] {
        let given = wat::parse_str(text).unwrap();
        assert_eq!(module(&given).unwrap(), given, "{text}");
    }
}
