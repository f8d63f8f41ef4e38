//! Runs the compilers that guests need, and finds or builds what the compilers need.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::{Prebuilt, Recipe};
use crate::{cargo, output, run};

/// Separates flags in `CARGO_ENCODED_RUSTFLAGS`, which, unlike `RUSTFLAGS`, allows paths with spaces.
const FLAG_SEPARATOR: &str = "\u{1f}";

/// Makes AssemblyScript's standard library call WASI; a path below the guest's folder.
const SHIM: &str = "node_modules/@assemblyscript/wasi-shim/asconfig.json";

/// Builds guests, and reuses what one build found out in the next.
pub(super) struct Builder<'a> {
    guests: &'a Path,
    /// The workspace's target folder, which holds everything that is built here.
    target: PathBuf,
    rustc_version: String,
    rustc_sysroot: PathBuf,
    /// The workspaces whose locked dependencies have been downloaded.
    fetched: Vec<PathBuf>,
}

#[derive(Deserialize)]
struct Metadata {
    target_directory: PathBuf,
}

impl<'a> Builder<'a> {
    pub(super) fn new(root: &Path, guests: &'a Path) -> Result<Self> {
        let metadata =
            output(cargo().args(["metadata", "--no-deps", "--format-version", "1"]).current_dir(root))?;
        let metadata: Metadata = serde_json::from_str(&metadata).context("the output of cargo metadata")?;
        fs::create_dir_all(metadata.target_directory.join("guests")).context("cargo's target folder")?;
        Ok(Self {
            guests,
            target: metadata.target_directory,
            rustc_version: output(Command::new("rustc").arg("-V"))?,
            rustc_sysroot: output(Command::new("rustc").args(["--print", "sysroot"]))?.into(),
            fetched: Vec::new(),
        })
    }

    /// Builds `prebuilt` into the file `destination`; returns the toolchain's version.
    pub(super) fn build(&mut self, prebuilt: &Prebuilt, destination: &Path) -> Result<String> {
        match prebuilt.recipe {
            Recipe::RustComponent | Recipe::RustAlone | Recipe::RustCommand => {
                self.build_rust(prebuilt, destination)?;
                Ok(self.rustc_version.clone())
            }
            Recipe::C => self.build_c(prebuilt, destination),
            Recipe::AssemblyScript => self.build_assemblyscript(prebuilt, destination),
        }
    }

    fn build_rust(&mut self, prebuilt: &Prebuilt, destination: &Path) -> Result<()> {
        let workspace = match prebuilt.recipe {
            Recipe::RustAlone => self.guests.join(prebuilt.guest),
            _ => self.guests.to_owned(),
        };
        self.fetch(&workspace)?;
        let target = prebuilt.recipe.target();
        let target_dir = self.target.join("guests");
        run(cargo()
            .args(["build", "--release", "--locked", "--package", prebuilt.guest, "--target", target])
            .arg("--target-dir")
            .arg(&target_dir)
            .env("CARGO_ENCODED_RUSTFLAGS", self.rust_flags(target)?)
            .envs(prebuilt.env.iter().copied())
            .current_dir(workspace))?;
        let file = match prebuilt.recipe {
            // A library's file is named after its crate, a program's after its package.
            Recipe::RustComponent | Recipe::RustAlone => prebuilt.guest.replace('-', "_"),
            Recipe::RustCommand | Recipe::C | Recipe::AssemblyScript => prebuilt.guest.into(),
        };
        let built = target_dir.join(target).join("release").join(file).with_extension("wasm");
        copy(&built, destination)
    }

    /// Downloads the locked dependencies of `workspace`, so that their folders exist when flags refer to
    /// them.
    fn fetch(&mut self, workspace: &Path) -> Result<()> {
        if !self.fetched.iter().any(|fetched| fetched == workspace) {
            run(cargo().args(["fetch", "--locked", "--quiet"]).current_dir(workspace))?;
            self.fetched.push(workspace.to_owned());
        }
        Ok(())
    }

    /// The user's own flags for `target`, the sysroot unless the user's flags set one, and remappings that
    /// keep this machine's paths out of the panic messages inside guests.
    fn rust_flags(&self, target: &str) -> Result<OsString> {
        let variable = format!("CARGO_TARGET_{}_RUSTFLAGS", target.to_uppercase().replace('-', "_"));
        let own = std::env::var(variable).unwrap_or_default();
        let mut flags: Vec<OsString> = own.split_whitespace().map(OsString::from).collect();
        let has_sysroot = own.contains("--sysroot");
        if !has_sysroot && !self.rustc_sysroot.join("lib/rustlib").join(target).join("lib").is_dir() {
            flags.push(flag("--sysroot=", &self.made_sysroot(target)?, ""));
        }
        flags.push(flag("--remap-path-prefix=", self.guests, "=/guests"));
        for registry in registries()? {
            flags.push(flag("--remap-path-prefix=", &registry, "=/dependencies"));
        }
        Ok(flags.join(FLAG_SEPARATOR.as_ref()))
    }

    /// The sysroot with a standard library for `target`, built now unless an earlier build left it.
    fn made_sysroot(&self, target: &str) -> Result<PathBuf> {
        let version = self.rustc_version.split(' ').nth(1).context("rustc -V prints no version")?;
        let sysroot = self.target.join(format!("wasm-sysroot-{version}"));
        if !sysroot.join("lib/rustlib").join(target).join("lib/self-contained/libc.a").exists() {
            let script = self.guests.join("toolchain/rust-wasm-sysroot.sh");
            run(Command::new("sh").arg(script).arg(&sysroot).arg(target)).with_context(|| {
                format!("found no standard library for {target}, and none could be built: try `rustup target add {target}`")
            })?;
        }
        Ok(sysroot)
    }

    fn build_c(&self, prebuilt: &Prebuilt, destination: &Path) -> Result<String> {
        let (mut zig, version) = zig()?;
        let built = self.target.join("guests").join(prebuilt.guest).with_extension("wasm");
        run(zig
            .args(["cc", "-target", prebuilt.recipe.target(), "-Os", "-s", "-o"])
            .arg(&built)
            .arg(self.guests.join(prebuilt.guest).join("hello.c")))?;
        copy(&built, destination)?;
        Ok(format!("zig {version}"))
    }

    /// Builds away from the sources, so that what npm installs is not among them.
    fn build_assemblyscript(&self, prebuilt: &Prebuilt, destination: &Path) -> Result<String> {
        let (sources, folder) =
            (self.guests.join(prebuilt.guest), self.target.join("guests").join(prebuilt.guest));
        fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        for file in ["package.json", "hello.ts"] {
            copy(&sources.join(file), &folder.join(file))?;
        }
        run(Command::new("npm")
            .args(["install", "--no-package-lock", "--ignore-scripts", "--no-audit", "--no-fund"])
            .current_dir(&folder))
        .context("AssemblyScript guests need npm")?;
        let compiler = || {
            let mut compiler = Command::new("npx");
            compiler.arg("asc").current_dir(&folder);
            compiler
        };
        run(compiler().args(["hello.ts", "--config", SHIM, "--optimize", "--outFile", "built.wasm"]))?;
        copy(&folder.join("built.wasm"), destination)?;
        let version = output(compiler().arg("--version"))?;
        Ok(format!("asc {}", version.trim_start_matches("Version ")))
    }
}

/// A command for the Zig compiler, installed by itself or as a Python package, and the compiler's version.
fn zig() -> Result<(Command, String)> {
    let ways: [&[&str]; 2] = [&["zig"], &["python3", "-m", "ziglang"]];
    for way in ways {
        let command = || {
            let mut command = Command::new(way[0]);
            command.args(&way[1..]);
            command
        };
        if let Ok(version) = output(command().arg("version")) {
            return Ok((command(), version));
        }
    }
    bail!(
        "found neither `zig` nor Python's `ziglang`, expected one for C guests: try `python3 -m pip install ziglang`"
    )
}

/// Cargo's folders of unpacked dependencies, one per registry; none if all dependencies are vendored.
fn registries() -> Result<Vec<PathBuf>> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(std::env::home_dir()?.join(".cargo")));
    let folder = home.context("neither CARGO_HOME nor a home folder is set")?.join("registry/src");
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let children = fs::read_dir(&folder).with_context(|| folder.display().to_string())?;
    children.map(|child| Ok(child?.path())).collect()
}

/// Copies only the contents: `fs::copy` would keep the linker's executable bit.
fn copy(built: &Path, destination: &Path) -> Result<()> {
    fs::write(destination, super::read(built)?).with_context(|| destination.display().to_string())
}

fn flag(prefix: &str, path: &Path, suffix: &str) -> OsString {
    let mut flag = OsString::from(prefix);
    flag.push(path);
    flag.push(suffix);
    flag
}
