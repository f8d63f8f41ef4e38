//! Runs seeds of the deterministic simulation.

use std::path::Path;

use anyhow::Result;

use crate::{cargo, run as run_command};

/// Which seeds to run, and how.
#[derive(Clone, Copy, Debug)]
pub struct Seeds {
    /// Number of seeds.
    pub count: u64,
    /// The first seed.
    pub from: u64,
    /// Whether to print what happens, line by line.
    pub trace: bool,
    /// Whether they are of a cluster.
    pub cluster: bool,
    /// Whether every canary is to be as good as stable, in a cluster.
    pub identical: bool,
}

/// Builds the simulation in the workspace at `root` as the tests do, with its checks, and runs `seeds`.
///
/// # Errors
/// The build fails, or a seed failed. In that case the simulation has printed its trace and how to replay
/// it.
pub fn run(root: &Path, seeds: Seeds) -> Result<()> {
    let (count, from) = (seeds.count.to_string(), seeds.from.to_string());
    let mut command = cargo();
    command.args(["run", "--quiet", "--package", "wasm-fn-sim", "--", "--seeds", &count, "--from", &from]);
    let flags = [("--trace", seeds.trace), ("--cluster", seeds.cluster), ("--identical", seeds.identical)];
    command.args(flags.into_iter().filter(|(_, is_set)| *is_set).map(|(flag, _)| flag));
    run_command(command.current_dir(root))
}
