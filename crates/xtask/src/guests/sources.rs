//! The hash that ties a prebuilt guest to its sources.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use super::{Prebuilt, read};

/// Sources of every Rust guest besides its own folder: the workspace's settings, the locked dependencies,
/// and the shared crate.
const RUST_SHARED: [&str; 3] = ["Cargo.toml", "Cargo.lock", "support"];

/// SHA-256 of the sources of `prebuilt`, whose guest is in the folder `guests`.
///
/// The sources are the guest's folder and, for Rust, [`RUST_SHARED`]. Files are hashed in the order of their
/// paths relative to `guests`. Path and contents each follow their length as eight little-endian bytes, so
/// that no two sets of sources give the same input.
pub(super) fn hash(guests: &Path, prebuilt: &Prebuilt) -> Result<String> {
    let mut files = Vec::new();
    collect(&guests.join(prebuilt.guest), &mut files)?;
    if prebuilt.recipe.is_rust() {
        for shared in RUST_SHARED {
            collect(&guests.join(shared), &mut files)?;
        }
    }
    let mut named = Vec::new();
    for file in files {
        let relative = file.strip_prefix(guests).context("sources are under the guests' folder")?;
        let name = relative.to_str().with_context(|| format!("{} is not UTF-8", relative.display()))?;
        named.push((name.replace(std::path::MAIN_SEPARATOR, "/"), file));
    }
    named.sort();

    let mut hasher = Sha256::new();
    for (name, file) in named {
        for part in [name.as_bytes(), &read(&file)?] {
            hasher.update((part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
    }
    Ok(hex(&hasher.finalize()))
}

pub(super) fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Adds `path`, or every file under it if it is a folder.
fn collect(path: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    if !path.is_dir() {
        files.push(path.into());
        return Ok(());
    }
    for child in fs::read_dir(path).with_context(|| path.display().to_string())? {
        collect(&child?.path(), files)?;
    }
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
