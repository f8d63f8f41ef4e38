//! Builds the binary by profile: instrumented, driven by the load bench, and built again with what that saw
//! (the compiler's book, rustc: Profile-guided Optimization).
#![expect(clippy::print_stdout, reason = "where the binary lies is this command's output")]

use std::{
    ffi::{OsStr, OsString},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::{bench::target, cargo, output, run as run_command};

/// What the binary is trained on: every kind of guest, shared, split and among a thousand.
const TRAINED_ON: [&str; 4] = ["hello 0.2", "hello 0.3", "hello CGI", "echo of 64 KiB"];

/// The profile, in the folder of all this.
const MERGED: &str = "merged.profdata";

/// How long each of them is driven, seconds. Counts weigh against each other, so that more adds little.
const SECONDS: &str = "2";

/// Builds the binary of the workspace at `root` with a profile of what the load bench does, made anew.
///
/// # Errors
/// The compiler's `llvm-profdata` or what the load bench needs is missing, or something does not build.
pub fn run(root: &Path) -> Result<()> {
    // Asked before anything is built: that takes half an hour.
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

/// The binary of the sources as they are, built with the profile that [`run`] left; `None` when it was not
/// run.
///
/// # Errors
/// It does not build.
pub(crate) fn built_by_profile(root: &Path) -> Result<Option<PathBuf>> {
    let folder = folder(root)?;
    if !folder.join(MERGED).exists() {
        return Ok(None);
    }
    build_with_profile(root, &Rustc::ask(root)?, &folder).map(Some)
}

/// Where all of it lies.
fn folder(root: &Path) -> Result<PathBuf> {
    Ok(target(root)?.join("pgo"))
}

fn build_with_profile(root: &Path, rustc: &Rustc, folder: &Path) -> Result<PathBuf> {
    let mut with = OsString::from("-Cprofile-use=");
    with.push(folder.join(MERGED));
    build(root, rustc, folder, &with)
}

/// The binary, built for release with one more flag of the compiler.
fn build(root: &Path, rustc: &Rustc, folder: &Path, flag: &OsStr) -> Result<PathBuf> {
    let mut flags = std::env::var_os("RUSTFLAGS").unwrap_or_default();
    if !flags.is_empty() {
        flags.push(" ");
    }
    flags.push(flag);
    let mut build = cargo();
    build.args(["build", "--release", "--package", "wasm-fn"]);
    // Named although it is this machine's: then flags are not for build scripts and macros.
    build.args(["--target", &rustc.host]).arg("--target-dir").arg(folder);
    run_command(build.env("RUSTFLAGS", flags).current_dir(root))?;
    let built = folder.join(&rustc.host).join("release/wasm-fn");
    ensure!(built.exists(), "{} was not built", built.display());
    Ok(built)
}

/// Has the load bench drive `program`.
fn train(root: &Path, program: &Path) -> Result<()> {
    let mut build = cargo();
    build.args(["build", "--release", "--package", "wasm-fn-benches", "--bin", "load"]);
    run_command(build.current_dir(root))?;
    let target = target(root)?;
    let mut load = Command::new(target.join("release/load"));
    load.env("CARGO_TARGET_DIR", &target).arg("--wasm-fn").arg(program);
    load.args(["--rounds", "1", "--seconds", SECONDS]);
    load.args(TRAINED_ON.iter().flat_map(|name| ["--only", name]));
    // It ends badly when it refuses a figure, and these are of an instrumented binary: what counts is
    // whether there are profiles.
    load.status().context("the load bench cannot be started")?;
    Ok(())
}

/// The profiles that the instrumented binary left in `folder`.
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

/// What the compiler says of itself.
#[derive(Debug, PartialEq, Eq)]
struct Rustc {
    /// The triple of the machine.
    host: String,
    /// The major version of its LLVM: the profile's format changes with it.
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
            line.map(str::trim).with_context(|| format!("the compiler names no `{name}`: {version}"))
        };
        let llvm = field("LLVM version:")?;
        let major = llvm.split('.').next().unwrap_or(llvm);
        Ok(Self { host: field("host:")?.to_owned(), llvm: major.to_owned(), sysroot })
    }

    /// The tool that merges profiles, of this very LLVM.
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
            "no `llvm-profdata` of LLVM {0}, which this compiler has, was found: install the toolchain's \
             component `llvm-tools`, or the package `llvm-{0}` of the system",
            self.llvm
        )
    }
}

#[cfg(test)]
mod tests;
