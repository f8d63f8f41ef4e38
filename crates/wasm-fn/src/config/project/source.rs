//! Where the module of a deployment comes from.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use wasm_fn_oci::{Reference, ReferenceError};

/// A file, or an artifact in a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ModuleSource {
    /// A file.
    File(PathBuf),
    /// An artifact.
    Registry(Reference),
}

impl ModuleSource {
    /// Reads `oci://…` as a reference, and all else as a path.
    ///
    /// # Errors
    /// It is meant as a reference, and is none.
    pub(crate) fn parse(text: &Path) -> Result<Self, ReferenceError> {
        match text.to_str().filter(|text| Reference::is_meant(text)) {
            Some(reference) => reference.parse().map(Self::Registry),
            None => Ok(Self::File(text.to_owned())),
        }
    }

    /// The same, where a path is relative to `folder`.
    pub(crate) fn below(self, folder: &Path) -> Self {
        match self {
            Self::File(path) => Self::File(folder.join(path)),
            Self::Registry(_) => self,
        }
    }

    /// Whether both are the same file, or the same tag or digest.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let canonical = |path: &Path| path.canonicalize().ok();
        match (self, other) {
            (Self::File(a), Self::File(b)) => {
                a == b || canonical(a).zip(canonical(b)).is_some_and(|(a, b)| a == b)
            }
            _ => self == other,
        }
    }

    /// What a function may be named after: the file's stem, or the last part of the repository.
    pub(super) fn stem(&self) -> String {
        match self {
            Self::File(path) => path.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
            Self::Registry(reference) => {
                reference.repository().rsplit('/').next().unwrap_or_default().to_owned()
            }
        }
    }
}

impl fmt::Display for ModuleSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Registry(reference) => write!(f, "{reference}"),
        }
    }
}
