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
    code::{engine::slot_cost, linker::end},
    fault::trap,
};

/// A component of four core modules that calls the host and itself in every way there is.
const LINKED: &str = include_str!("../../../../wasm-fn-fuse/src/fuse/linked.wat");

/// What a guest answers, or its trap and the fingerprint of that, and what it tells the host meanwhile.
type Answer = (Result<u32, (Trap, u64)>, Vec<(String, u32)>);

/// The answer of [`LINKED`] or of a variant of it.
fn answer(component: &[u8]) -> Answer {
    let engine = Engine::default();
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
    let instance = linker.instantiate(&mut store, &component).unwrap();
    let run = instance.get_typed_func::<(), (u32,)>(&mut store, "run").unwrap();
    let answer = run.call(&mut store, ()).map(|(number,)| number);
    let described = |error: wasmtime::Error| {
        let described = trap::trap(&error, &trap::reason(&error));
        (trap::kind(&error).unwrap(), described.fingerprint)
    };
    (answer.map_err(described), store.into_data())
}

#[test]
fn fused_or_not_a_component_does_the_same() {
    let component = wat::parse_str(LINKED).unwrap();
    let fused = fused(Digest([0; 32]), &component).unwrap();
    let expected = (Ok(87), vec![("hello Ann".to_owned(), 507)]);
    assert_eq!(answer(&component), expected);
    assert_eq!(answer(&fused), expected);
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
                assert_eq!(answer(&fused), (trap, Vec::new()), "{before} {call}");
            }
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
    let loader = Loader::new(Engines::new(&plan).unwrap(), dir.path()).unwrap();
    let prebuilt = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../guest-examples/prebuilt");
    for guest in ["hello-v1", "hello-p3", "fetch", "cgi", "c-hello"] {
        let bytes = fs::read(prebuilt.join(guest).with_extension("wasm")).unwrap();
        let recognised = kind::recognise(&bytes).unwrap();
        let (kind, digest) = (recognised.kind, Digest([0; 32]));
        let bytes = kind::into_component(&recognised, bytes).unwrap();
        let source = ComponentSource { digest, kind, fused: fused(digest, &bytes), bytes };
        let tools = if recognised.concurrent { &loader.concurrent } else { &loader.sequential };
        assert!(tools.compile_fused(&source, guest).is_some(), "{guest}");
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
