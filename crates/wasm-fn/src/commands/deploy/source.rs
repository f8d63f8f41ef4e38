//! The module of a deployment: read from a file, or found in a registry and pulled only if the node does not
//! have it.

use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;
use wasm_fn_core::Digest;
use wasm_fn_oci::{Artifact, PublicKey};

use super::registry::Registry;
use crate::{args, client::Upload, config::ModuleSource, fault::Fault};

/// A module that may be uploaded.
pub(super) struct Module {
    /// Its digest.
    pub(super) component: Digest,
    /// Its size.
    pub(super) bytes: u64,
    place: Place,
}

/// Where it is.
enum Place {
    File(PathBuf),
    Registry(Registry, Box<Artifact>),
}

/// The file of a module, for as long as this lives.
pub(super) enum ModuleFile {
    Own(PathBuf),
    Pulled(NamedTempFile),
}

impl ModuleFile {
    pub(super) fn path(&self) -> &Path {
        match self {
            Self::Own(path) => path,
            Self::Pulled(file) => file.path(),
        }
    }
}

impl Module {
    /// Finds the module at `source`. `failed` says what did not happen if it is not there.
    pub(super) async fn find(
        source: ModuleSource,
        registry: &args::Registry,
        verify_key: Option<&Path>,
        failed: String,
    ) -> Result<Self, Fault> {
        let unreadable = |path: &Path, error: &dyn std::fmt::Display| {
            Fault::new("unreadable-file", failed.clone(), format!("{}: {error}", path.display()))
        };
        let reference = match source {
            ModuleSource::Registry(reference) => reference,
            ModuleSource::File(path) => {
                if verify_key.is_some() {
                    let cause =
                        "a file has no signature, expected a reference: oci://REGISTRY/REPOSITORY:TAG";
                    return Err(Fault::new("not-signed", failed, cause));
                }
                let (component, bytes) = Upload::digest(&path).map_err(|error| unreadable(&path, &error))?;
                return Ok(Self { component, bytes, place: Place::File(path) });
            }
        };
        let key = verify_key.map(|path| {
            let text = std::fs::read_to_string(path).map_err(|error| unreadable(path, &error))?;
            text.parse::<PublicKey>().map_err(|error| unreadable(path, &error))
        });
        let key = key.transpose()?;
        let registry = Registry::open(registry, &reference, failed).await?;
        let artifact = registry.find(&reference, key.as_ref()).await?;
        let (component, bytes) = (artifact.module, artifact.bytes);
        Ok(Self { component, bytes, place: Place::Registry(registry, Box::new(artifact)) })
    }

    /// The artifact that it comes from.
    pub(super) fn artifact(&self) -> Option<&Artifact> {
        match &self.place {
            Place::File(_) => None,
            Place::Registry(_, artifact) => Some(artifact),
        }
    }

    /// Its file. It is pulled, if it is in a registry.
    pub(super) async fn into_file(self, bytes_max: u64) -> Result<ModuleFile, Fault> {
        match self.place {
            Place::File(path) => Ok(ModuleFile::Own(path)),
            Place::Registry(registry, artifact) => {
                registry.pull(&artifact, bytes_max).await.map(ModuleFile::Pulled)
            }
        }
    }
}

/// The reason of a deployment, with the artifact that its code comes from.
pub(super) fn message(typed: Option<String>, artifact: Option<&Artifact>) -> Option<String> {
    match (typed, artifact) {
        (typed, None) => typed,
        (None, Some(artifact)) => Some(format!("from {}", artifact.reference)),
        (Some(typed), Some(artifact)) => Some(format!("{typed} (from {})", artifact.reference)),
    }
}
