//! Runs the load bench under the conditions of its figures: everything is built for release first, and the
//! binary with a profile if there is one.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::{cargo, output, pgo::built_by_profile, run as run_command};

/// What to measure, and how. The load bench has the defaults.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Bench {
    /// Also measure the peers, and update tables and chart in docs/explanation/ unless --only is given
    #[arg(long)]
    pub compare: bool,
    /// Measure only items with NAME in their own name or in a budget's name; may be repeated
    #[arg(long, value_name = "NAME")]
    pub only: Vec<String>,
    /// Number of measurements of each system
    #[arg(long, value_name = "N")]
    pub rounds: Option<u32>,
    /// Duration of each measurement, in seconds
    #[arg(long, value_name = "N")]
    pub seconds: Option<u64>,
    /// Connections that the client keeps busy at saturation
    #[arg(long, value_name = "N")]
    pub connections: Option<u32>,
    /// The `wasm-fn` to measure; built if absent, with the profile of `cargo xtask pgo` if that was run
    #[arg(long, value_name = "PATH")]
    pub wasm_fn: Option<PathBuf>,
    /// The `wasmtime` to measure too; like the programs below, found on PATH if absent
    #[arg(long, value_name = "PATH")]
    pub wasmtime: Option<PathBuf>,
    /// The `workerd` to measure too
    #[arg(long, value_name = "PATH")]
    pub workerd: Option<PathBuf>,
    /// The `nginx` to put in front of two `wasmtime serve` processes
    #[arg(long, value_name = "PATH")]
    pub nginx: Option<PathBuf>,
    /// The `node` to measure too
    #[arg(long, value_name = "PATH")]
    pub node: Option<PathBuf>,
    /// Write all measurements to FILE
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

/// Builds the workspace at `root` and runs the load bench in it.
///
/// # Errors
/// A build fails, a figure was refused, or a budget was exceeded. The bench has printed which.
pub fn run(root: &Path, bench: &Bench) -> Result<()> {
    let target = target(root)?;
    // Separately from the bench: built together, each would also get the features that the other needs.
    let (wasm_fn, built) = match &bench.wasm_fn {
        Some(path) => (path.clone(), None),
        None => match built_by_profile(root)? {
            Some(path) => (path, Some("built by profile")),
            None => {
                run_command(cargo().args(["build", "--release", "--package", "wasm-fn"]).current_dir(root))?;
                (target.join("release/wasm-fn"), Some("built without a profile"))
            }
        },
    };
    let mut build = cargo();
    build.args(["build", "--release", "--package", "wasm-fn-benches", "--bin", "load"]);
    run_command(build.current_dir(root))?;

    let mut load = Command::new(target.join("release/load"));
    load.env("CARGO_TARGET_DIR", &target).arg("--wasm-fn").arg(wasm_fn).args(bench.args());
    load.args(built.iter().flat_map(|built| ["--built", built]));
    if bench.compare && bench.only.is_empty() {
        load.arg("--docs").arg(root.join("docs/explanation"));
    }
    run_command(&mut load)
}

impl Bench {
    /// Arguments for the load bench, except the paths of `wasm-fn` and of the pages.
    fn args(&self) -> Vec<OsString> {
        let mut args = vec![OsString::from("--command"), self.shown().into()];
        if self.compare {
            args.push("--compare".into());
        }
        for only in &self.only {
            args.extend(["--only".into(), only.into()]);
        }
        args.extend(self.effort().into_iter().map(OsString::from));
        for (flag, path) in [
            ("--wasmtime", &self.wasmtime),
            ("--workerd", &self.workerd),
            ("--nginx", &self.nginx),
            ("--node", &self.node),
            ("--json", &self.json),
        ] {
            args.extend(path.iter().flat_map(|path| [flag.into(), path.into()]));
        }
        args
    }

    /// The command that a reader of the pages types to do the same. It leaves out the paths of programs,
    /// which differ between machines.
    fn shown(&self) -> String {
        let mut words = vec!["cargo xtask bench".to_owned()];
        if self.compare {
            words.push("--compare".to_owned());
        }
        words.extend(self.effort());
        words.join(" ")
    }

    fn effort(&self) -> Vec<String> {
        let number = |flag: &str, number: Option<u64>| number.map(|number| format!("{flag}={number}"));
        [
            number("--rounds", self.rounds.map(u64::from)),
            number("--seconds", self.seconds),
            number("--connections", self.connections.map(u64::from)),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

/// The target folder of the workspace at `root`.
pub(crate) fn target(root: &Path) -> Result<PathBuf> {
    let mut metadata = cargo();
    metadata.args(["metadata", "--format-version", "1", "--no-deps"]).current_dir(root);
    let metadata: serde_json::Value =
        serde_json::from_str(&output(&mut metadata)?).context("cargo's metadata is not JSON")?;
    let target = metadata["target_directory"].as_str().context("cargo's metadata has no target folder")?;
    Ok(target.into())
}

#[cfg(test)]
mod tests;
