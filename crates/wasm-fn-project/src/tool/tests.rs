//! Facts about tools that a build needs, and how they are named when they are missing.

use std::fs;

use super::{diagnose, first_missing, missing};

#[test]
fn first_program_that_is_not_there_is_named() {
    let folder = tempfile::tempdir().unwrap();
    for program in ["cargo", "sh"] {
        fs::write(folder.path().join(program), "").unwrap();
    }
    let path = folder.path().as_os_str();
    for (command, program) in [
        ("cargo build --release", None),
        ("GOOS=wasip1 GOARCH=wasm go build -o dist/function.wasm .", Some("go")),
        ("cd src && npm install && cargo build", Some("npm")),
        ("sh build.sh | tee log", Some("tee")),
        ("./build.sh", None),
        ("\"$CC\" -o x", None),
        ("", None),
    ] {
        let expected = program.map(missing);
        assert_eq!(first_missing(command, path), expected, "{command}");
    }
}

#[test]
fn output_of_a_failed_build_tells_what_is_missing() {
    let rustc = "error[E0463]: can't find crate for `core`\n  |\n  = note: the `wasm32-wasip2` target may not be installed\n  = help: consider downloading\n";
    let found = diagnose(Some(101), rustc).unwrap();
    assert_eq!(found.what, "target `wasm32-wasip2` of Rust");
    assert_eq!(found.install, "run `rustup target add wasm32-wasip2`");
    for (code, output, what) in [
        (127, "sh: 1: zig: not found\n", Some("program `zig`")),
        (127, "zig: not found\n", Some("program `zig`")),
        (127, "bash: line 1: tinygo: command not found\n", Some("program `tinygo`")),
        (1, "sh: 1: zig: not found\n", None),
        (
            1,
            "The virtual environment was not created because ensurepip is not available.",
            Some("module `venv` of Python"),
        ),
        (1, "src/main.c:3: error: expected ';'\n", None),
    ] {
        let found = diagnose(Some(code), output).map(|tool| tool.what);
        assert_eq!(found.as_deref(), what, "{output}");
    }
}
