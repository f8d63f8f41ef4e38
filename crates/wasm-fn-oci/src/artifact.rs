//! What is known of an artifact before its module is pulled.

use std::collections::BTreeMap;

use wasm_fn_core::Digest;

use crate::reference::Reference;

/// Annotations of a manifest, such as `org.opencontainers.image.revision`.
pub type Annotations = BTreeMap<String, String>;

/// An artifact with one module, as its manifest describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artifact {
    /// Where it is, with the digest of its manifest.
    pub reference: Reference,
    /// The digest of its manifest.
    pub manifest: Digest,
    /// The digest of its module. A module with this digest need not be pulled.
    pub module: Digest,
    /// The size of its module, bytes.
    pub bytes: u64,
    /// What its manifest is annotated with.
    pub annotations: Annotations,
}
