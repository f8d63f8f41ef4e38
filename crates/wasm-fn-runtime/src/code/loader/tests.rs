//! Facts about components that are compiled with fewer core instances.

use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;
use wasm_fn_pool::PoolPlan;
use wasmtime::{Store, Trap, component::Component};
use wasmtime_wasi_io::{
    poll::Pollable,
    streams::{OutputStream, StreamResult},
};

use super::*;
use crate::{
    IsolationOptions,
    code::{engine::slot_cost, linker::end},
    fault::trap,
};

/// A component of four core modules that calls the host and itself in every way there is.
const LINKED: &str = include_str!("../../../../wasm-fn-fuse/src/fuse/linked.wat");

/// What a guest answers, or its trap when it starts or runs and the fingerprint of that, and what it tells
/// the host meanwhile.
type Answer = (Result<u32, (Trap, u64)>, Vec<(String, u32)>);

/// The answer of [`LINKED`] or of a variant of it, as it was uploaded.
fn answer(component: &[u8]) -> Answer {
    answer_of(component, false)
}

/// The answer of such a component that was linked.
fn answer_linked(component: &[u8]) -> Answer {
    answer_of(component, true)
}

fn answer_of(component: &[u8], is_linked: bool) -> Answer {
    // The compiling threads are the node's compiler's to start.
    let engine = Engine::new(wasmtime::Config::new().parallel_compilation(false)).unwrap();
    let mut linker = Linker::<Vec<(String, u32)>>::new(&engine);
    let mut host = linker.instance("host").unwrap();
    host.func_wrap("name", |_, (): ()| Ok(("Ann".to_owned(),))).unwrap();
    host.func_wrap("log", |mut store, (text, number): (String, u32)| {
        store.data_mut().push((text, number));
        Ok(())
    })
    .unwrap();
    let component = Component::new(&engine, component).unwrap();
    let mut store = Store::new(&engine, Vec::new());
    let answer = linker.instantiate(&mut store, &component).and_then(|instance| {
        let run = instance.get_typed_func::<(), (u32,)>(&mut store, "run")?;
        run.call(&mut store, ()).map(|(number,)| number)
    });
    let described = |error: wasmtime::Error| {
        let described = trap::trap(&error, is_linked, &trap::reason(&error, is_linked));
        (trap::kind(&error, is_linked).unwrap(), described.fingerprint)
    };
    (answer.map_err(described), store.into_data())
}

#[test]
fn fused_or_not_a_component_does_the_same() {
    let component = wat::parse_str(LINKED).unwrap();
    let fused = fused(Digest([0; 32]), &component).unwrap();
    let expected = (Ok(87), vec![("hello Ann".to_owned(), 507)]);
    assert_eq!(answer(&component), expected);
    assert_eq!(answer_linked(&fused), expected);
}

#[test]
fn calls_through_a_table_end_in_the_same_trap() {
    const CALL: &str = "(call_indirect (result i32) (i32.const 1))";
    let calls = |slot: &str| {
        [
            format!("(call_indirect (result i32) (i32.const {slot}))"),
            // As a `realloc`, and as nothing at all.
            format!(
                "(call_indirect (param i32 i32 i32 i32) (result i32) {} (i32.const {slot}))",
                "(i32.const 0)".repeat(4)
            ),
            format!("(call_indirect (i32.const {slot})) (i32.const 0)"),
        ]
    };
    for (slot, expected) in [
        ("0", Trap::IndirectCallToNull),
        ("2", Trap::BadSignature),
        ("7", Trap::IndirectCallToNull),
        ("8", Trap::TableOutOfBounds),
        ("-1", Trap::TableOutOfBounds),
    ] {
        for call in calls(slot) {
            // One that code asks for its size is kept.
            for before in ["", "(drop (table.size 0))"] {
                let text = LINKED.replacen(CALL, &format!("{before} {call}"), 1);
                let component = wat::parse_str(text).unwrap();
                let fused = fused(Digest([0; 32]), &component).unwrap();
                let (trap, told) = answer(&component);
                assert_eq!((trap.unwrap_err().0, told), (expected, Vec::new()), "{call}");
                assert_eq!(answer_linked(&fused), (trap, Vec::new()), "{before} {call}");
            }
        }
    }
}

#[test]
fn a_guest_that_names_its_function_as_a_trap_has_only_its_own_trap() {
    const CALL: &str = "(call_indirect (result i32) (i32.const 1))";
    const FORGED: &str = "(@name \"call of an empty slot of a table\")";
    let text = |name: &str| {
        let forged = format!("(func $forged {name} unreachable) (func $caller (call $forged))");
        let text = LINKED.replacen(CALL, "(call $caller) (i32.const 0)", 1);
        text.replacen("(func $answer", &format!("{forged} (func $answer"), 1)
    };
    let component = wat::parse_str(text(FORGED)).unwrap();
    assert!(fused(Digest([0; 32]), &component).is_none(), "it could not be told from the node's own");
    let (trap, _) = answer(&component);
    let (_, fingerprint) = trap.unwrap_err();
    assert_eq!(answer(&component).0.unwrap_err(), (Trap::UnreachableCodeReached, fingerprint));
    // Another name is linked, and ends in the same trap.
    let other = fused(Digest([0; 32]), &wat::parse_str(text("")).unwrap()).unwrap();
    assert_eq!(answer_linked(&other).0.unwrap_err().0, Trap::UnreachableCodeReached);
}

/// A component that tells the host 2 when it gets an instance.
const TELLING: &str = r#"(component $telling
    (import "host" (instance $host (export "log" (func (param "text" string) (param "number" u32)))))
    (core module $memory (memory (export "memory") 1))
    (core instance $memory (instantiate $memory))
    (core func $log (canon lower (func $host "log") (memory $memory "memory")))
    (core module $start
        (import "" "log" (func $log (param i32 i32 i32)))
        (func $begin (call $log (i32.const 0) (i32.const 0) (i32.const 2)))
        (start $begin))
    (core instance (instantiate $start (with "" (instance (export "log" (func $log)))))))"#;

#[test]
fn fused_or_not_a_component_starts_in_the_same_order() {
    // The last core module tells the host 1 when it gets an instance.
    let last = r#"(core module $last
            (import "" "log" (func $log (param i32 i32 i32)))
            (func $begin (call $log (i32.const 0) (i32.const 0) (i32.const 1)))
            (start $begin))
        (core instance (instantiate $last (with "" (instance (export "log" (func $log))))))"#;
    let made = r#"(instance (instantiate $telling (with "host" (instance $host))))"#;
    let more = "(core module $more) (core instance (instantiate $more))";
    let run = "(type $run ";
    for (before, first, then, is_fused, order) in [
        ("(core instance $shim", made, last.to_owned(), true, [2, 1]),
        ("(core instance $filler", made, last.to_owned(), true, [2, 1]),
        (run, "", format!("{last} {made}"), true, [1, 2]),
        (run, "", format!("{last} {made} {more}"), false, [1, 2]),
        (run, "", format!("{made} {last} {more}"), true, [2, 1]),
    ] {
        let text = LINKED
            .replacen("(core module $program", &format!("{TELLING} (core module $program"), 1)
            .replacen(before, &format!("{first} {before}"), 1)
            .replacen(run, &format!("{then} {run}"), 1);
        let component = wat::parse_str(text).unwrap();
        let fused = fused(Digest([0; 32]), &component);
        assert_eq!(fused.is_some(), is_fused, "{before} {then}");
        for component in [Some(component), fused].into_iter().flatten() {
            let (result, told) = answer(&component);
            let told: Vec<_> = told.into_iter().map(|(_, number)| number).collect();
            assert_eq!((result.unwrap(), &*told), (87, &[order[0], order[1], 507][..]), "{before} {then}");
        }
    }
}

#[test]
fn fused_or_not_a_start_function_meets_an_empty_shim() {
    // Directly, through a table and another module, not at all, and not as it happens.
    let starts = |what: &str| format!("(func $begin {what}) (start $begin) (func $twice");
    let log = "(call $log (i32.const 0) (i32.const 0) (i32.const 0))";
    for (start, traps) in [
        (starts(log), true),
        (starts("(drop (call_indirect (result i32) (i32.const 1)))"), true),
        (starts("(if (memory.grow (i32.const 70000)) (then)) (drop (memory.grow (i32.const 1)))"), false),
        (starts(&format!("(if (i32.const 0) (then {log}))")), false),
    ] {
        let component = wat::parse_str(LINKED.replacen("(func $twice", &start, 1)).unwrap();
        let fused = fused(Digest([0; 32]), &component).unwrap();
        let ((before, told), (after, told_after)) = (answer(&component), answer_linked(&fused));
        assert_eq!(told, told_after, "{start}");
        if traps {
            let kinds = (before.unwrap_err().0, after.unwrap_err().0);
            assert_eq!(kinds, (Trap::IndirectCallToNull, Trap::IndirectCallToNull), "{start}");
            assert_eq!(told, [], "{start}");
        } else {
            assert_eq!((before.unwrap(), after.unwrap(), told.len()), (87, 87, 1), "{start}");
        }
    }
}

#[test]
fn guests_are_compiled_fused() {
    let plan = PoolPlan {
        instances_max: 2,
        running_max: 1,
        memory_max_bytes: 1 << 30,
        keep_bytes: 1 << 20,
        address_bytes: slot_cost().address_bytes * 2,
    };
    let dir = tempfile::tempdir().unwrap();
    let loader =
        Loader::new(Engines::new(&plan, IsolationOptions::USUAL).unwrap(), dir.path(), true).unwrap();
    let prebuilt = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../guest-examples/prebuilt");
    for guest in ["hello-v1", "hello-p3", "fetch", "cgi", "c-hello"] {
        let bytes = fs::read(prebuilt.join(guest).with_extension("wasm")).unwrap();
        let (digest, file) = (Digest(Sha256::digest(&bytes).into()), dir.path().join(guest));
        fs::write(&file, bytes).unwrap();
        let mut source = read(digest, &file, &|_| {}).unwrap();
        source.fused = fused(digest, &source.bytes);
        let (_, _, artifact) = loader.compile_source(&source).unwrap();
        assert!(artifact.is_fused(), "{guest}");
    }
}

/// A stream that ends when it is told to, and tells then.
struct Slow {
    told: Option<oneshot::Receiver<()>>,
    ended: Option<oneshot::Sender<()>>,
}

#[wasmtime_wasi::async_trait]
impl Pollable for Slow {
    async fn ready(&mut self) {}
}

#[wasmtime_wasi::async_trait]
impl OutputStream for Slow {
    fn write(&mut self, _: Bytes) -> StreamResult<()> {
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(0)
    }

    async fn cancel(&mut self) {
        self.told.take().unwrap().await.unwrap();
        self.ended.take().unwrap().send(()).unwrap();
    }
}

#[tokio::test]
async fn a_stream_that_is_dropped_ends_though_nobody_waits() {
    for told_before in [true, false] {
        let ((tell, told), (ended, mut has_ended)) = (oneshot::channel(), oneshot::channel());
        let stream = Box::new(Slow { told: Some(told), ended: Some(ended) });
        if told_before {
            tell.send(()).unwrap();
            end(stream);
            assert!(has_ended.try_recv().is_ok(), "it had nothing to wait for");
        } else {
            end(stream);
            assert!(has_ended.try_recv().is_err());
            tell.send(()).unwrap();
            tokio::time::timeout(Duration::from_secs(60), has_ended).await.unwrap().unwrap();
        }
    }
}

#[test]
fn a_component_that_was_changed_in_its_file_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("component");
    let bytes = wat::parse_str("(component)").unwrap();
    fs::write(&path, &bytes).unwrap();
    let digest = Digest([7; 32]);
    let found = Digest(Sha256::digest(&bytes).into());
    let error = read(digest, &path, &|_| {}).err().unwrap();
    let expected =
        format!("component {digest} is changed in the data directory: its file has the digest {found}");
    assert_eq!(error.to_string(), expected);
}
