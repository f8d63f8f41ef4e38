//! The bench refuses, in words, what it cannot measure; and skips what is missing.

use std::{
    fs,
    process::{Command, Output},
};

/// Stands for a `wasm-fn`: it is there, and starts.
const PRESENT: &str = "/bin/true";

fn load(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_load")).args(args).output().expect("the bench was built for this test")
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn missing_wasm_fn_is_refused_with_the_build_command() {
    let refused = load(&["--wasm-fn", "/nowhere/wasm-fn"]);
    assert_eq!(refused.status.code(), Some(1));
    let said = stderr(&refused);
    assert!(
        said.starts_with("error: no wasm-fn to measure: build it with `cargo build --release`: "),
        "{said}"
    );
}

#[test]
fn missing_peers_are_named_and_skipped_without_failing_the_run() {
    let run = load(&["--wasm-fn", PRESENT, "--compare", "--only", "node http", "--node", "/nowhere/node"]);
    assert_eq!(run.status.code(), Some(0), "{}", stderr(&run));
    assert_eq!(
        stderr(&run),
        "skipped: node http: `/nowhere/node` cannot be found: No such file or directory (os error 2)\n\
         nothing is left to measure\n"
    );
}

#[test]
fn one_core_is_refused_by_count() {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap().trim();
    let core = allowed.split(['-', ',']).next().unwrap();
    let refused = Command::new("taskset")
        .args(["-c", core, env!("CARGO_BIN_EXE_load"), "--wasm-fn", PRESENT, "--only", "hyper alone"])
        .output()
        .unwrap();
    assert_eq!(refused.status.code(), Some(1));
    let said = stderr(&refused);
    assert!(said.starts_with(&format!("error: 1 core found ({core}), expected at least 2: ")), "{said}");
}

#[test]
fn name_of_no_system_is_refused_with_the_names_that_there_are() {
    let refused = load(&["--wasm-fn", PRESENT, "--only", "spin"]);
    assert_eq!(refused.status.code(), Some(1));
    let said = stderr(&refused);
    assert!(said.starts_with("error: no system is named like `spin`, expected a part of: wasm-fn"), "{said}");
}
