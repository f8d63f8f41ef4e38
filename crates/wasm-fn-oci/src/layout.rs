//! What a module is in a registry: manifest and configuration, as JSON.
//!
//! The source is "Wasm OCI Artifact layout" of the CNCF's TAG Runtime, whose configuration is the one that
//! the crate oci-wasm writes. That crate is bound to another version of oci-client.

use std::{collections::BTreeMap, time::SystemTime};

use serde::{Deserialize, Serialize};
use wasm_fn_core::Digest;
use wasmparser::{Encoding, Parser, Payload};

use crate::{RegistryError, artifact::Annotations, error::shown};

/// The type of the layer that is a module.
pub(crate) const WASM_LAYER: &str = "application/wasm";

/// The type of the configuration.
const WASM_CONFIG: &str = "application/vnd.wasm.config.v0+json";

/// The type of a manifest, and of other documents that registries answer with.
pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

/// What is asked for: also what is refused, or a registry would say that it has nothing.
pub(crate) const ACCEPTED: [&str; 4] = [MANIFEST, INDEX, DOCKER_MANIFEST, DOCKER_LIST];

/// Annotation with the time at which an artifact was made (RFC 3339).
const CREATED: &str = "org.opencontainers.image.created";

/// One part of an artifact.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    pub(crate) media_type: String,
    pub(crate) digest: String,
    pub(crate) size: u64,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) annotations: Annotations,
}

/// A manifest as it is read. An index has `manifests` instead of layers.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Manifest {
    media_type: Option<String>,
    config: Option<Kind>,
    #[serde(default)]
    pub(crate) layers: Vec<Descriptor>,
    manifests: Option<Vec<serde::de::IgnoredAny>>,
    #[serde(default)]
    annotations: Option<Annotations>,
}

/// The type of a part that is not read otherwise.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Kind {
    media_type: String,
}

/// The module that a manifest names.
pub(crate) struct Module {
    pub(crate) digest: Digest,
    pub(crate) bytes: u64,
    pub(crate) annotations: Annotations,
}

impl Manifest {
    /// Its one module.
    ///
    /// # Errors
    /// What it is instead, to be read after "is".
    pub(crate) fn module(self, content_type: Option<&str>) -> Result<Module, String> {
        let kind = self.media_type.as_deref().or(content_type).unwrap_or(MANIFEST);
        if let Some(manifests) = &self.manifests {
            return Err(format!("an index of {} manifests", manifests.len()));
        }
        let config = self.config.as_ref().map_or("none", |config| config.media_type.as_str());
        if kind == DOCKER_MANIFEST
            || config.contains("container.image")
            || config.contains("oci.image.config")
        {
            return Err("a container image".to_owned());
        }
        let [layer] = &self.layers[..] else {
            return Err(format!("an artifact with {} layers", self.layers.len()));
        };
        if layer.media_type != WASM_LAYER {
            return Err(format!("an artifact with a layer of type {}", shown(&layer.media_type)));
        }
        let digest = digest(&layer.digest)
            .ok_or_else(|| format!("an artifact with the digest {}", shown(&layer.digest)))?;
        Ok(Module { digest, bytes: layer.size, annotations: self.annotations.unwrap_or_default() })
    }
}

/// Reads `sha256:…`.
pub(crate) fn digest(text: &str) -> Option<Digest> {
    text.strip_prefix("sha256:")?.parse().ok()
}

/// A manifest as it is written.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct NewManifest<'a> {
    schema_version: u8,
    media_type: &'a str,
    config: Descriptor,
    layers: [Descriptor; 1],
    annotations: &'a Annotations,
}

/// The configuration of a module.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Config {
    created: String,
    architecture: &'static str,
    os: &'static str,
    layer_digests: [String; 1],
    #[serde(skip_serializing_if = "Option::is_none")]
    component: Option<World>,
}

/// What a component exports and imports.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct World {
    pub(crate) exports: Vec<String>,
    pub(crate) imports: Vec<String>,
}

/// An artifact to push.
pub(crate) struct Parts {
    pub(crate) config: Vec<u8>,
    pub(crate) config_digest: Digest,
    pub(crate) module: Digest,
    pub(crate) manifest: Vec<u8>,
    pub(crate) manifest_digest: Digest,
    pub(crate) annotations: Annotations,
}

impl Parts {
    /// Lays out `module`, made at `created`.
    ///
    /// # Errors
    /// It is not WebAssembly, and why.
    pub(crate) fn of(
        module: &[u8],
        annotations: &Annotations,
        created: SystemTime,
    ) -> Result<Self, RegistryError> {
        let component = world(module).map_err(RegistryError::NotAModule)?;
        let digest = sha256(module);
        let created = humantime::format_rfc3339_seconds(created).to_string();
        let mut annotations = annotations.clone();
        annotations.entry(CREATED.to_owned()).or_insert_with(|| created.clone());
        let config = Config {
            created,
            architecture: "wasm",
            // A module that is not a component counts as WASI 0.1 there, whatever it imports.
            os: if component.is_some() { "wasip2" } else { "wasip1" },
            layer_digests: [format!("sha256:{digest}")],
            component,
        };
        let config = serde_json::to_vec(&config).expect("texts can be written as JSON");
        let config_digest = sha256(&config);
        let manifest = NewManifest {
            schema_version: 2,
            media_type: MANIFEST,
            config: descriptor(WASM_CONFIG, config_digest, config.len()),
            layers: [descriptor(WASM_LAYER, digest, module.len())],
            annotations: &annotations,
        };
        let manifest = serde_json::to_vec(&manifest).expect("texts can be written as JSON");
        let manifest_digest = sha256(&manifest);
        Ok(Self { config, config_digest, module: digest, manifest, manifest_digest, annotations })
    }
}

fn descriptor(media_type: &str, digest: Digest, size: usize) -> Descriptor {
    Descriptor {
        media_type: media_type.to_owned(),
        digest: format!("sha256:{digest}"),
        size: size as u64,
        annotations: Annotations::new(),
    }
}

/// SHA-256 of `bytes`.
pub(crate) fn sha256(bytes: &[u8]) -> Digest {
    use sha2::Digest as _;
    Digest(sha2::Sha256::digest(bytes).into())
}

/// What a component exports and imports; `None` for a module that is not a component. What is inside is not
/// validated.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn world(module: &[u8]) -> Result<Option<World>, String> {
    let mut world = World::default();
    let mut depth = 0_usize;
    for payload in Parser::new(0).parse_all(module) {
        match payload.map_err(|error| error.message().to_owned())? {
            Payload::Version { encoding: Encoding::Module, .. } if depth == 0 => return Ok(None),
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(imports) if depth == 0 => {
                for import in imports {
                    let import = import.map_err(|error| error.message().to_owned())?;
                    world.imports.push(import.name.name.to_owned());
                }
            }
            Payload::ComponentExportSection(exports) if depth == 0 => {
                for export in exports {
                    let export = export.map_err(|error| error.message().to_owned())?;
                    world.exports.push(export.name.name.to_owned());
                }
            }
            _ => {}
        }
    }
    Ok(Some(world))
}

#[cfg(test)]
mod tests;
