//! What is small enough, and what is refused.

use super::*;

fn component(module: &str) -> Vec<u8> {
    wat::parse_str(format!("(component (component (core module {module})))")).unwrap()
}

#[test]
fn usual_components_are_small_enough() {
    for guest in ["hello-v1", "hello-p3", "fetch", "c-hello"] {
        let path = format!("{}/../../guest-examples/prebuilt/{guest}.wasm", env!("CARGO_MANIFEST_DIR"));
        assert_eq!(check(&std::fs::read(path).unwrap()), Ok(()), "{guest}");
    }
}

#[test]
fn what_takes_much_for_each_instance_is_refused() {
    for (before, what) in [
        ("", "(global i32 (i32.const 0))"),
        ("", r#"(import "a" "b" (func))"#),
        ("(func $f)", "(elem func $f $f $f $f)"),
        ("(func $f)", "(elem funcref (ref.func $f) (ref.func $f))"),
        ("", "(table 0 funcref)"),
        ("(memory 0)", r#"(data "")"#),
    ] {
        let many = |count: usize| component(&format!("{before} {}", what.repeat(count)));
        assert_eq!(check(&many(1000)), Ok(()), "{what}");
        assert!(check(&many(200_000)).unwrap_err().contains("4194304 bytes"), "{what}");
    }
}

#[test]
fn what_is_malformed_is_refused() {
    assert!(check(b"\0asm\x0d\0\x01\0\xff").is_err());
}
