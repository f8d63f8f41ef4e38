//! What a package installs, looked at by the programs that will read it.

use std::{path::Path, process::Command};

use crate::harness::{command::run, programs};

/// Exposure that `systemd-analyze security` may find, in tenths: 0 is none, 100 is everything.
const EXPOSURE_MAX: &str = "20";

#[tokio::test]
async fn service_of_systemd_leaves_little_to_attack() {
    let test = "service_of_systemd_leaves_little_to_attack";
    if !programs::starts(Command::new("systemd-analyze").arg("--version"), "systemd-analyze", test) {
        return;
    }
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/systemd/wasm-fn.service");
    let mut command = Command::new("systemd-analyze");
    command.args(["security", "--offline=true", "--no-pager", "--threshold", EXPOSURE_MAX]).arg(unit);
    let done = run(&mut command).await.ok();
    assert!(done.stdout.contains("exposure level for wasm-fn.service"), "{}", done.stdout);
}

#[tokio::test]
async fn dockerfile_follows_the_rules_of_a_linter() {
    let test = "dockerfile_follows_the_rules_of_a_linter";
    if !programs::starts(Command::new("hadolint").arg("--version"), "hadolint", test) {
        return;
    }
    let dockerfile = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../Dockerfile");
    run(Command::new("hadolint").arg(dockerfile)).await.ok();
}
