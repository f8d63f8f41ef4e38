//! Runs the load bench as its figures are meant: everything built for release first, and the binary by
//! profile when there is one.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::{cargo, output, pgo::built_by_profile, run as run_command};

/// What is measured, and how; the load bench has the defaults of what is absent.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Bench {
    /// Measure the peers too, and write the tables and the chart of docs/ unless --only picks some
    #[arg(long)]
    pub compare: bool,
    /// Measure only what has NAME in its name or in a budget's; may be repeated
    #[arg(long, value_name = "NAME")]
    pub only: Vec<String>,
    /// How often each system is measured
    #[arg(long, value_name = "N")]
    pub rounds: Option<u32>,
    /// How long each measurement takes
    #[arg(long, value_name = "N")]
    pub seconds: Option<u64>,
    /// Connections that the client keeps busy at saturation
    #[arg(long, value_name = "N")]
    pub connections: Option<u32>,
    /// The `wasm-fn` to measure; built when absent, with the profile of `cargo xtask pgo` if that was run
    #[arg(long, value_name = "PATH")]
    pub wasm_fn: Option<PathBuf>,
    /// The `wasmtime` to measure beside it; found on PATH when absent, as the others are
    #[arg(long, value_name = "PATH")]
    pub wasmtime: Option<PathBuf>,
    /// The `workerd` to measure beside it
    #[arg(long, value_name = "PATH")]
    pub workerd: Option<PathBuf>,
    /// The `nginx` to put in front of two `wasmtime serve`
    #[arg(long, value_name = "PATH")]
    pub nginx: Option<PathBuf>,
    /// The `node` to measure beside it
    #[arg(long, value_name = "PATH")]
    pub node: Option<PathBuf>,
    /// Write everything that was measured
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

/// Builds the workspace at `root` and runs the load bench in it.
///
/// # Errors
/// Something does not build, a figure was refused, or a budget was exceeded; the bench has said which by
/// then.
pub fn run(root: &Path, bench: &Bench) -> Result<()> {
    let target = target(root)?;
    // Apart from the bench: built together, each would get the features that the other asks for.
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
        load.arg("--docs").arg(root.join("docs"));
    }
    run_command(&mut load)
}

impl Bench {
    /// What the load bench is told besides where `wasm-fn` and docs/ are.
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

    /// What a reader of the pages types to do the same. Programs lie elsewhere on another machine.
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

/// The folder that the workspace at `root` is built into.
pub(crate) fn target(root: &Path) -> Result<PathBuf> {
    let mut metadata = cargo();
    metadata.args(["metadata", "--format-version", "1", "--no-deps"]).current_dir(root);
    let metadata: serde_json::Value =
        serde_json::from_str(&output(&mut metadata)?).context("cargo's metadata is no JSON")?;
    let target = metadata["target_directory"].as_str().context("cargo's metadata names no target folder")?;
    Ok(target.into())
}

#[cfg(test)]
mod tests;
