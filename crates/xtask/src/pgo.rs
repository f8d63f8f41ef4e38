//! Builds the binary with profile-guided optimisation: builds it instrumented, runs it under the load bench,
//! and builds it again with the profile ("Profile-guided Optimization" in the rustc book).
#![expect(clippy::print_stdout, reason = "the path of the binary is this command's output")]

use std::{
    ffi::{OsStr, OsString},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::{bench::target, cargo, output, run as run_command};

/// The load bench's workloads for the profile: every kind of guest, shared, split and among a thousand.
const TRAINED_ON: [&str; 4] = ["hello 0.2", "hello 0.3", "hello CGI", "echo of 64 KiB"];

/// Name of the merged profile in the task's folder.
const MERGED: &str = "merged.profdata";

/// How long each workload runs, seconds. Only the ratio of the counts matters, so more time adds little.
const SECONDS: &str = "2";

/// Records a new profile of the load bench and builds the binary of the workspace at `root` with it.
///
/// # Errors
/// The compiler's `llvm-profdata` or a tool that the load bench needs is missing, or a build fails.
pub fn run(root: &Path) -> Result<()> {
    // Check the tools before the builds, which take half an hour.
    let rustc = Rustc::ask(root)?;
    let profdata = rustc.profdata()?;
    let folder = folder(root)?;
    let profiles = folder.join("profiles");
    if profiles.exists() {
        fs::remove_dir_all(&profiles).with_context(|| format!("{} cannot be emptied", profiles.display()))?;
    }

    let mut generate = OsString::from("-Cprofile-generate=");
    generate.push(&profiles);
    let instrumented = build(root, &rustc, &folder, &generate)?;
    train(root, &instrumented)?;

    let mut merge = Command::new(profdata);
    merge.arg("merge").arg("-o").arg(folder.join(MERGED)).args(recorded(&profiles)?);
    run_command(&mut merge)?;
    println!("{}", build_with_profile(root, &rustc, &folder)?.display());
    Ok(())
}

/// Builds the binary from the current sources with the profile that [`run`] left; `None` if there is no
/// profile.
///
/// # Errors
/// The build fails.
pub(crate) fn built_by_profile(root: &Path) -> Result<Option<PathBuf>> {
    let folder = folder(root)?;
    if !folder.join(MERGED).exists() {
        return Ok(None);
    }
    build_with_profile(root, &Rustc::ask(root)?, &folder).map(Some)
}

/// The folder of this task.
fn folder(root: &Path) -> Result<PathBuf> {
    Ok(target(root)?.join("pgo"))
}

fn build_with_profile(root: &Path, rustc: &Rustc, folder: &Path) -> Result<PathBuf> {
    let mut with = OsString::from("-Cprofile-use=");
    with.push(folder.join(MERGED));
    build(root, rustc, folder, &with)
}

/// Builds the binary for release with one more compiler flag.
fn build(root: &Path, rustc: &Rustc, folder: &Path, flag: &OsStr) -> Result<PathBuf> {
    let mut flags = std::env::var_os("RUSTFLAGS").unwrap_or_default();
    if !flags.is_empty() {
        flags.push(" ");
    }
    flags.push(flag);
    let mut build = cargo();
    build.args(["build", "--release", "--package", "wasm-fn"]);
    // The target is named although it is the host's, so that the flags do not apply to build scripts and
    // macros.
    build.args(["--target", &rustc.host]).arg("--target-dir").arg(folder);
    run_command(build.env("RUSTFLAGS", flags).current_dir(root))?;
    let built = folder.join(&rustc.host).join("release/wasm-fn");
    ensure!(built.exists(), "{} was not built", built.display());
    Ok(built)
}

/// Runs the load bench against `program`.
fn train(root: &Path, program: &Path) -> Result<()> {
    let mut build = cargo();
    build.args(["build", "--release", "--package", "wasm-fn-benches", "--bin", "load"]);
    run_command(build.current_dir(root))?;
    let target = target(root)?;
    let mut load = Command::new(target.join("release/load"));
    load.env("CARGO_TARGET_DIR", &target).arg("--wasm-fn").arg(program);
    load.args(["--rounds", "1", "--seconds", SECONDS]);
    load.args(TRAINED_ON.iter().flat_map(|name| ["--only", name]));
    // It fails if it refuses a figure, and the figures here are of an instrumented binary. All that matters
    // is whether it left profiles.
    load.status().context("the load bench did not start")?;
    Ok(())
}

/// Finds the profiles that the instrumented binary left in `folder`.
fn recorded(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder)
        .with_context(|| format!("the instrumented binary left no profile in {}", folder.display()))?;
    let mut recorded = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "profraw") {
            recorded.push(path);
        }
    }
    ensure!(!recorded.is_empty(), "the instrumented binary left no profile in {}", folder.display());
    Ok(recorded)
}

/// The compiler's own description.
#[derive(Debug, PartialEq, Eq)]
struct Rustc {
    /// The target triple of this machine.
    host: String,
    /// The major version of its LLVM, which determines the profile's format.
    llvm: String,
    sysroot: PathBuf,
}

impl Rustc {
    fn ask(root: &Path) -> Result<Self> {
        let rustc = |args: &[&str]| output(Command::new("rustc").args(args).current_dir(root));
        Self::parse(&rustc(&["--version", "--verbose"])?, rustc(&["--print", "sysroot"])?.into())
    }

    fn parse(version: &str, sysroot: PathBuf) -> Result<Self> {
        let field = |name: &str| {
            let line = version.lines().find_map(|line| line.strip_prefix(name));
            line.map(str::trim).with_context(|| format!("no `{name}` in the compiler's version: {version}"))
        };
        let llvm = field("LLVM version:")?;
        let major = llvm.split('.').next().unwrap_or(llvm);
        Ok(Self { host: field("host:")?.to_owned(), llvm: major.to_owned(), sysroot })
    }

    /// Finds the tool that merges profiles, of the same LLVM version.
    fn profdata(&self) -> Result<PathBuf> {
        let component = self.sysroot.join("lib/rustlib").join(&self.host).join("bin/llvm-profdata");
        let numbered = PathBuf::from(format!("llvm-profdata-{}", self.llvm));
        for tool in [component, numbered, PathBuf::from("llvm-profdata")] {
            let said = output(Command::new(&tool).arg("merge").arg("--version"));
            if said.is_ok_and(|said| said.contains(&format!("LLVM version {}.", self.llvm))) {
                return Ok(tool);
            }
        }
        bail!(
            "found no `llvm-profdata` of LLVM {0}, the version of this compiler: install the toolchain's \
             component `llvm-tools`, or the system's package `llvm-{0}`",
            self.llvm
        )
    }
}

#[cfg(test)]
mod tests;
