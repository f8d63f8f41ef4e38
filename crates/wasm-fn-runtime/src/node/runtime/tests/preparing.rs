//! Components that are prepared, kept as artefacts, or refused.

use super::*;

#[tokio::test]
async fn artefact_survives_a_restart_and_a_forged_one_is_refused() {
    let node = Node::start();
    let bytes = prebuilt("hello-v1");
    assert!(!node.prepare(&bytes, &FunctionConfig::default()).await.unwrap().cached);
    let again = start(node.dir.path(), 64);
    let digest = node.add(&bytes);
    // A source that is not what it was is not looked at.
    let source = node.dir.path().join("blobs").join(digest.to_string());
    std::fs::write(&source, b"anything").unwrap();
    let prepared =
        again.prepare(digest, &FunctionConfig::default(), SecretSet::none(), Arc::new(|_| {})).await.unwrap();
    assert_eq!((prepared.cached, prepared.kind), (true, Kind::Http02));
    std::fs::write(&source, &bytes).unwrap();

    let artifacts = std::fs::read_dir(node.dir.path().join("artifacts")).unwrap();
    let code = artifacts
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().unwrap() == "cwasm")
        .unwrap();
    let mut forged = std::fs::read(&code).unwrap();
    *forged.last_mut().unwrap() ^= 1;
    std::fs::remove_file(&code).unwrap();
    std::fs::write(&code, forged).unwrap();
    let third = start(node.dir.path(), 64);
    let prepared =
        third.prepare(digest, &FunctionConfig::default(), SecretSet::none(), Arc::new(|_| {})).await.unwrap();
    assert!(!prepared.cached);
}

#[tokio::test]
async fn node_with_another_engine_compiles_again_and_serves() {
    let node = Node::start();
    let bytes = prebuilt("hello-v1");
    let digest = node.add(&bytes);
    node.prepare(&bytes, &FunctionConfig::default()).await.unwrap();
    let folder = node.dir.path().join("artifacts");
    let files = || std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
    // As if it came from an engine with another hash, which is a part of the name.
    for path in files() {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let mut parts: Vec<_> = name.splitn(3, '-').collect();
        parts[1] = "0123456789abcdef";
        std::fs::rename(&path, folder.join(parts.join("-"))).unwrap();
    }
    let before = files();

    let upgraded = Node { runtime: start(node.dir.path(), 64), dir: node.dir };
    assert_eq!(
        upgraded.runtime.missing(vec![digest]).await,
        [digest],
        "it has to be compiled before it serves"
    );
    assert!(!upgraded.prepare(&bytes, &FunctionConfig::default()).await.unwrap().cached);
    assert_eq!(ok(&upgraded.add_version(&bytes), "/").await, "hello from v1\n");
    // The other engine finds its code again, should the node go back.
    assert!(before.iter().all(|path| path.exists()));
}

#[tokio::test]
async fn bytes_that_are_no_function_are_refused_with_what_was_found() {
    let node = Node::start();
    let refused = |bytes: Vec<u8>| {
        let node = &node;
        async move { node.prepare(&bytes, &FunctionConfig::default()).await.unwrap_err().to_string() }
    };
    let message = refused(b"#!/bin/sh".to_vec()).await;
    assert!(message.contains("23 21 2f 62") && message.contains("00 61 73 6d"), "{message}");
    let mut truncated = prebuilt("hello-v1");
    truncated.truncate(truncated.len() / 2);
    assert!(refused(truncated).await.contains("malformed WebAssembly"));
    let message = refused(b"\0asm\x01\0\0\0".to_vec()).await;
    assert!(message.contains("found none") && message.contains("incoming-handler"), "{message}");
}

#[tokio::test]
async fn imports_that_are_not_offered_are_named() {
    // (module (import "env" "secret" (func)) (func (export "_start")))
    let module = b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x02\x0e\x01\x03env\x06secret\0\0\
        \x03\x02\x01\0\x07\x0a\x01\x06_start\0\x01\x0a\x04\x01\x02\0\x0b";
    let node = Node::start();
    let error = node.prepare(module, &FunctionConfig::default()).await.unwrap_err();
    let PrepareError::Kind(KindError::Imports { missing }) = error else { panic!("{error:?}") };
    assert_eq!(missing, ["env/secret"]);
}

#[tokio::test]
async fn component_that_needs_more_memory_than_its_limit_is_refused() {
    let node = Node::start();
    let config = limits(|limits| limits.memory_bytes = 64 << 10);
    let error = node.prepare(&prebuilt("hello-v1"), &config).await.unwrap_err();
    assert!(matches!(error, PrepareError::Memory { limit_bytes: 65536 }), "{error:?}");
}

#[tokio::test]
async fn guest_that_computes_for_ever_before_it_is_called_is_refused_in_time() {
    // (module (memory (export "memory") 1) (func $loop (loop (br 0))) (func (export "_start")) (start $loop))
    let module = b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x03\x03\x02\0\0\x05\x03\x01\0\x01\
        \x07\x13\x02\x06memory\x02\0\x06_start\0\x01\x08\x01\0\x0a\x0c\x02\x07\0\x03\x40\x0c\0\
        \x0b\x0b\x02\0\x0b";
    let node = Node::start();
    let config = limits(|limits| limits.timeout = Duration::from_millis(100));
    let error = node.prepare(module, &config).await.unwrap_err();
    assert!(matches!(error, PrepareError::Start { .. }), "{error:?}");
}

#[tokio::test]
async fn handler_of_another_type_is_refused_however_often_it_is_tried() {
    let node = Node::start();
    let text = r#"(component
        (core module $m (func (export "handle") (param i32)))
        (core instance $i (instantiate $m))
        (func $handle (param "number" u32) (canon lift (core func $i "handle")))
        (instance $handler (export "handle" (func $handle)))
        (export "wasi:http/incoming-handler@0.2.0" (instance $handler)))"#;
    for _ in 0..2 {
        let error =
            node.prepare(&wat::parse_str(text).unwrap(), &FunctionConfig::default()).await.unwrap_err();
        let PrepareError::Start { reason } = error else { panic!("{error:?}") };
        assert!(reason.contains("expected"), "{reason}");
    }
}

#[tokio::test]
async fn component_of_more_parts_than_an_instance_may_have_is_refused() {
    let node = Node::start();
    let guest = |parts: &str, instances: usize| {
        let instances = "(core instance (instantiate $m))".repeat(instances);
        let text = format!(
            r#"(component
                (core module $m {parts} (func (export "handle") (param i32 i32)))
                (core instance $i (instantiate $m)) {instances}
                (import "wasi:http/types@0.2.0" (instance $types
                    (export "incoming-request" (type (sub resource)))
                    (export "response-outparam" (type (sub resource)))))
                (alias export $types "incoming-request" (type $request))
                (alias export $types "response-outparam" (type $out))
                (func $handle (param "request" (own $request)) (param "response-out" (own $out))
                    (canon lift (core func $i "handle")))
                (instance $handler (export "handle" (func $handle)))
                (export "wasi:http/incoming-handler@0.2.0" (instance $handler)))"#
        );
        wat::parse_str(text).unwrap()
    };
    for (parts, few, many) in [("", 199, 200), ("(memory 1)", 7, 8), ("(table 1 funcref)", 63, 64)] {
        let allowed = node.prepare(&guest(parts, few), &FunctionConfig::default()).await;
        assert!(allowed.is_ok(), "{parts} {few}: {allowed:?}");
        let refused = node.prepare(&guest(parts, many), &FunctionConfig::default()).await.unwrap_err();
        assert!(matches!(refused, PrepareError::Start { .. }), "{parts} {many}: {refused:?}");
    }
    for (elements, is_allowed) in [(100_000, true), (100_001, false)] {
        let table = format!("(table {elements} funcref)");
        let prepared = node.prepare(&guest(&table, 0), &FunctionConfig::default()).await;
        assert_eq!(prepared.is_ok(), is_allowed, "{elements}: {prepared:?}");
    }
}

/// A component of three core modules with this many tables. An instance may have 64, and linking adds one.
fn with_tables(tables: usize) -> Vec<u8> {
    let tables = "(table 1 funcref)".repeat(tables);
    let text = format!(
        r#"(component
            (import "wasi:http/types@0.2.0" (instance $types
                (export "incoming-request" (type (sub resource)))
                (export "response-outparam" (type (sub resource)))))
            (import "wasi:cli/environment@0.2.0" (instance $environment
                (export "get-environment" (func (result (list (tuple string string)))))))
            (core module $memory
                (memory (export "memory") 1)
                (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024)))
            (core instance $memory (instantiate $memory))
            (core func $get (canon lower (func $environment "get-environment")
                (memory $memory "memory") (realloc (func $memory "realloc"))))
            (core module $program
                (import "" "get" (func $get (param i32)))
                {tables}
                (func (export "handle") (param i32 i32) (call $get (i32.const 8)) (drop (table.size 0))))
            (core instance $program (instantiate $program
                (with "" (instance (export "get" (func $get))))))
            (core module $empty)
            (core instance (instantiate $empty))
            (alias export $types "incoming-request" (type $request))
            (alias export $types "response-outparam" (type $out))
            (func $handle (param "request" (own $request)) (param "response-out" (own $out))
                (canon lift (core func $program "handle")))
            (instance $handler (export "handle" (func $handle)))
            (export "wasi:http/incoming-handler@0.2.0" (instance $handler)))"#
    );
    wat::parse_str(text).unwrap()
}

#[tokio::test]
async fn component_that_fails_linked_runs_as_it_was_uploaded_from_then_on() {
    let node = Node::start();
    // Linked, it has one table more, and exceeds the limit.
    let bytes = with_tables(64);
    assert!(wasm_fn_fuse::fuse(&bytes).is_ok());
    let version = node.add_version(&bytes);
    version.load().await.unwrap();
    let linked = get(&version, "/").await.unwrap_err();
    assert!(linked.to_string().contains("table"), "{linked}");
    node.prepare(&bytes, &FunctionConfig::default()).await.unwrap();
    // Its handler gives no answer, but it runs.
    let runs = |fault: &Fault| matches!(fault, Fault::InvalidResponse { .. });
    assert!(runs(&get(&version, "/").await.unwrap_err()));

    // So it does after a restart, and when it has to be compiled again.
    let again = Node { runtime: start(node.dir.path(), 64), dir: node.dir };
    assert!(again.prepare(&bytes, &FunctionConfig::default()).await.unwrap().cached);
    std::fs::remove_dir_all(again.dir.path().join("artifacts")).unwrap();
    let third = Node { runtime: start(again.dir.path(), 64), dir: again.dir };
    assert!(runs(&get(&third.add_version(&bytes), "/").await.unwrap_err()));
}

#[tokio::test]
async fn component_that_fails_as_it_was_uploaded_too_is_refused_for_that() {
    let node = Node::start();
    let bytes = with_tables(65);
    let error = node.prepare(&bytes, &FunctionConfig::default()).await.unwrap_err();
    let PrepareError::Start { reason } = error else { panic!("{error:?}") };
    assert!(reason.contains("at 65"), "{reason}");
}

#[tokio::test]
async fn program_that_tells_javascript_of_its_memory_runs() {
    let text = r#"(module
        (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
        (import "env" "emscripten_notify_memory_growth" (func $grown (param i32)))
        (memory (export "memory") 1)
        (data (i32.const 64) "content-type: text/plain\0a\0agrown\0a")
        (func (export "_start")
            (drop (memory.grow (i32.const 1)))
            (call $grown (i32.const 0))
            (i32.store (i32.const 0) (i32.const 64))
            (i32.store (i32.const 4) (i32.const 32))
            (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"#;
    let node = Node::start();
    let bytes = wat::parse_str(text).unwrap();
    assert_eq!(node.prepare(&bytes, &FunctionConfig::default()).await.unwrap().kind, Kind::Command);
    assert_eq!(ok(&node.add_version(&bytes), "/").await, "grown\n");
}

#[tokio::test]
async fn what_the_linker_does_not_find_is_told_in_words_for_people() {
    let node = Node::start();
    let importing = |interface: &str, function: &str| {
        let text = format!(
            r#"(component
                (import {interface:?} (instance (export {function:?} (func (param "a" u8)))))
                (instance $none)
                (export "wasi:cli/run@0.2.0" (instance $none)))"#
        );
        wat::parse_str(text).unwrap()
    };
    for (function, expected) in [
        ("teleport", "imports `teleport` of wasi:random/random@0.2.0, which is not offered"),
        (
            "get-random-u64",
            "imports `get-random-u64` of wasi:random/random@0.2.0 with another type than is offered",
        ),
    ] {
        let bytes = importing("wasi:random/random@0.2.0", function);
        let error = node.prepare(&bytes, &FunctionConfig::default()).await.unwrap_err().to_string();
        assert!(error.contains(expected) && !error.contains("linker"), "{error}");
    }
}

#[tokio::test]
async fn component_with_features_that_the_engine_does_not_run_is_not_called_broken() {
    let node = Node::start();
    let text = r#"(component
        (core module (type (struct (field i32))))
        (instance $none)
        (export "wasi:cli/run@0.2.0" (instance $none)))"#;
    let error = node.prepare(&wat::parse_str(text).unwrap(), &FunctionConfig::default()).await.unwrap_err();
    assert!(matches!(error, PrepareError::Unsupported { .. }), "{error}");
}

#[tokio::test]
async fn program_whose_allocator_can_print_is_linked_with_its_adapter() {
    // The adapter takes its stack from `cabi_realloc` when it starts, which could print if that failed.
    let text = r#"(module
        (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 1)
        (data (i32.const 64) "content-type: text/plain\0a\0aprinted")
        (func $print
            (i32.store (i32.const 0) (i32.const 64))
            (i32.store (i32.const 4) (i32.const 33))
            (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))
        (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
            (local $page i32)
            (local.set $page (memory.grow (i32.const 1)))
            (if (i32.lt_s (local.get $page) (i32.const 0)) (then (call $print) (unreachable)))
            (i32.mul (local.get $page) (i32.const 65536)))
        (func (export "_start") (call $print)))"#;
    let node = Node::start();
    let version = node.add_version(&wat::parse_str(text).unwrap());
    assert_eq!(ok(&version, "/").await, "printed");
    assert!(version.code.get().as_ref().unwrap().is_fused);
}
