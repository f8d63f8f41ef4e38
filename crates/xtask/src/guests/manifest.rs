//! The manifest of the prebuilt guests: the sources and the toolchain of each file.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// The manifest's entries by file name without `.wasm`, sorted so that a rebuild changes few lines.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Manifest {
    entries: BTreeMap<String, Entry>,
}

/// The origin of one prebuilt guest. Hashes are SHA-256 in lower-case hex.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    /// The guest's folder.
    pub(super) guest: String,
    /// Hash of the WebAssembly file.
    pub(super) sha256: String,
    /// Hash of the sources, as `sources::hash` defines it.
    pub(super) sources: String,
    pub(super) target: String,
    /// The compiler's own name and version.
    pub(super) toolchain: String,
}

impl Manifest {
    pub(super) fn load(path: &Path) -> Result<Self> {
        let text = fs::read(path).with_context(|| path.display().to_string())?;
        serde_json::from_slice(&text).with_context(|| path.display().to_string())
    }

    /// Loads the manifest for a rebuild, which may be the first one.
    pub(super) fn load_or_empty(path: &Path) -> Result<Self> {
        if path.exists() { Self::load(path) } else { Ok(Self::default()) }
    }

    pub(super) fn store(&self, path: &Path) -> Result<()> {
        let mut text = serde_json::to_string_pretty(self).context("manifest as JSON")?;
        text.push('\n');
        fs::write(path, text).with_context(|| path.display().to_string())
    }

    pub(super) fn get(&self, name: &str) -> Option<&Entry> {
        self.entries.get(name)
    }

    pub(super) fn insert(&mut self, name: &str, entry: Entry) {
        self.entries.insert(name.into(), entry);
    }

    pub(super) fn names(&self) -> impl Iterator<Item = String> {
        self.entries.keys().cloned()
    }
}
