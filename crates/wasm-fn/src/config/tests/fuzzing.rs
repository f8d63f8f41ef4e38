//! Files that are not what was meant: each is read, or refused with the name of the file.

use std::path::Path;

use super::ConfigFile;

#[path = "../../../../../tests/fuzzing.rs"]
mod engine;

#[test]
fn any_file_is_read_or_refused_with_its_name() {
    engine::fuzz("wasm-fn.toml", &engine::corpus("tests/corpus/config"), |case| {
        let text = String::from_utf8_lossy(case);
        if let Err(error) = ConfigFile::parse(Path::new("wasm-fn.toml"), &text) {
            assert!(error.to_string().contains("wasm-fn.toml"), "{error}");
        }
    });
}
