//! Builds the example guests into `guest-examples/prebuilt`, and checks that the files there were built
//! from the sources beside them.
//!
//! Prebuilt guests are committed so that you can run and test the project without a WebAssembly toolchain.
//! The manifest ties each file to its sources.
#![expect(clippy::print_stdout, reason = "the list of built files is this command's output")]

mod build;
mod manifest;
mod sources;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use build::Builder;
use manifest::{Entry, Manifest};

/// One file of `prebuilt/` and how it is built.
struct Prebuilt {
    /// The file's name without `.wasm`.
    name: &'static str,
    /// The guest's folder, which is also its package name.
    guest: &'static str,
    recipe: Recipe,
    /// Build-time environment.
    env: &'static [(&'static str, &'static str)],
}

/// How a guest's sources become WebAssembly.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Recipe {
    /// A Rust library becomes a component.
    RustComponent,
    /// The same for a library that is not in the workspace of all guests.
    RustAlone,
    /// A Rust program becomes a preview-1 command module.
    RustCommand,
    /// One C file becomes a preview-1 command module.
    C,
    /// One AssemblyScript file becomes a preview-1 command module.
    AssemblyScript,
}

impl Recipe {
    /// The compiler's name for the target.
    fn target(self) -> &'static str {
        match self {
            Self::RustComponent | Self::RustAlone => "wasm32-wasip2",
            Self::RustCommand => "wasm32-wasip1",
            Self::C | Self::AssemblyScript => "wasm32-wasi",
        }
    }

    /// Whether the guest is built from the Rust workspace of all guests.
    fn is_rust(self) -> bool {
        matches!(self, Self::RustComponent | Self::RustCommand)
    }
}

const fn component(guest: &'static str) -> Prebuilt {
    Prebuilt { name: guest, guest, recipe: Recipe::RustComponent, env: &[] }
}

/// Other languages come last, because their compilers are the ones most likely to be missing.
const PREBUILT: [Prebuilt; 22] = [
    Prebuilt {
        name: "hello-v1",
        guest: "hello",
        recipe: Recipe::RustComponent,
        env: &[("HELLO_VERSION", "v1")],
    },
    Prebuilt {
        name: "hello-v2",
        guest: "hello",
        recipe: Recipe::RustComponent,
        env: &[("HELLO_VERSION", "v2")],
    },
    Prebuilt {
        name: "hello-p3",
        guest: "hello-p3",
        recipe: Recipe::RustComponent,
        env: &[("HELLO_VERSION", "v1")],
    },
    component("echo"),
    component("env"),
    component("fetch"),
    component("counter"),
    component("trap"),
    component("broken"),
    component("spin"),
    component("hog"),
    component("slow"),
    component("flood"),
    component("deep"),
    component("mute"),
    component("stdout-flood"),
    Prebuilt { name: "secrets", guest: "secrets", recipe: Recipe::RustAlone, env: &[] },
    Prebuilt { name: "stateful", guest: "stateful", recipe: Recipe::RustAlone, env: &[] },
    Prebuilt { name: "pending", guest: "pending", recipe: Recipe::RustAlone, env: &[] },
    Prebuilt { name: "cgi", guest: "cgi", recipe: Recipe::RustCommand, env: &[] },
    Prebuilt { name: "c-hello", guest: "c-hello", recipe: Recipe::C, env: &[] },
    Prebuilt { name: "as-hello", guest: "as-hello", recipe: Recipe::AssemblyScript, env: &[] },
];

/// The folders of guests and prebuilt files under the workspace's root.
struct Layout {
    guests: PathBuf,
    prebuilt: PathBuf,
}

impl Layout {
    fn of(root: &Path) -> Self {
        let guests = root.join("guest-examples");
        let prebuilt = guests.join("prebuilt");
        Self { guests, prebuilt }
    }

    fn wasm(&self, name: &str) -> PathBuf {
        self.prebuilt.join(format!("{name}.wasm"))
    }

    fn manifest(&self) -> PathBuf {
        self.prebuilt.join("manifest.json")
    }
}

/// Verifies that every prebuilt guest matches its manifest entry, and was built from the current sources.
///
/// # Errors
/// Every mismatch, one line each.
pub fn check(root: &Path) -> Result<()> {
    let layout = Layout::of(root);
    let manifest = Manifest::load(&layout.manifest())?;
    let mut faults = Vec::new();
    for prebuilt in &PREBUILT {
        faults.extend(fault(&layout, &manifest, prebuilt)?);
    }
    let known: BTreeSet<String> = PREBUILT.iter().map(|prebuilt| prebuilt.name.into()).collect();
    let found = manifest.names().chain(wasm_names(&layout.prebuilt)?).collect::<BTreeSet<_>>();
    faults.extend(
        found
            .difference(&known)
            .map(|name| format!("`{name}`: no guest produces it, expected no such file or entry")),
    );
    if !faults.is_empty() {
        bail!(
            "prebuilt guests do not match their sources; run `cargo xtask guests`\n  {}",
            faults.join("\n  ")
        );
    }
    Ok(())
}

/// Builds the guests in the folders `names` (all guests if empty) and records them in the manifest.
///
/// # Errors
/// A name is unknown, a toolchain is missing, or a guest does not build. Guests built before that stay
/// recorded.
pub fn rebuild(root: &Path, names: &[String]) -> Result<()> {
    if let Some(unknown) = names.iter().find(|name| PREBUILT.iter().all(|prebuilt| prebuilt.guest != **name))
    {
        let known: BTreeSet<_> = PREBUILT.iter().map(|prebuilt| prebuilt.guest).collect();
        let known = known.into_iter().collect::<Vec<_>>().join(", ");
        bail!("no guest is named `{unknown}`, expected one of {known}");
    }
    let layout = Layout::of(root);
    fs::create_dir_all(&layout.prebuilt).context("guest-examples/prebuilt")?;
    let mut manifest = Manifest::load_or_empty(&layout.manifest())?;
    let mut builder = Builder::new(root, &layout.guests)?;
    let chosen = |prebuilt: &&Prebuilt| names.is_empty() || names.iter().any(|name| name == prebuilt.guest);
    for prebuilt in PREBUILT.iter().filter(chosen) {
        let destination = layout.wasm(prebuilt.name);
        let toolchain = builder.build(prebuilt, &destination)?;
        let wasm = read(&destination)?;
        println!("{:>8} {}", wasm.len(), destination.strip_prefix(root).unwrap_or(&destination).display());
        manifest.insert(
            prebuilt.name,
            Entry {
                guest: prebuilt.guest.into(),
                sha256: sources::sha256(&wasm),
                sources: sources::hash(&layout.guests, prebuilt)?,
                target: prebuilt.recipe.target().into(),
                toolchain,
            },
        );
        manifest.store(&layout.manifest())?;
    }
    Ok(())
}

/// What is wrong with a prebuilt guest, if anything.
fn fault(layout: &Layout, manifest: &Manifest, prebuilt: &Prebuilt) -> Result<Option<String>> {
    let name = prebuilt.name;
    let Some(entry) = manifest.get(name) else {
        return Ok(Some(format!("`{name}`: the manifest has no entry")));
    };
    let path = layout.wasm(name);
    if !path.exists() {
        return Ok(Some(format!("`{name}`: it is in the manifest, but {} does not exist", path.display())));
    }
    let sha256 = sources::sha256(&read(&path)?);
    if sha256 != entry.sha256 {
        return Ok(Some(format!("`{name}`: file has SHA-256 {sha256}, expected {}", entry.sha256)));
    }
    let hash = sources::hash(&layout.guests, prebuilt)?;
    if hash != entry.sources {
        return Ok(Some(format!("`{name}`: sources hash to {hash}, expected {}", entry.sources)));
    }
    Ok(None)
}

/// The names, without `.wasm`, of the guests in `folder`.
fn wasm_names(folder: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for file in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let name = file?.file_name();
        names.extend(name.to_str().and_then(|name| name.strip_suffix(".wasm")).map(String::from));
    }
    Ok(names)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| path.display().to_string())
}

#[cfg(test)]
mod tests;
