//! What is missing is named; ours with the way to get it.

use std::path::Path;

use super::{numbers, ours, peer};

#[test]
fn missing_peer_is_a_reason_and_no_error() {
    let reason = peer(Path::new("/nowhere/workerd"), "--version", &[]).unwrap_err();
    assert!(reason.starts_with("`/nowhere/workerd` cannot be found: "), "{reason}");
    let reason = peer(Path::new("no-such-peer-anywhere"), "--version", &[]).unwrap_err();
    assert!(reason.starts_with("`no-such-peer-anywhere` cannot be started: "), "{reason}");
}

#[test]
fn peer_that_does_not_know_its_version_is_missing() {
    let reason = peer(Path::new("/bin/false"), "--version", &[]).unwrap_err();
    assert!(reason.ends_with("--version` ended with exit status: 1"), "{reason}");
}

#[test]
fn old_peer_is_skipped() {
    // It prints its argument.
    let echo = |version: &str, oldest: &[u64]| peer(Path::new("/bin/echo"), version, oldest);
    let current = "wasmtime 48.0.2 (6cf1d0e5c 2026-09-20)";
    assert_eq!(echo(current, &[48]).unwrap().version, current);
    let reason = echo("nginx/1.9.15", &[1, 22]).unwrap_err();
    assert_eq!(reason, "`/bin/echo` is nginx/1.9.15, expected 1.22 or later");
    assert!(echo("no number", &[1]).is_err());
}

#[test]
fn versions_and_days_are_numbers() {
    assert_eq!(numbers("nginx/1.22.1"), [1, 22, 1]);
    assert_eq!(numbers("v20.20.2"), [20, 20, 2]);
    assert_eq!(numbers("workerd 2026-11-20"), [2026, 11, 20]);
    assert_eq!(numbers("wasmtime 48.0.2 (6cf1d0e5c 2026-09-20)"), [48, 0, 2]);
    assert_eq!(numbers("none"), [0; 0]);
}

#[test]
fn missing_wasm_fn_is_refused_with_the_build_command() {
    let refused = format!("{:#}", ours(Path::new("/nowhere/wasm-fn")).unwrap_err());
    assert!(
        refused.starts_with("no wasm-fn to measure: build it with `cargo build --release`: "),
        "{refused}"
    );
    assert!(refused.contains("`/nowhere/wasm-fn` cannot be found"), "{refused}");
}
