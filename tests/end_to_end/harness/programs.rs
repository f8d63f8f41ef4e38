//! Programs of others that a test needs, and that are not on every machine.

use std::{
    fs::OpenOptions,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Names the file that lists what was skipped. `cargo xtask ci` sets it, and prints the list at its end.
const SKIPPED: &str = "CI_SKIPPED_TESTS";

/// Set where everything is expected to be installed, so that a skip is a failure.
const REQUIRED: &str = "CI_REQUIRE_PROGRAMS";

/// Whether `program` can be started. Where it cannot, says that `test` is skipped for want of it.
///
/// # Panics
/// When it is missing and the surroundings promise that it is there.
#[track_caller]
pub(crate) fn installed(program: &str, test: &str) -> bool {
    starts(Command::new(program).arg("-v"), program, test)
}

/// Whether `command` succeeds, which `what` has to be installed for. Where it does not, says that `test` is
/// skipped for want of that.
///
/// # Panics
/// When it is missing and the surroundings promise that it is there.
#[track_caller]
pub(crate) fn starts(command: &mut Command, what: &str, test: &str) -> bool {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success()) || skip(test, &format!("{what} is not installed"))
}

/// Whether `file` is there, which something else builds. Where it is not, says that `test` is skipped for
/// want of it.
///
/// # Panics
/// When it is missing and the surroundings promise that it is there.
#[track_caller]
pub(crate) fn present(file: &Path, test: &str) -> bool {
    file.exists() || skip(test, &format!("{} was not built", file.display()))
}

/// Lists `test` as skipped; `false`.
///
/// # Panics
/// When the surroundings promise that nothing is.
#[track_caller]
pub(crate) fn skip(test: &str, why: &str) -> bool {
    assert!(std::env::var_os(REQUIRED).is_none(), "{test} cannot run: {why}, and {REQUIRED} is set");
    let line = format!("skipped {test}: {why}\n");
    print!("{line}");
    if let Some(path) = std::env::var_os(SKIPPED).map(PathBuf::from) {
        let file = OpenOptions::new().append(true).create(true).open(path);
        let written = file.and_then(|mut file| file.write_all(line.as_bytes()));
        written.expect("the list of skipped tests can be written");
    }
    false
}
