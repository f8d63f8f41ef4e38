//! Facts about telling guests apart, and about what is said of those that cannot run.

mod fuzzing;

use wasm_fn_pool::PoolPlan;
use wasmtime::component::Component;

use super::*;
use crate::code::{
    engine::{Calls, Engines, slot_cost},
    linker::linker,
};

#[test]
fn offered_interfaces_are_recognised() {
    for (name, offered) in [
        ("wasi:http/types@0.2.0", true),
        ("wasi:http/types@0.2.12", true),
        ("wasi:cli/environment@0.3.0", true),
        ("wasi:http/client@0.3.0", true),
        ("wasi:http/client@0.2.0", false),
        ("wasi:http/types@0.1.0", false),
        ("wasi:http/types@0.3.0-rc-2025-09-16", false),
        ("wasi:http/types@0.2.0-draft", false),
        ("wasi:http/types@0.2.x", false),
        ("wasi:http/types@0.2", false),
        ("wasi:http/types", false),
        ("wasi:http/handler@0.3.0", false),
        ("wasi:http/incoming-handler@0.2.0", false),
        ("wasi:clocks/timezone@0.2.0", false),
        ("wasi:keyvalue/store@0.2.0", false),
        ("wasi:keyvalue/store@0.2.0-draft", true),
        ("wasi:keyvalue/atomics@0.2.0-draft2", true),
        ("wasi:keyvalue/batch@0.2.0-draft2", true),
        ("wasi:keyvalue/watcher@0.2.0-draft", false),
        ("wasi:keyvalue/store@0.2.0-draft3", false),
        ("wasi:config/store@0.2.0-rc.1", true),
        ("wasi:config/store@0.2.0-draft", false),
        ("wasi:config/runtime@0.2.0-rc.1", false),
        ("acme:secrets/vault@1.0.0", false),
        ("greet", false),
    ] {
        assert_eq!(offer::is_offered(name), offered, "{name}");
    }
}

#[test]
fn offered_interfaces_are_those_of_the_linker() {
    const FUNCTION: &str = "(func (param \"of-another-type\" u8))";
    const RESOURCE: &str = "(type (sub resource))";
    let address_bytes = slot_cost().address_bytes;
    let plan = PoolPlan {
        instances_max: 1,
        running_max: 1,
        memory_max_bytes: 1 << 20,
        keep_bytes: 0,
        address_bytes,
    };
    // It starts the threads that compile, which the whole process shares.
    let _compiler = crate::code::compiler::Compiler::new();
    let engine = Engines::new(&plan, crate::IsolationOptions::USUAL).unwrap().concurrent;
    let linker = linker(&engine, Calls::Concurrent).unwrap();
    for (interface, item, ty) in [
        ("wasi:cli/environment@0.2.0", "get-arguments", FUNCTION),
        ("wasi:cli/environment@0.3.0", "get-arguments", FUNCTION),
        ("wasi:cli/exit@0.2.0", "exit", FUNCTION),
        ("wasi:cli/exit@0.3.0", "exit", FUNCTION),
        ("wasi:cli/stdin@0.2.0", "get-stdin", FUNCTION),
        ("wasi:cli/stdin@0.3.0", "read-via-stream", FUNCTION),
        ("wasi:cli/stdout@0.2.0", "get-stdout", FUNCTION),
        ("wasi:cli/stdout@0.3.0", "write-via-stream", FUNCTION),
        ("wasi:cli/stderr@0.2.0", "get-stderr", FUNCTION),
        ("wasi:cli/stderr@0.3.0", "write-via-stream", FUNCTION),
        ("wasi:cli/terminal-input@0.2.0", "terminal-input", RESOURCE),
        ("wasi:cli/terminal-input@0.3.0", "terminal-input", RESOURCE),
        ("wasi:cli/terminal-output@0.2.0", "terminal-output", RESOURCE),
        ("wasi:cli/terminal-output@0.3.0", "terminal-output", RESOURCE),
        ("wasi:cli/terminal-stdin@0.2.0", "get-terminal-stdin", FUNCTION),
        ("wasi:cli/terminal-stdin@0.3.0", "get-terminal-stdin", FUNCTION),
        ("wasi:cli/terminal-stdout@0.2.0", "get-terminal-stdout", FUNCTION),
        ("wasi:cli/terminal-stdout@0.3.0", "get-terminal-stdout", FUNCTION),
        ("wasi:cli/terminal-stderr@0.2.0", "get-terminal-stderr", FUNCTION),
        ("wasi:cli/terminal-stderr@0.3.0", "get-terminal-stderr", FUNCTION),
        ("wasi:config/store@0.2.0-rc.1", "get", FUNCTION),
        ("wasi:config/store@0.2.0-draft", "get", FUNCTION),
        ("wasi:clocks/monotonic-clock@0.2.0", "now", FUNCTION),
        ("wasi:clocks/monotonic-clock@0.3.0", "now", FUNCTION),
        ("wasi:clocks/wall-clock@0.2.0", "now", FUNCTION),
        ("wasi:clocks/system-clock@0.3.0", "now", FUNCTION),
        ("wasi:clocks/timezone@0.2.0", "display", FUNCTION),
        ("wasi:clocks/timezone@0.3.0", "iana-id", FUNCTION),
        ("wasi:filesystem/preopens@0.2.0", "get-directories", FUNCTION),
        ("wasi:filesystem/preopens@0.3.0", "get-directories", FUNCTION),
        ("wasi:filesystem/types@0.2.0", "descriptor", RESOURCE),
        ("wasi:filesystem/types@0.3.0", "descriptor", RESOURCE),
        ("wasi:http/types@0.2.0", "fields", RESOURCE),
        ("wasi:http/types@0.3.0", "fields", RESOURCE),
        ("wasi:http/outgoing-handler@0.2.0", "handle", FUNCTION),
        ("wasi:http/client@0.3.0", "send", FUNCTION),
        ("wasi:http/incoming-handler@0.2.0", "handle", FUNCTION),
        ("wasi:http/handler@0.3.0", "handle", FUNCTION),
        ("wasi:io/error@0.2.0", "error", RESOURCE),
        ("wasi:io/poll@0.2.0", "poll", FUNCTION),
        ("wasi:io/streams@0.2.0", "input-stream", RESOURCE),
        ("wasi:io/poll@0.3.0", "poll", FUNCTION),
        ("wasi:random/random@0.2.0", "get-random-u64", FUNCTION),
        ("wasi:random/random@0.3.0", "get-random-u64", FUNCTION),
        ("wasi:random/insecure@0.2.0", "get-insecure-random-u64", FUNCTION),
        ("wasi:random/insecure@0.3.0", "get-insecure-random-u64", FUNCTION),
        ("wasi:random/insecure-seed@0.2.0", "insecure-seed", FUNCTION),
        ("wasi:random/insecure-seed@0.3.0", "get-insecure-seed", FUNCTION),
        ("wasi:sockets/instance-network@0.2.0", "instance-network", FUNCTION),
        ("wasi:sockets/ip-name-lookup@0.2.0", "resolve-addresses", FUNCTION),
        ("wasi:sockets/ip-name-lookup@0.3.0", "resolve-addresses", FUNCTION),
        ("wasi:sockets/network@0.2.0", "network", RESOURCE),
        ("wasi:sockets/tcp@0.2.0", "tcp-socket", RESOURCE),
        ("wasi:sockets/tcp@0.3.0", "tcp-socket", RESOURCE),
        ("wasi:sockets/tcp-create-socket@0.2.0", "create-tcp-socket", FUNCTION),
        ("wasi:sockets/types@0.3.0", "tcp-socket", RESOURCE),
        ("wasi:sockets/udp@0.2.0", "udp-socket", RESOURCE),
        ("wasi:sockets/udp-create-socket@0.2.0", "create-udp-socket", FUNCTION),
        ("wasi:keyvalue/store@0.2.0", "open", FUNCTION),
        ("wasi:keyvalue/store@0.2.0-draft", "open", FUNCTION),
        ("wasi:keyvalue/store@0.2.0-draft", "bucket", RESOURCE),
        ("wasi:keyvalue/atomics@0.2.0-draft", "increment", FUNCTION),
        ("wasi:keyvalue/batch@0.2.0-draft", "set-many", FUNCTION),
        ("wasi:keyvalue/store@0.2.0-draft2", "bucket", RESOURCE),
        ("wasi:keyvalue/atomics@0.2.0-draft2", "cas", RESOURCE),
        ("wasi:keyvalue/batch@0.2.0-draft2", "get-many", FUNCTION),
        ("wasi:keyvalue/watcher@0.2.0-draft2", "on-set", FUNCTION),
    ] {
        let text = format!("(component (import {interface:?} (instance (export {item:?} {ty}))))");
        let component = Component::new(&engine, wat::parse_str(text).unwrap()).unwrap();
        let missing = match linker.instantiate_pre(&component) {
            Ok(_) => false,
            Err(error) => format!("{error:#}").contains("implementation is missing"),
        };
        assert_eq!(!missing, offer::is_offered(interface), "{interface}");
    }
}

#[test]
fn long_lists_are_cut() {
    let names: Vec<_> = (0..20).map(|n| format!("n{n}")).collect();
    assert!(list(&names).ends_with("n11 and 8 more"));
    assert_eq!(list(&[]), "none");
}

/// Why `text` is refused, and the help.
fn refused(text: &str) -> (String, &'static str) {
    let bytes = wat::parse_str(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    let refused = recognise(&bytes).and_then(|recognised| into_component(&recognised, bytes));
    let error = refused.map(drop).expect_err(text);
    (error.to_string(), error.help())
}

const START: &str = "(func (export \"_start\"))";
const MEMORY: &str = "(memory (export \"memory\") 1)";

#[test]
fn modules_that_are_no_commands_are_refused_in_words_for_people() {
    for (module, facts) in [
        (START.to_owned(), &["no memory", "a memory that is exported as `memory`"][..]),
        (format!("(memory 1) {START}"), &["a memory that is not exported as `memory`"]),
        (format!("(memory (export \"mem\") 1) {START}"), &["a memory that is not exported as `memory`"]),
        (format!("(func (export \"memory\")) {START}"), &["an export `memory` that is not a memory"]),
        (format!("(memory (export \"memory\") i64 1) {START}"), &["found a 64-bit memory"]),
        (format!("(memory (export \"memory\") 1 1 shared) {START}"), &["a memory that threads share"]),
        (
            format!("(memory (export \"memory\") 65536 (pagesize 1)) {START}"),
            &["a memory with pages of another size"],
        ),
        (
            format!("{MEMORY} (func (export \"_start\") (param i32 i64) (result i32) (i32.const 0))"),
            &["`_start` of type (i32, i64) -> (i32)", "without parameters and results"],
        ),
        (
            format!("{MEMORY} (global (export \"_start\") i32 (i32.const 0))"),
            &["an export `_start` that is not a function"],
        ),
        (format!("{MEMORY} (func (export \"_initialize\"))"), &["a reactor", "`_start`"]),
        (
            format!("{MEMORY} (func (export \"wasi:http/incoming-handler@0.2.0#handle\") (param i32 i32))"),
            &["core module with exports of a component", "wasi:http/incoming-handler@0.2.0#handle"],
        ),
        (
            format!("{MEMORY} (func (export \"main\"))"),
            &["exports no handler", "found memory, main", "_start"],
        ),
        (
            format!("{MEMORY} {START} (func (export \"cabi_realloc\"))"),
            &["cannot run as a WASI command", "does not fit the adapter"],
        ),
    ] {
        let (message, help) = refused(&format!("(module {module})"));
        for fact in facts {
            assert!(message.contains(fact), "{module}: {message}");
        }
        for word in ["malformed", "truncated", "linker"] {
            assert!(!message.contains(word) && !help.contains(word), "{module}: {message} {help}");
        }
    }
}

#[test]
fn all_imports_that_are_not_offered_are_named_together() {
    let (message, _) = refused(&format!(
        r#"(module
            (import "wasi_snapshot_preview1" "fd_teleport" (func))
            (import "wasi_snapshot_preview1" "fd_close" (func (param i32) (result i32)))
            (import "wasi_snapshot_preview1" "fd_read" (func (param i32) (result i32)))
            (import "wasi_snapshot_preview1" "proc_exit" (memory 1))
            (import "wasi_snapshot_preview1" "cabi_import_realloc" (func))
            (import "wasi_unstable" "fd_write" (func))
            (import "env" "magic" (func))
            (import "env" "emscripten_notify_memory_growth" (func))
            {START})"#
    ));
    let expected = "imports what this node does not offer: wasi_snapshot_preview1/fd_teleport, \
        wasi_snapshot_preview1/fd_read of type (i32) -> (i32) (offered as (i32, i32, i32, i32) -> (i32)), \
        wasi_snapshot_preview1/proc_exit that is not a function, wasi_snapshot_preview1/cabi_import_realloc, \
        wasi_unstable/fd_write, env/magic, \
        env/emscripten_notify_memory_growth of type () -> () (offered as (i32) -> ());";
    assert!(message.starts_with(expected), "{message}");
    let (_, help) =
        refused(&format!("(module (import \"wasi_unstable\" \"fd_write\" (func)) {MEMORY} {START})"));
    assert!(help.contains("wasi_snapshot_preview1"), "{help}");
}

#[test]
fn every_function_of_preview_1_is_taken() {
    let functions = [
        ("args_get", "i32 i32"),
        ("args_sizes_get", "i32 i32"),
        ("environ_get", "i32 i32"),
        ("environ_sizes_get", "i32 i32"),
        ("clock_res_get", "i32 i32"),
        ("clock_time_get", "i32 i64 i32"),
        ("fd_advise", "i32 i64 i64 i32"),
        ("fd_allocate", "i32 i64 i64"),
        ("fd_close", "i32"),
        ("fd_datasync", "i32"),
        ("fd_fdstat_get", "i32 i32"),
        ("fd_fdstat_set_flags", "i32 i32"),
        ("fd_fdstat_set_rights", "i32 i64 i64"),
        ("fd_filestat_get", "i32 i32"),
        ("fd_filestat_set_size", "i32 i64"),
        ("fd_filestat_set_times", "i32 i64 i64 i32"),
        ("fd_pread", "i32 i32 i32 i64 i32"),
        ("fd_prestat_get", "i32 i32"),
        ("fd_prestat_dir_name", "i32 i32 i32"),
        ("fd_pwrite", "i32 i32 i32 i64 i32"),
        ("fd_read", "i32 i32 i32 i32"),
        ("fd_readdir", "i32 i32 i32 i64 i32"),
        ("fd_renumber", "i32 i32"),
        ("fd_seek", "i32 i64 i32 i32"),
        ("fd_sync", "i32"),
        ("fd_tell", "i32 i32"),
        ("fd_write", "i32 i32 i32 i32"),
        ("path_create_directory", "i32 i32 i32"),
        ("path_filestat_get", "i32 i32 i32 i32 i32"),
        ("path_filestat_set_times", "i32 i32 i32 i32 i64 i64 i32"),
        ("path_link", "i32 i32 i32 i32 i32 i32 i32"),
        ("path_open", "i32 i32 i32 i32 i32 i64 i64 i32 i32"),
        ("path_readlink", "i32 i32 i32 i32 i32 i32"),
        ("path_remove_directory", "i32 i32 i32"),
        ("path_rename", "i32 i32 i32 i32 i32 i32"),
        ("path_symlink", "i32 i32 i32 i32 i32"),
        ("path_unlink_file", "i32 i32 i32"),
        ("poll_oneoff", "i32 i32 i32 i32"),
        ("proc_raise", "i32"),
        ("sched_yield", ""),
        ("random_get", "i32 i32"),
        ("sock_accept", "i32 i32 i32"),
        ("sock_recv", "i32 i32 i32 i32 i32 i32"),
        ("sock_send", "i32 i32 i32 i32 i32"),
        ("sock_shutdown", "i32 i32"),
    ];
    let imports: String = functions
        .iter()
        .map(|(name, params)| {
            format!("(import \"wasi_snapshot_preview1\" {name:?} (func (param {params}) (result i32)))")
        })
        .collect();
    let exit = "(import \"wasi_snapshot_preview1\" \"proc_exit\" (func (param i32)))";
    let bytes = wat::parse_str(format!("(module {imports} {exit} {MEMORY} {START})")).unwrap();
    let recognised = recognise(&bytes).unwrap();
    assert!(into_component(&recognised, bytes).is_ok());
}

/// A component that imports and exports instances of these names.
fn component(imports: &[&str], exports: &[&str]) -> String {
    let imports: String = imports
        .iter()
        .map(|name| format!("(import {name:?} (instance (export \"handle\" (func))))"))
        .collect();
    let exports: String = exports.iter().map(|name| format!("(export {name:?} (instance $none))")).collect();
    format!("(component {imports} (instance $none) {exports})")
}

#[test]
fn drafts_of_wasi_are_refused_with_what_is_offered() {
    for (import, export) in [
        ("wasi:http/types@0.3.0-rc-2025-09-16", "wasi:http/handler@0.3.0-rc-2025-09-16"),
        ("wasi:http/types@0.3.0-draft", "wasi:http/handler@0.3.0-draft"),
        ("wasi:http/types@0.2.0-rc-2023-11-10", "wasi:http/incoming-handler@0.2.0-rc-2023-11-10"),
        ("wasi:http/types@0.2.0-draft", "wasi:http/incoming-handler@0.2.0-draft"),
    ] {
        for (exports, found) in [
            (&[export][..], export),
            (&["wasi:http/handler@0.3.0"], import),
            (&["wasi:cli/run@0.2.0"], import),
        ] {
            let (message, help) = refused(&component(&[import, "acme:more/of@1.0.0"], exports));
            assert!(message.contains(found) && message.contains("0.2.x"), "{message}");
            assert!(help.contains("build it with released WIT 0.2.x or 0.3.0"), "{message} {help}");
        }
    }
}

#[test]
fn other_versions_of_the_config_store_are_refused_with_the_one_that_is_offered() {
    for import in ["wasi:config/store@0.2.0-draft", "wasi:config/runtime@0.2.0-rc.1"] {
        let (message, help) = refused(&component(&[import], &["wasi:http/incoming-handler@0.2.0"]));
        assert!(message.contains(import), "{message}");
        assert!(help.contains("wasi:config@0.2.0-rc.1"), "{help}");
    }
}

#[test]
fn middleware_is_refused_with_what_to_do() {
    for handler in ["wasi:http/handler@0.3.0", "wasi:http/incoming-handler@0.2.3"] {
        let (message, help) = refused(&component(&[handler], &[handler]));
        assert!(message.contains("does not offer") && message.contains(handler), "{message}");
        assert!(help.contains("middleware") && help.contains("wac plug"), "{help}");
    }
}

#[test]
fn functions_that_a_world_imports_by_themselves_are_named() {
    let text = r#"(component
        (import "greet" (func))
        (import "words" (instance (export "say" (func))))
        (type $byte u8)
        (import "kind" (type (eq $byte)))
        (import "acme:types/words@1.0.0" (instance (type (record (field "word" string))) (export "t" (type (eq 0)))))
        (instance $none) (export "wasi:cli/run@0.2.0" (instance $none)))"#;
    let (message, _) = refused(text);
    assert!(message.starts_with("imports what this node does not offer: greet, words;"), "{message}");
    let types = text.replace("(import \"greet\" (func))", "");
    let types = types.replace("(import \"words\" (instance (export \"say\" (func))))", "");
    assert!(recognise(&wat::parse_str(types).unwrap()).is_ok(), "types need not be provided");
}

#[test]
fn commands_of_0_3_are_refused_by_name() {
    let refused = |export: &str| {
        let text = format!(
            r#"(component (component $c) (instance $i (instantiate $c)) (export "{export}" (instance $i)))"#
        );
        recognise(&wat::parse_str(text).unwrap()).map(|found| found.kind).unwrap_err().to_string()
    };
    let command = refused("wasi:cli/run@0.3.0");
    assert!(command.contains("WASI 0.3 command") && command.contains("wasi:cli/run@0.3.0"), "{command}");
    assert!(command.contains("wasi:http/handler@0.3"), "{command}");
    assert!(refused("wasi:cli/other@0.3.0").starts_with("exports no handler"));
}
