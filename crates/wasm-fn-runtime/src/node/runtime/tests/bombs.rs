//! Components that are small and would take much: they are refused, or take little.

use std::fmt::Write as _;

use super::*;

/// A command that does nothing, with `fields` in its module.
fn command(fields: &str) -> Vec<u8> {
    wat::parse_str(format!(r#"(module {fields} (func (export "_start")))"#)).unwrap()
}

/// A component that offers a handler, after `before`, which defines the type `$last`.
fn component_of(before: &str) -> Vec<u8> {
    let component = format!(
        r#"(component {before}
             (import "wasi:cli/environment@0.2.0" (instance $i (export "f" (func (param "x" $last)))))
             (export "wasi:http/incoming-handler@0.2.0" (instance $i)))"#
    );
    wat::parse_str(component).unwrap()
}

async fn refused(node: &Node, bytes: &[u8]) -> PrepareError {
    let error = node.prepare(bytes, &FunctionConfig::default()).await.unwrap_err();
    assert_eq!(ok(&node.add_version(&prebuilt("hello-v1")), "/").await, "hello from v1\n");
    error
}

#[tokio::test]
async fn function_that_would_take_minutes_to_compile_is_refused() {
    let node = Node::start();
    let locals = "(local i32)".repeat(5000);
    let uses: String = (0..5000).fold(String::new(), |mut uses, local| {
        let _ = write!(uses, "(local.set {local} (i32.add (local.get {local}) (i32.const 1)))");
        uses
    });
    let body = format!("{locals} {} {uses} br 0 {}", "loop ".repeat(5000), "end ".repeat(5000));
    let error = refused(&node, &command(&format!(r#"(memory (export "memory") 1) (func {body})"#))).await;
    assert!(matches!(&error, PrepareError::TooCostly { reason } if reason.contains("4000000")), "{error}");
}

#[tokio::test]
async fn ten_thousand_functions_are_compiled() {
    let node = Node::start();
    let functions = "(func (result i32) (i32.const 1))".repeat(10_000);
    let bytes = command(&format!(r#"(memory (export "memory") 1) {functions}"#));
    node.prepare(&bytes, &FunctionConfig::default()).await.unwrap();
}

#[tokio::test]
async fn data_far_apart_takes_no_room_between() {
    let node = Node::start();
    // Two bytes, with a gigabyte between them: nothing, but for their pages, is kept of it.
    let fields =
        r#"(memory (export "memory") 16384) (data (i32.const 0) "a") (data (i32.const 1073741823) "b")"#;
    let error = refused(&node, &command(fields)).await;
    assert!(matches!(error, PrepareError::Memory { .. }), "{error}");
    let limits = Limits { memory_bytes: 2 << 30, ..Limits::default() };
    let config = FunctionConfig { limits, ..FunctionConfig::default() };
    node.prepare(&command(fields), &config).await.unwrap();
    let files = std::fs::read_dir(node.dir.path().join("artifacts")).unwrap();
    let kept: u64 = files
        .map(|file| std::os::unix::fs::MetadataExt::blocks(&file.unwrap().metadata().unwrap()) * 512)
        .sum();
    assert!(kept < 8 << 20, "{kept} bytes are kept");
}

#[tokio::test]
async fn types_in_types_end_no_node() {
    let node = Node::start();
    for depth in [101, 2000, 50_000] {
        let types = (1..depth).fold("(type $t0 (list u8))".to_owned(), |mut types, at| {
            let _ = write!(types, "(type $t{at} (list $t{}))", at - 1);
            types
        });
        refused(&node, &component_of(&types.replace(&format!("$t{} ", depth - 1), "$last "))).await;
    }
    // Each has twice as many parts as the one before.
    let doubling = (1..64).fold("(type $t0 (tuple u8 u8))".to_owned(), |mut types, at| {
        let _ = write!(types, "(type $t{at} (tuple $t{} $t{}))", at - 1, at - 1);
        types
    });
    let error = refused(&node, &component_of(&doubling.replace("$t63 ", "$last "))).await;
    println!("{error}");
}

#[tokio::test]
async fn components_in_components_end_no_node() {
    const PREAMBLE: &[u8] = b"\0asm\x0d\0\x01\0";
    fn leb(mut value: usize, into: &mut Vec<u8>) {
        while value >= 0x80 {
            into.push(u8::try_from(value & 0x7f).unwrap() | 0x80);
            value >>= 7;
        }
        into.push(u8::try_from(value).unwrap());
    }
    let node = Node::start();
    let handler = component_of("(type $last (list u8))");
    for (depth, is_too_deep) in [(40, false), (100, true), (20_000, true)] {
        // From the innermost to the outermost: the lengths first, since each holds all within.
        let mut headers = Vec::new();
        let mut length = PREAMBLE.len();
        for _ in 0..depth {
            let mut header = vec![4];
            leb(length, &mut header);
            length += header.len() + PREAMBLE.len();
            headers.push(header);
        }
        let mut nested = handler.clone();
        for header in headers.iter().rev() {
            nested.extend_from_slice(header);
            nested.extend_from_slice(PREAMBLE);
        }
        let error = refused(&node, &nested).await;
        assert_eq!(matches!(error, PrepareError::TooCostly { .. }), is_too_deep, "{depth}: {error}");
    }
}
