//! Features of the engine that guests do not get: what holds them apart was not made for these.
//!
//! A page of a memory becomes the process's own only in a fault of the one thread that runs the guest, which
//! shared memories and threads would break. Memories end at whole pages of the system. And no list of other
//! objects of guests is taken down with an instance, as garbage collection, exceptions and suspended stacks
//! would need.

use wasmtime::{Config, Engine, Module, WasmFeatures};

/// The features that are off.
const ABSENT: WasmFeatures = WasmFeatures::THREADS
    .union(WasmFeatures::SHARED_EVERYTHING_THREADS)
    .union(WasmFeatures::GC)
    .union(WasmFeatures::FUNCTION_REFERENCES)
    .union(WasmFeatures::EXCEPTIONS)
    .union(WasmFeatures::LEGACY_EXCEPTIONS)
    .union(WasmFeatures::STACK_SWITCHING)
    .union(WasmFeatures::CUSTOM_PAGE_SIZES)
    .union(WasmFeatures::CM_THREADING)
    .union(WasmFeatures::CM_GC);

/// Modules that use one of them, behind the header that all modules have.
const MODULES: [(&str, &[u8]); 7] = [
    ("shared memories", &[5, 4, 1, 3, 1, 1]),
    ("threads", &[1, 4, 1, 0x60, 0, 0, 3, 2, 1, 0, 10, 7, 1, 5, 0, 0xfe, 3, 0, 0x0b]),
    ("garbage collection", &[1, 3, 1, 0x5f, 0]),
    ("typed function references", &[1, 9, 2, 0x60, 0, 0, 0x60, 1, 0x64, 0, 0]),
    ("exceptions", &[1, 4, 1, 0x60, 0, 0, 13, 3, 1, 0, 0]),
    ("custom page sizes", &[5, 4, 1, 8, 0, 0]),
    ("stack switching", &[1, 6, 2, 0x60, 0, 0, 0x5d, 0]),
];

const HEADER: &[u8] = b"\0asm\x01\0\0\0";

/// Switches the features off.
pub(super) fn switch_off(config: &mut Config) {
    config.wasm_features(ABSENT, false).shared_memory(false);
}

/// A feature that `engine` takes all the same; `None` if it takes none.
pub(super) fn found(engine: &Engine) -> Option<&'static str> {
    let taken = |module: &[u8]| Module::validate(engine, &[HEADER, module].concat()).is_ok();
    MODULES.into_iter().find_map(|(name, module)| taken(module).then_some(name))
}

#[cfg(test)]
mod tests;
