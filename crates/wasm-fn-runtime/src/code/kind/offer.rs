//! What the node offers to guests, by name.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock},
};

use wasmparser::{FuncType, ValType};

use super::outline::{Item, Outline};
use crate::guest_host::{config_store::CONFIG_STORE, keyvalue};

/// The module from which commands import WASI preview 1.
pub(super) const PREVIEW1: &str = "wasi_snapshot_preview1";

/// The module from which programs of Emscripten import what their JavaScript provides.
pub(super) const EMSCRIPTEN: &str = "env";

/// Tells JavaScript that the memory has grown. There is no JavaScript here.
const MEMORY_GROWTH: &str = "env/emscripten_notify_memory_growth";

/// A module with this function, which does nothing:
/// `(module (func (export "emscripten_notify_memory_growth") (param i32)))`
pub(super) const EMSCRIPTEN_ADAPTER: &[u8] = b"\0asm\x01\0\0\0\x01\x05\x01\x60\x01\x7f\0\x03\x02\x01\0\
    \x07\x23\x01\x1femscripten_notify_memory_growth\0\0\x0a\x04\x01\x02\0\x0b";

/// Packages of WASI, and their interfaces at 0.2 and at 0.3.
const INTERFACES: [(&str, &[&str], &[&str]); 7] = [
    ("cli", &CLI, &CLI),
    ("clocks", &["monotonic-clock", "wall-clock"], &["monotonic-clock", "system-clock", "types"]),
    ("filesystem", &["preopens", "types"], &["preopens", "types"]),
    ("http", &["outgoing-handler", "types"], &["client", "types"]),
    ("io", &["error", "poll", "streams"], &[]),
    ("random", &RANDOM, &RANDOM),
    (
        "sockets",
        &[
            "instance-network",
            "ip-name-lookup",
            "network",
            "tcp",
            "tcp-create-socket",
            "udp",
            "udp-create-socket",
        ],
        &["ip-name-lookup", "types"],
    ),
];

/// `types` is new at 0.3.
const CLI: [&str; 11] = [
    "environment",
    "exit",
    "stderr",
    "stdin",
    "stdout",
    "terminal-input",
    "terminal-output",
    "terminal-stderr",
    "terminal-stdin",
    "terminal-stdout",
    "types",
];

const RANDOM: [&str; 3] = ["insecure", "insecure-seed", "random"];

/// What is offered under a name.
pub(super) enum Offer {
    Function(&'static FuncType),
    Nothing,
}

/// The `N` of a released version `0.N.x`; `None` for drafts, candidates and other versions.
pub(super) fn minor(version: &str) -> Option<u32> {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let (minor, patch) = version.strip_prefix("0.")?.split_once('.')?;
    if is_number(minor) && is_number(patch) { minor.parse().ok() } else { None }
}

/// Whether the linker defines this interface. Linking checks the types of its functions.
pub(super) fn is_offered(name: &str) -> bool {
    if name == CONFIG_STORE || keyvalue::is_offered(name) {
        return true;
    }
    let interface = parse(name);
    let offered = interface.and_then(|(package, name, version)| {
        let (_, at_2, at_3) = INTERFACES.iter().find(|(found, ..)| *found == package)?;
        let names = match minor(version)? {
            2 => at_2,
            3 => at_3,
            _ => return None,
        };
        Some(names.contains(&name))
    });
    offered.unwrap_or(false)
}

/// Whether it is an interface of WASI at a version that was not released.
pub(super) fn is_draft(name: &str) -> bool {
    parse(name).is_some_and(|(_, _, version)| version.contains('-'))
}

/// Whether it is an interface of `wasi:config`, which is offered at one version.
pub(super) fn is_config(name: &str) -> bool {
    parse(name).is_some_and(|(package, ..)| package == "config")
}

/// Whether it is an interface of `wasi:keyvalue`, some of which are offered at two versions.
pub(super) fn is_keyvalue(name: &str) -> bool {
    parse(name).is_some_and(|(package, ..)| package == "keyvalue")
}

/// Whether it is the interface of a handler of HTTP, which a component with another behind it imports.
pub(super) fn is_handler(name: &str) -> bool {
    matches!(parse(name), Some(("http", "handler" | "incoming-handler", _)))
}

/// The package, interface and version of a name of WASI.
fn parse(name: &str) -> Option<(&str, &str, &str)> {
    let (package, rest) = name.strip_prefix("wasi:")?.split_once('/')?;
    let (interface, version) = rest.split_once('@')?;
    Some((package, interface, version))
}

/// What is offered to a module that imports `name`.
pub(super) fn to_module(name: &str) -> Offer {
    static MEMORY_GROWTH_TYPE: LazyLock<FuncType> = LazyLock::new(|| FuncType::new([ValType::I32], []));
    if name == MEMORY_GROWTH {
        return Offer::Function(&MEMORY_GROWTH_TYPE);
    }
    let function = name.strip_prefix(PREVIEW1).and_then(|name| name.strip_prefix('/'));
    function.and_then(|name| preview1().get(name)).map_or(Offer::Nothing, |ty| Offer::Function(ty))
}

/// The functions of preview 1 as the adapter has them, by name.
fn preview1() -> &'static HashMap<String, Arc<FuncType>> {
    static FUNCTIONS: LazyLock<HashMap<String, Arc<FuncType>>> = LazyLock::new(|| {
        /// How their names begin. The adapter exports some more, for components.
        const PREFIXES: [&str; 10] =
            ["args_", "clock_", "environ_", "fd_", "path_", "poll_", "proc_", "random_", "sched_", "sock_"];
        let adapter = wasi_preview1_component_adapter_provider::WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER;
        let adapter = Outline::read(adapter).expect("the adapter is a module");
        let function = |(name, item): (String, Item)| match item {
            Item::Function(ty) if PREFIXES.iter().any(|prefix| name.starts_with(prefix)) => Some((name, ty)),
            _ => None,
        };
        adapter.exports.into_iter().filter_map(function).collect()
    });
    &FUNCTIONS
}
