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

/// A command module that reads its input to the end and answers `read` then.
pub(crate) fn reader() -> Vec<u8> {
    const TEXT: &[u8] = b"Content-Type: text/plain\n\nread\n";
    let i32_const = |value: u8| [0x41, value];
    let call = |fd: u8, vector: u8, function: u8| {
        let arguments = [i32_const(fd), i32_const(vector), i32_const(1), i32_const(8)].concat();
        // Whatever it returns is dropped.
        [&arguments[..], &[0x10, function, 0x1a]].concat()
    };
    let types = section(1, &[2, 0x60, 4, 0x7f, 0x7f, 0x7f, 0x7f, 1, 0x7f, 0x60, 0, 0]);
    let import = |name: &[u8]| [&*counted(b"wasi_snapshot_preview1"), &*counted(name), &[0, 0]].concat();
    let imports = section(2, &[&[2], &*import(b"fd_read"), &*import(b"fd_write")].concat());
    let (functions, memory) = (section(3, &[1, 1]), section(5, &[1, 0, 1]));
    let exports = [&[2], &*counted(b"_start"), &[0, 2], &*counted(b"memory"), &[2, 0]].concat();
    // Reads again as long as something was read.
    let again = [&[0x03, 0x40], &*call(0, 0, 0), &i32_const(8), &[0x28, 2, 0, 0x0d, 0, 0x0b]].concat();
    let body = [&[0], &*again, &*call(1, 16, 1), &[0x0b]].concat();
    let code = section(10, &[&[1], &*counted(&body)].concat());
    // Where it reads to: 1024 bytes at 1024. What it writes lies at 32.
    let data = |at: u8, bytes: &[u8]| [&[0], &i32_const(at)[..], &[0x0b], &*counted(bytes)].concat();
    let length = u8::try_from(TEXT.len()).expect("it is short");
    let vectors = [data(0, &[0, 4, 0, 0, 0, 4, 0, 0]), data(16, &[32, 0, 0, 0, length, 0, 0, 0])].concat();
    let datas = section(11, &[&[3], &*vectors, &*data(32, TEXT)].concat());
    [&MODULE[..], &types, &imports, &functions, &memory, &section(7, &exports), &code, &datas].concat()
}
