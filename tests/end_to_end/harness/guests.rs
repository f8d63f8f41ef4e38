//! The guests: the prebuilt ones, and the smallest files that are wrong in one way each.

use std::path::{Path, PathBuf};

/// Where the prebuilt guest `name` lies.
pub(crate) fn path(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../guest-examples/prebuilt");
    folder.join(name).with_extension("wasm")
}

/// The bytes of the prebuilt guest `name`.
pub(crate) fn bytes(name: &str) -> Vec<u8> {
    std::fs::read(path(name)).expect("the prebuilt guests are in the repository")
}

/// The magic number and version of a core module (WebAssembly core specification, section 5.5.16).
const MODULE: [u8; 8] = *b"\0asm\x01\0\0\0";

/// The preamble of a component (component model, Binary.md).
const COMPONENT: [u8; 8] = *b"\0asm\x0d\0\x01\0";

/// A length and what it is the length of; short enough for one byte of LEB128.
fn counted(bytes: &[u8]) -> Vec<u8> {
    let length = u8::try_from(bytes.len()).ok().filter(|&length| length < 128);
    [&[length.expect("these files are tiny")], bytes].concat()
}

fn section(id: u8, contents: &[u8]) -> Vec<u8> {
    [&[id], &*counted(contents)].concat()
}

/// A component that exports `export`, an empty core module, and nothing that could be called.
pub(crate) fn component_without_handler(export: &str) -> Vec<u8> {
    let module = section(1, &MODULE);
    // One export: a plain name, the first core module, no type ascribed.
    let exports = [&[1, 0], &*counted(export.as_bytes()), &[0x00, 0x11, 0, 0]].concat();
    [&COMPONENT[..], &module, &section(11, &exports)].concat()
}

/// A component that imports the empty interface `import` and passes it on as a request handler.
pub(crate) fn component_importing(import: &str) -> Vec<u8> {
    let types = section(7, &[1, 0x42, 0]);
    let imports = [&[1, 0], &*counted(import.as_bytes()), &[0x05, 0]].concat();
    let handler = "wasi:http/incoming-handler@0.2.0";
    let exports = [&[1, 0], &*counted(handler.as_bytes()), &[0x05, 0, 0]].concat();
    [&COMPONENT[..], &types, &section(10, &imports), &section(11, &exports)].concat()
}

/// A command module that imports the function `name` of `module`.
pub(crate) fn module_importing(module: &str, name: &str) -> Vec<u8> {
    let types = section(1, &[1, 0x60, 0, 0]);
    let import = [&[1], &*counted(module.as_bytes()), &counted(name.as_bytes()), &[0, 0]].concat();
    let functions = section(3, &[1, 0]);
    let exports = [&[1], &*counted(b"_start"), &[0, 1]].concat();
    let code = section(10, &[1, 2, 0, 0x0b]);
    [&MODULE[..], &types, &section(2, &import), &functions, &section(7, &exports), &code].concat()
}
