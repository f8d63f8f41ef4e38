//! What is read from the compiler's version, and which profiles are used.

use super::*;

const VERSION: &str = "rustc 1.95.0 (59807616e 2026-04-14)\nbinary: rustc\nhost: x86_64-unknown-linux-gnu\n\
                       release: 1.95.0\nLLVM version: 22.1.2";

#[test]
fn the_compiler_says_for_what_it_builds_and_with_what() {
    let rustc = Rustc::parse(VERSION, "/toolchain".into()).unwrap();
    let host = "x86_64-unknown-linux-gnu".to_owned();
    assert_eq!(rustc, Rustc { host, llvm: "22".to_owned(), sysroot: "/toolchain".into() });
}

#[test]
fn a_compiler_without_llvm_is_refused_by_what_it_says() {
    let error =
        Rustc::parse("rustc 1.95.0\nhost: x86_64-unknown-linux-gnu", "/toolchain".into()).unwrap_err();
    assert!(
        error.to_string().contains("no `LLVM version:` in the compiler's version: rustc 1.95.0"),
        "{error}"
    );
}

#[test]
fn a_tool_of_another_llvm_is_not_taken() {
    let rustc = Rustc { llvm: "1".to_owned(), ..Rustc::parse(VERSION, "/toolchain".into()).unwrap() };
    let error = rustc.profdata().unwrap_err();
    assert!(error.to_string().starts_with("found no `llvm-profdata` of LLVM 1,"), "{error}");
}

#[test]
fn profiles_are_what_the_instrumented_binary_left() {
    let folder = tempfile::tempdir().unwrap();
    let missing = recorded(&folder.path().join("profiles")).unwrap_err();
    assert!(missing.to_string().contains("left no profile"), "{missing}");

    fs::write(folder.path().join("notes.txt"), "").unwrap();
    let none = recorded(folder.path()).unwrap_err();
    assert!(none.to_string().contains("left no profile"), "{none}");

    let profile = folder.path().join("default_1_0.profraw");
    fs::write(&profile, "").unwrap();
    assert_eq!(recorded(folder.path()).unwrap(), [profile]);
}
