//! `wasm-fn push`: a module becomes an artifact in a registry.

use std::{io::Read as _, path::Path};

use serde::Serialize;
use wasm_fn_core::{Digest, format_bytes};
use wasm_fn_oci::{Annotations, Artifact};

use super::registry::Registry;
use crate::{args, commands::DONE, fault::Fault, output::Output};

/// Largest module that is pushed, bytes: the largest that any node takes (`--component-max`).
const MODULE_BYTES_MAX: u64 = 4 << 30;

/// What was pushed, and where it is.
#[derive(Debug, Serialize)]
struct Pushed {
    /// With the digest of the manifest.
    reference: String,
    /// Digest of the manifest, `sha256:…`.
    digest: String,
    /// Digest of the module, as a node has it.
    component: String,
    bytes: u64,
    annotations: Annotations,
}

impl From<Artifact> for Pushed {
    fn from(artifact: Artifact) -> Self {
        let Artifact { reference, manifest, module, bytes, annotations } = artifact;
        let text = |digest: Digest| digest.to_string();
        Self {
            reference: reference.to_string(),
            digest: format!("sha256:{manifest}"),
            component: text(module),
            bytes,
            annotations,
        }
    }
}

pub(crate) async fn run(args: args::Push, output: Output) -> Result<u8, Fault> {
    let args::Push { file, reference, revision, source, annotations, registry, output: _ } = args;
    let failed = format!("nothing was pushed to {reference}");
    if reference.digest().is_some() {
        let cause = "the reference has a digest, expected a tag: the digest is that of what is pushed";
        return Err(Fault::new("invalid-reference", failed, cause));
    }
    let module = read(&file).map_err(|error| {
        Fault::new("unreadable-file", failed.clone(), format!("{}: {error}", file.display()))
    })?;
    let named =
        [("org.opencontainers.image.revision", revision), ("org.opencontainers.image.source", source)];
    let named = named.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?)));
    let annotations: Annotations = annotations.into_iter().chain(named).collect();
    let registry = Registry::open(&registry, &reference, failed).await?;
    #[expect(clippy::disallowed_methods, reason = "an artifact says when it was made")]
    let created = std::time::SystemTime::now();
    let pushed = Pushed::from(registry.push(&reference, module, &annotations, created).await?);
    output.data(&pushed, |pushed| pushed.reference.clone())?;
    output.talk(&format!("pushed {} ({})", file.display(), format_bytes(pushed.bytes)));
    output.next(&[(format!("wasm-fn deploy {}", pushed.reference), "deploy it")]);
    Ok(DONE)
}

/// Reads the file at `path`. Blocks.
fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let file = std::fs::File::open(path)?;
    if !file.metadata()?.is_file() {
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, "it is not a file"));
    }
    let mut module = Vec::new();
    file.take(MODULE_BYTES_MAX + 1).read_to_end(&mut module)?;
    if module.len() as u64 > MODULE_BYTES_MAX {
        let cause = format!("it has more than {MODULE_BYTES_MAX} bytes");
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, cause));
    }
    Ok(module)
}
