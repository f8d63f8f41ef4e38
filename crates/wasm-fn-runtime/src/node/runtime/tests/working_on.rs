//! Facts about `wasi:http` guests that exit, or work on, after their answer.

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

use super::*;

/// What the guests here import and export; `wasi:io` and `wasi:http` are those of an example.
const WIT: [&str; 5] = [
    include_str!("../../../../../../guest-examples/python/wit/deps/io.wit"),
    "package wasi:clocks@0.2.12;
    interface monotonic-clock {
        use wasi:io/poll@0.2.12.{pollable};
        type duration = u64;
        subscribe-duration: func(when: duration) -> pollable;
    }",
    include_str!("../../../../../../guest-examples/python/wit/deps/http.wit"),
    "package wasi:cli@0.2.12;
    interface exit { exit: func(status: result); exit-with-code: func(status-code: u8); }
    interface stdout {
        use wasi:io/streams@0.2.12.{output-stream};
        get-stdout: func() -> output-stream;
    }",
    "package test:guest;
    world guest {
        import wasi:http/types@0.2.12;
        import wasi:clocks/monotonic-clock@0.2.12;
        import wasi:cli/exit@0.2.12;
        import wasi:cli/stdout@0.2.12;
        export wasi:http/incoming-handler@0.2.12;
    }",
];

/// A `wasi:http` 0.2 guest that answers, does `first` with its body's stream in `$stream`, ends its body, and
/// does `then`.
fn answering(first: &str, then: &str) -> Vec<u8> {
    let text = format!(
        r#"(module
            (import "wasi:http/types@0.2.12" "[constructor]fields" (func $fields (result i32)))
            (import "wasi:http/types@0.2.12" "[constructor]outgoing-response"
                (func $response (param i32) (result i32)))
            (import "wasi:http/types@0.2.12" "[method]outgoing-response.body" (func $body (param i32 i32)))
            (import "wasi:http/types@0.2.12" "[method]outgoing-body.write" (func $write (param i32 i32)))
            (import "wasi:http/types@0.2.12" "[static]outgoing-body.finish"
                (func $finish (param i32 i32 i32 i32)))
            (import "wasi:http/types@0.2.12" "[static]response-outparam.set"
                (func $set (param i32 i32 i32 i32 i64 i32 i32 i32 i32)))
            (import "wasi:io/streams@0.2.12" "[method]output-stream.blocking-write-and-flush"
                (func $flush (param i32 i32 i32 i32)))
            (import "wasi:io/streams@0.2.12" "[resource-drop]output-stream" (func $drop_stream (param i32)))
            (import "wasi:io/poll@0.2.12" "[method]pollable.block" (func $block (param i32)))
            (import "wasi:clocks/monotonic-clock@0.2.12" "subscribe-duration"
                (func $subscribe (param i64) (result i32)))
            (import "wasi:cli/stdout@0.2.12" "get-stdout" (func $stdout (result i32)))
            (import "wasi:cli/exit@0.2.12" "exit" (func $exit (param i32)))
            (import "wasi:cli/exit@0.2.12" "exit-with-code" (func $exit_with_code (param i32)))
            (memory (export "memory") 1)
            (data (i32.const 64) "worked on\n")
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) unreachable)
            ;; Waits for others, so that the answer leaves.
            (func $wait (call $block (call $subscribe (i64.const 20000000))))
            (func $tell (call $flush (call $stdout) (i32.const 64) (i32.const 10) (i32.const 16)))
            (func (export "wasi:http/incoming-handler@0.2.12#handle") (param $request i32) (param $out i32)
                (local $response i32) (local $body i32) (local $stream i32) (local $left i32)
                (local.set $response (call $response (call $fields)))
                (call $body (local.get $response) (i32.const 16))
                (local.set $body (i32.load (i32.const 20)))
                (call $write (local.get $body) (i32.const 16))
                (local.set $stream (i32.load (i32.const 20)))
                (call $set (local.get $out) (i32.const 0) (local.get $response) (i32.const 0) (i64.const 0)
                    (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))
                {first}
                (call $drop_stream (local.get $stream))
                (call $finish (local.get $body) (i32.const 0) (i32.const 0) (i32.const 16))
                {then}))"#
    );
    component(&WIT, &text)
}

/// The component of a core module, for the world `guest` in the last package of `wit`.
fn component(wit: &[&str], module: &str) -> Vec<u8> {
    let mut resolve = Resolve::default();
    let packages: Vec<_> = wit.iter().map(|wit| resolve.push_str("guest.wit", wit).unwrap()).collect();
    let world = resolve.select_world(&packages[wit.len() - 1..], Some("guest")).unwrap();
    let mut module = wat::parse_str(module).unwrap();
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
    ComponentEncoder::default().module(&module).unwrap().encode().unwrap()
}

/// What guests of 0.3 import and export.
const WIT_03: [&str; 4] = [
    include_str!("../../../../../../guest-examples/js/wit/deps/clocks.wit"),
    include_str!("../../../../../../guest-examples/js/wit/deps/http.wit"),
    "package wasi:cli@0.3.0;
    interface exit { exit: func(status: result); exit-with-code: func(status-code: u8); }",
    "package test:guest;
    world guest {
        import wasi:http/types@0.3.0;
        import wasi:cli/exit@0.3.0;
        export wasi:http/handler@0.3.0;
    }",
];

/// A `wasi:http` 0.3 guest that answers `hello`, lets others run for a while, and does `then`.
fn answering_03(then: &str) -> Vec<u8> {
    let text = format!(
        r#"(module
            (import "wasi:http/types@0.3.0" "[constructor]fields" (func $fields (result i32)))
            (import "wasi:http/types@0.3.0" "[static]response.new"
                (func $response (param i32 i32 i32 i32 i32)))
            (import "wasi:http/types@0.3.0" "[stream-new-0][static]response.new"
                (func $new_stream (result i64)))
            (import "wasi:http/types@0.3.0" "[async-lower][stream-write-0][static]response.new"
                (func $write (param i32 i32 i32) (result i32)))
            (import "wasi:http/types@0.3.0" "[future-new-1][static]response.new"
                (func $new_future (result i64)))
            (import "wasi:http/types@0.3.0" "[async-lower][future-write-1][static]response.new"
                (func $resolve (param i32 i32) (result i32)))
            (import "[export]wasi:http/handler@0.3.0" "[task-return]handle"
                (func $return (param i32 i32 i32 i64 i32 i32 i32 i32)))
            (import "wasi:cli/exit@0.3.0" "exit" (func $exit (param i32)))
            (import "wasi:cli/exit@0.3.0" "exit-with-code" (func $exit_with_code (param i32)))
            (memory (export "memory") 1)
            ;; No trailers, at 128.
            (data (i32.const 64) "hello")
            (global $turns (mut i32) (i32.const 100))
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) unreachable)
            (func $writer (param $ends i64) (result i32)
                (i32.wrap_i64 (i64.shr_u (local.get $ends) (i64.const 32))))
            (func (export "[async-lift]wasi:http/handler@0.3.0#handle") (param $request i32) (result i32)
                (local $stream i64) (local $trailers i64)
                (local.set $stream (call $new_stream))
                (local.set $trailers (call $new_future))
                (call $response (call $fields) (i32.const 1) (i32.wrap_i64 (local.get $stream))
                    (i32.wrap_i64 (local.get $trailers)) (i32.const 16))
                (drop (call $write (call $writer (local.get $stream)) (i32.const 64) (i32.const 5)))
                (drop (call $resolve (call $writer (local.get $trailers)) (i32.const 128)))
                (call $return (i32.const 0) (i32.load (i32.const 16)) (i32.const 0) (i64.const 0)
                    (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))
                ;; Yields.
                (i32.const 1))
            (func (export "[callback][async-lift]wasi:http/handler@0.3.0#handle")
                (param i32 i32 i32) (result i32)
                (global.set $turns (i32.sub (global.get $turns) (i32.const 1)))
                (if (global.get $turns) (then (return (i32.const 1))))
                {then}
                (i32.const 0)))"#
    );
    component(&WIT_03, &text)
}

#[tokio::test]
async fn exiting_with_ok_is_success_for_guests_of_0_3() {
    let node = Node::start();
    for exit in ["", "(call $exit (i32.const 0))", "(call $exit_with_code (i32.const 0))"] {
        let version = node.add_version(&answering_03(exit));
        for _ in 0..3 {
            assert_eq!(ok(&version, "/").await, "hello", "{exit}");
        }
    }
    assert_eq!(node.log("shop"), []);
    for (exit, status) in [("(call $exit (i32.const 1))", 1), ("(call $exit_with_code (i32.const 7))", 7)] {
        let fault = get(&node.add_version(&answering_03(exit)), "/").await.unwrap_err();
        let Fault::Trap { reason, .. } = fault else { panic!("{fault}") };
        assert_eq!(reason, format!("it exited with status {status}"));
    }
}

/// Writes this many times 4 KiB.
fn writes(times: u32) -> String {
    format!(
        "(local.set $left (i32.const {times}))
        (loop $next
            (call $flush (local.get $stream) (i32.const 1024) (i32.const 4096) (i32.const 16))
            (local.set $left (i32.sub (local.get $left) (i32.const 1)))
            (br_if $next (local.get $left)))"
    )
}

#[tokio::test]
async fn exiting_with_ok_after_a_complete_answer_is_success() {
    let node = Node::start();
    for exit in ["(call $exit (i32.const 0))", "(call $exit_with_code (i32.const 0))"] {
        for times in [1, 40] {
            let version = node.add_version(&answering(&writes(times), exit));
            for _ in 0..3 {
                let (status, body) = get(&version, "/").await.unwrap();
                assert_eq!((status, body.len()), (StatusCode::OK, times as usize * 4096));
            }
        }
    }
    assert_eq!(node.log("shop"), []);
}

#[tokio::test]
async fn exiting_with_an_error_or_in_the_middle_is_a_failure() {
    let node = Node::start();
    for (exit, status) in [("(call $exit (i32.const 1))", 1), ("(call $exit_with_code (i32.const 7))", 7)] {
        let fault = get(&node.add_version(&answering(&writes(1), exit)), "/").await.unwrap_err();
        let Fault::Trap { reason, .. } = fault else { panic!("{fault}") };
        assert_eq!(reason, format!("it exited with status {status}"));
    }
    let halfway = answering(&(writes(1) + "(call $exit (i32.const 0))"), "");
    let fault = get(&node.add_version(&halfway), "/").await.unwrap_err();
    assert!(matches!(fault, Fault::InvalidResponse { .. }), "{fault}");
}

/// Whether the guest told that it worked on. Waits until it has ended.
async fn worked_on(node: &Node, version: &Arc<Version>) -> bool {
    while version.concurrency.running() > 0 {
        tokio::task::yield_now().await;
    }
    node.log("shop").contains(&(GuestLogStream::Stdout, "worked on".to_owned()))
}

#[tokio::test]
async fn a_guest_works_on_when_nobody_needs_the_rest_of_its_body() {
    let node = Node::start();
    let first = writes(1) + "(call $wait)" + &writes(40);
    let version = node.add_version(&answering(&first, "(call $wait) (call $tell)"));
    let response = call(&version, "/", b"").await.unwrap();
    assert_eq!((version.concurrency.running(), node.log("shop")), (1, Vec::new()));
    response.into_body().complete();
    assert!(worked_on(&node, &version).await);
}

#[tokio::test]
async fn a_guest_works_on_after_the_end_of_its_body() {
    let node = Node::start();
    let version = node.add_version(&answering(&writes(1), "(call $wait) (call $tell)"));
    drop(call(&version, "/", b"").await.unwrap());
    assert!(worked_on(&node, &version).await);
}

#[tokio::test]
async fn a_guest_that_goes_on_writing_to_nobody_is_cancelled() {
    let node = Node::start();
    let endless = "(loop $more (call $wait)".to_owned() + &writes(100) + "(br $more))";
    let version = node.add_version(&answering(&endless, "(call $tell)"));
    call(&version, "/", b"").await.unwrap().into_body().complete();
    assert!(!worked_on(&node, &version).await);
}

#[tokio::test]
async fn a_guest_whose_client_leaves_is_cancelled() {
    let node = Node::start();
    let version = node.add_version(&answering(&(writes(1) + "(call $wait) (call $tell)"), ""));
    drop(call(&version, "/", b"").await.unwrap());
    assert_eq!(version.concurrency.running(), 0);
    assert!(!worked_on(&node, &version).await);
}
