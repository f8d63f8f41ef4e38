//! Runs random components in every form for a while: as they are, with their data taken out, and linked.

use std::path::Path;

use anyhow::Result;

use crate::{cargo, run as run_command};

/// The test that does it.
const TEST: &str = "code::tests::fuzzing::components_of_all_shapes_do_the_same_in_every_form";

/// Builds the tests of the runtime in the workspace at `root`, optimised, and runs components of `seed` for
/// `minutes`.
///
/// # Errors
/// The build fails, or components differ. In that case the test has printed their numbers.
pub fn run(root: &Path, minutes: u64, seed: u64) -> Result<()> {
    let mut command = cargo();
    command.args(["test", "--quiet", "--profile", "quick", "--package", "wasm-fn-runtime", "--lib"]);
    command.args(["--features", "wasm-smith", "--"]);
    command.args(["--exact", TEST, "--nocapture"]);
    command.env("WASM_FN_LINKING_SECONDS", minutes.saturating_mul(60).to_string());
    command.env("WASM_FN_TEST_SEED", seed.to_string());
    run_command(command.current_dir(root))
}
