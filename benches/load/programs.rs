//! The programs that are measured: ours, which must be there, and the peers, of which each may be missing.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

/// A program that can be started.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    pub(crate) path: PathBuf,
    /// What it says its version is.
    pub(crate) version: String,
}

/// The programs of a run; a peer that is missing is the reason why.
pub(crate) struct Programs {
    pub(crate) wasm_fn: Program,
    pub(crate) wasmtime: Result<Program, String>,
    pub(crate) workerd: Result<Program, String>,
    pub(crate) nginx: Result<Program, String>,
    pub(crate) node: Result<Program, String>,
}

impl Programs {
    /// What ours, and with `peers` those that are there, say their versions are.
    pub(crate) fn versions(&self, peers: bool) -> Vec<String> {
        // Node says no name.
        let peer = |name: &str, program: &Result<Program, String>| {
            let version = &program.as_ref().ok()?.version;
            Some(if version.contains(name) { version.clone() } else { format!("{name} {version}") })
        };
        let mut versions = vec![self.wasm_fn.version.clone()];
        if peers {
            versions.extend(peer("wasmtime", &self.wasmtime));
            versions.extend(peer("workerd", &self.workerd));
            versions.extend(peer("nginx", &self.nginx));
            versions.extend(peer("node", &self.node));
        }
        versions
    }
}

/// The `wasm-fn` to measure.
///
/// # Errors
///
/// Says how to build it when it is not there.
pub(crate) fn ours(path: &Path) -> Result<Program> {
    find(path, "--version").context("no wasm-fn to measure: build it with `cargo build --release`")
}

/// A peer, or why it is skipped.
///
/// `ask` is the argument that makes it say its version, which must not be older than `oldest`: to be faster
/// than a peer of long ago says nothing.
pub(crate) fn peer(path: &Path, ask: &str, oldest: &[u64]) -> Result<Program, String> {
    let program = find(path, ask).map_err(|error| format!("{error:#}"))?;
    match numbers(&program.version) {
        found if found.as_slice() >= oldest => Ok(program),
        _ => {
            let oldest: Vec<_> = oldest.iter().map(u64::to_string).collect();
            Err(format!(
                "`{}` is {}, expected {} or later",
                path.display(),
                program.version,
                oldest.join(".")
            ))
        }
    }
}

/// The numbers of the first version or day in `text`, as in `nginx/1.22.1`, `v20.20.2` and `workerd
/// 2026-11-20`; none if there is no number.
fn numbers(text: &str) -> Vec<u64> {
    let start = text.find(|letter: char| letter.is_ascii_digit()).unwrap_or(text.len());
    let version = text[start..].split(|letter: char| !(letter.is_ascii_digit() || ".-".contains(letter)));
    let parts = version.take(1).flat_map(|version| version.split(['.', '-']));
    parts.map_while(|part| part.parse().ok()).collect()
}

fn find(path: &Path, ask: &str) -> Result<Program> {
    // A bare name is looked up on PATH; anything else must survive a change of the working directory.
    let bare = path.parent().is_some_and(|parent| parent.as_os_str().is_empty());
    let path = if bare { Ok(path.to_owned()) } else { path.canonicalize() }
        .with_context(|| format!("`{}` cannot be found", path.display()))?;
    let asked = Command::new(&path)
        .arg(ask)
        .output()
        .with_context(|| format!("`{}` cannot be started", path.display()))?;
    if !asked.status.success() {
        bail!("`{} {ask}` ended with {}", path.display(), asked.status);
    }
    // nginx says it on standard error.
    let said = if asked.stdout.is_empty() { asked.stderr } else { asked.stdout };
    let said = String::from_utf8_lossy(&said);
    let line = said.lines().next().unwrap_or_default().trim();
    // As in `nginx version: nginx/1.22.1`.
    let version = line.rsplit_once(": ").map_or(line, |(_, version)| version).to_owned();
    Ok(Program { path, version })
}

#[cfg(test)]
mod tests;
