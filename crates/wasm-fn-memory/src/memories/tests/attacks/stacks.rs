//! Stacks keep what was on them: whether code can see it there.

use std::fmt::Write as _;

use wasmtime::{Strategy, TypedFunc};

use super::*;
use crate::kernel::Addresses as _;

const STACK_BYTES: usize = 2 << 20;

/// Calls deep in one another.
const DEPTH: i32 = 40;

/// Local variables of each.
const LOCALS: usize = 64;

/// What a guest leaves on its stack.
const SECRET: i64 = 0x5ec2_e700_1122_3344;

/// A function that has the secret in all of its variables while it calls itself, and one that adds up
/// variables to which nothing was written.
fn guest() -> String {
    let each = |text: &dyn Fn(usize) -> String| (0..LOCALS).fold(String::new(), |all, at| all + &text(at));
    let mut module = String::from("(module (func $fill (export \"fill\") (param $depth i32) (param $s i64)");
    let declared = each(&|at| format!("(local $v{at} i64)"));
    let set = each(&|at| format!("(local.set $v{at} (i64.xor (local.get $s) (i64.const {at})))"));
    let sum = each(&|at| format!("(local.set $s (i64.or (local.get $s) (local.get $v{at})))"));
    let deeper = |call: &str| format!("(if (local.get $depth) (then {call}))");
    let again = "(call $fill (i32.sub (local.get $depth) (i32.const 1)) (local.get $s)) (local.set $s)";
    write!(module, "(result i64) {declared} {set} {} {sum} (local.get $s))", deeper(again)).unwrap();
    let again = "(call $look (i32.sub (local.get $depth) (i32.const 1))) (local.set $s)";
    write!(
        module,
        "(func $look (export \"look\") (param $depth i32) (result i64) (local $s i64) {declared} {} {sum} \
         (local.get $s)))",
        deeper(again)
    )
    .unwrap();
    module
}

/// Runs a call, which waits for nothing, on a stack.
fn run<T>(call: impl Future<Output = wasmtime::Result<T>>) -> T {
    let mut call = Box::pin(call);
    match call.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        std::task::Poll::Ready(result) => result.unwrap(),
        std::task::Poll::Pending => panic!("it waits"),
    }
}

#[test]
fn code_sees_nothing_of_what_was_on_its_stack() {
    let secret = SECRET.to_le_bytes();
    for strategy in [Strategy::Cranelift, Strategy::Winch] {
        let node = node(1, 0);
        let stacks = Stacks::new(1, STACK_BYTES).unwrap();
        let mut config = config(&node.memories, SLOT_BYTES);
        config.with_host_stack(stacks.clone()).async_stack_size(STACK_BYTES).strategy(strategy);
        let engine = Engine::new(&config).unwrap();
        let module = Module::new(&engine, wat::parse_str(guest()).unwrap()).unwrap();
        let stack = stacks.first();
        let holds_secret =
            || stacks.area().read(&stack, |bytes| bytes.windows(secret.len()).any(|found| found == secret));
        for _ in 0..runs() {
            let mut store = Store::new(&engine, ());
            let instance = run(Instance::new_async(&mut store, &module, &[]));
            let fill: TypedFunc<(i32, i64), i64> = instance.get_typed_func(&mut store, "fill").unwrap();
            assert_ne!(run(fill.call_async(&mut store, (DEPTH, SECRET))), 0);
            drop(store);
            assert!(holds_secret(), "it is there, or this shows nothing");
            let mut store = Store::new(&engine, ());
            let instance = run(Instance::new_async(&mut store, &module, &[]));
            let look: TypedFunc<i32, i64> = instance.get_typed_func(&mut store, "look").unwrap();
            assert_eq!(run(look.call_async(&mut store, DEPTH)), 0, "{strategy:?}");
        }
        stacks.decommit().unwrap();
        assert!(!holds_secret(), "it was given back");
    }
}
