//! Facts about builds: what they print, how they end, and tools that are missing.

use super::{BuildCommand, BuildError};

/// Runs `line`; gives how it ended, and its output.
fn run(line: &str, development: bool) -> (Result<(), BuildError>, String) {
    let folder = tempfile::tempdir().unwrap();
    let command = BuildCommand { line: line.to_owned(), folder: folder.path().to_owned(), development };
    let mut said = Vec::new();
    let result = command.run(|piece| said.extend_from_slice(piece));
    (result, String::from_utf8(said).unwrap())
}

#[test]
fn output_of_both_streams_comes_in_order() {
    let (result, said) = run("echo one; echo two >&2; echo three $WASM_FN_DEV", false);
    assert!(result.is_ok());
    assert_eq!(said, "one\ntwo\nthree\n");
    assert_eq!(run("echo $WASM_FN_DEV", true).1, "1\n");
}

#[test]
fn failure_says_how_it_ended_and_what_is_missing() {
    let (result, said) = run("echo broken; exit 3", false);
    assert!(said.contains("broken") && result.unwrap_err().to_string().contains("exit status: 3"));
    let (result, _) = run("no-such-compiler --version", false);
    let error = result.unwrap_err();
    assert!(
        matches!(&error, BuildError::Missing(tool) if tool.what == "program `no-such-compiler`"),
        "{error}"
    );
    // Only the script knows what it calls.
    let (result, _) = run("eval 'zig-of-nobody cc'", false);
    let error = result.unwrap_err();
    assert!(matches!(&error, BuildError::Missing(tool) if tool.what == "program `zig-of-nobody`"), "{error}");
}
