//! Runs the load bench as its figures are meant: everything built for release first, and the binary built as
//! users build it.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use crate::{cargo, output, run as run_command};

/// What is measured, and how.
#[derive(Clone, Debug)]
pub struct Bench {
    /// Whether peers are measured too. Of a whole comparison the tables and the chart go into docs/.
    pub compare: bool,
    /// The `wasm-fn` to measure, instead of building it.
    pub wasm_fn: Option<PathBuf>,
    /// What the load bench is told besides; see its `--help`.
    pub args: Vec<OsString>,
}

/// Builds the workspace at `root` and runs the load bench in it.
///
/// # Errors
/// Something does not build, a figure was refused, or a budget was exceeded; the bench has said which by then.
pub fn run(root: &Path, bench: &Bench) -> Result<()> {
    let target = target(root)?;
    let wasm_fn = match &bench.wasm_fn {
        Some(path) => path.clone(),
        None => {
            // Apart from the bench: built together, each would get the features that the other asks for.
            run_command(cargo().args(["build", "--release", "--package", "wasm-fn"]).current_dir(root))?;
            target.join("release/wasm-fn")
        }
    };
    let mut build = cargo();
    build.args(["build", "--release", "--package", "wasm-fn-benches", "--bin", "load"]);
    run_command(build.current_dir(root))?;

    let mut load = std::process::Command::new(target.join("release/load"));
    load.env("CARGO_TARGET_DIR", &target).arg("--wasm-fn").arg(wasm_fn).args(&bench.args);
    load.arg("--command").arg(shown(bench));
    if bench.compare {
        load.arg("--compare");
    }
    if bench.whole() {
        load.arg("--docs").arg(root.join("docs"));
    }
    run_command(&mut load)
}

impl Bench {
    /// Whether everything is compared, so that the pages may say so.
    fn whole(&self) -> bool {
        let only = |arg: &OsString| arg.to_string_lossy().starts_with("--only");
        self.compare && !self.args.iter().any(only)
    }
}

/// What a reader of the pages types to do the same: programs lie elsewhere on another machine.
fn shown(bench: &Bench) -> String {
    const SHOWN: [&str; 3] = ["--rounds", "--seconds", "--connections"];
    let mut words = vec!["cargo xtask bench".to_owned()];
    if bench.compare {
        words.push("--compare".to_owned());
    }
    let mut args = bench.args.iter().map(|arg| arg.to_string_lossy().into_owned());
    while let Some(arg) = args.next() {
        if SHOWN.contains(&arg.as_str()) {
            words.push(arg);
            words.extend(args.next());
        } else if SHOWN.iter().any(|shown| arg.starts_with(&format!("{shown}="))) {
            words.push(arg);
        }
    }
    words.join(" ")
}

/// The folder that the workspace at `root` is built into.
fn target(root: &Path) -> Result<PathBuf> {
    let mut metadata = cargo();
    metadata.args(["metadata", "--format-version", "1", "--no-deps"]).current_dir(root);
    let metadata: serde_json::Value =
        serde_json::from_str(&output(&mut metadata)?).context("cargo's metadata is no JSON")?;
    let target = metadata["target_directory"].as_str().context("cargo's metadata names no target folder")?;
    Ok(target.into())
}

#[cfg(test)]
mod tests;
