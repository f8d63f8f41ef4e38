//! What is missing is named; ours with the way to get it.

use std::path::Path;

use super::{ours, peer};

#[test]
fn missing_peer_is_a_reason_and_no_error() {
    let reason = peer(Path::new("/nowhere/workerd"), "--version").unwrap_err();
    assert!(reason.starts_with("`/nowhere/workerd` cannot be found: "), "{reason}");
    let reason = peer(Path::new("no-such-peer-anywhere"), "--version").unwrap_err();
    assert!(reason.starts_with("`no-such-peer-anywhere` cannot be started: "), "{reason}");
}

#[test]
fn peer_that_does_not_know_its_version_is_missing() {
    let reason = peer(Path::new("/bin/false"), "--version").unwrap_err();
    assert!(reason.ends_with("--version` ended with exit status: 1"), "{reason}");
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
