//! `wasm-fn push` as typed, and how registries are spoken to.

use std::path::PathBuf;

use clap::{Args, ValueHint};
use wasm_fn_oci::Reference;

use crate::args::Format;

/// Help heading of the arguments for registries.
const REGISTRY: &str = "Registry";

/// `push`.
#[derive(Debug, Args)]
pub(crate) struct Push {
    /// The component or command module
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) file: PathBuf,
    /// Where to push it: `oci://REGISTRY/REPOSITORY:TAG`
    #[arg(value_name = "REFERENCE")]
    pub(crate) reference: Reference,
    /// Commit that it was built from
    #[arg(long, value_name = "COMMIT")]
    pub(crate) revision: Option<String>,
    /// Address of its source code
    #[arg(long, value_name = "URL")]
    pub(crate) source: Option<String>,
    /// Another annotation of the artifact; may be repeated
    #[arg(long = "annotation", value_name = "KEY=VALUE", value_parser = annotation)]
    pub(crate) annotations: Vec<(String, String)>,
    #[command(flatten)]
    pub(crate) registry: Registry,
    /// Format of data, and of errors on standard error
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    pub(crate) output: Format,
}

/// How a registry is spoken to.
#[derive(Debug, Default, Args)]
pub(crate) struct Registry {
    /// User and password for the registry [default: those of `docker login`]
    #[arg(help_heading = REGISTRY, long, env = "WASM_FN_REGISTRY_CREDENTIALS", value_name = "USER:PASSWORD", hide_env_values = true)]
    pub(crate) registry_credentials: Option<String>,
    /// PEM file with certificates of authorities that registries are trusted by, beside those of this machine
    #[arg(help_heading = REGISTRY, long, env = "WASM_FN_REGISTRY_CA", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) registry_ca: Option<PathBuf>,
    /// Speak HTTP without TLS with the registry, as with those of this machine in any case
    #[arg(help_heading = REGISTRY, long)]
    pub(crate) plain_http: bool,
}

/// Reads `KEY=VALUE`.
fn annotation(text: &str) -> Result<(String, String), &'static str> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("expected KEY=VALUE such as org.opencontainers.image.version=1.2.3"),
    }
}
