//! Artifacts in registries.

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasm_fn_core::Digest;
use wasm_fn_oci::{
    AddressJudge, Annotations, Artifact, Credentials, DockerConfig, Reference, RegistryClient, RegistryError,
    RegistryOptions,
};
use wasm_fn_runtime::{Listeners, check_fetchable};
use wasm_fn_secrets::SecretValue;

use super::fetch::{FETCH_WAIT, FetchError};

/// Asks registries. The client is made when one is asked for the first time.
pub(super) struct Registries {
    options: RegistryOptions,
    client: OnceLock<RegistryClient>,
}

/// Keeps registries, and what they redirect to, away from where nothing is fetched from.
#[derive(Debug)]
struct Fetchable(Listeners);

impl AddressJudge for Fetchable {
    fn judge(&self, address: SocketAddr) -> Result<(), String> {
        check_fetchable(address, &self.0).map_err(|error| error.to_string())
    }
}

/// An artifact that a registry has.
pub(crate) struct Found(Artifact);

impl Found {
    /// The digest of its component.
    pub(super) fn digest(&self) -> Digest {
        self.0.module
    }

    /// Where it is, with the digest of its manifest, and what it says of itself.
    pub(super) fn describe(self) -> (String, Annotations) {
        (self.0.reference.to_string(), self.0.annotations)
    }
}

impl Registries {
    /// `listeners` are the node's own sockets. Registries are trusted by the certificates of the machine and
    /// by `authorities`, in PEM.
    pub(super) fn new(listeners: Listeners, authorities: Option<Bytes>) -> Self {
        let judge = Some(Arc::new(Fetchable(listeners)) as _);
        let options = RegistryOptions { plain_http: false, timeout: FETCH_WAIT, authorities, judge };
        Self { options, client: OnceLock::new() }
    }

    fn client(&self) -> Result<&RegistryClient, FetchError> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let client = RegistryClient::new(self.options.clone()).map_err(FetchError::from)?;
        Ok(self.client.get_or_init(|| client))
    }

    /// The digest of the manifest that `reference` stands for now.
    pub(super) async fn resolve(
        &self,
        reference: &Reference,
        secret: Option<&SecretValue>,
    ) -> Result<Digest, FetchError> {
        let credentials = credentials(reference, secret).await?;
        Ok(self.client()?.resolve(reference, &credentials).await?)
    }

    /// The artifact that `reference` stands for now.
    pub(super) async fn find(
        &self,
        reference: &Reference,
        secret: Option<&SecretValue>,
    ) -> Result<Found, FetchError> {
        let credentials = credentials(reference, secret).await?;
        Ok(Found(self.client()?.find(reference, &credentials).await?))
    }

    /// Writes the component of `found` to `out`. What was written counts only if this succeeds.
    pub(super) async fn pull(
        &self,
        found: &Found,
        secret: Option<&SecretValue>,
        bytes_max: u64,
        out: &mut (impl AsyncWrite + Unpin),
    ) -> Result<(), FetchError> {
        let credentials = credentials(&found.0.reference, secret).await?;
        Ok(self.client()?.pull(&found.0, &credentials, bytes_max, out).await?)
    }
}

/// What is shown to the registry: the trigger's secret, a pair or a token, else what docker's configuration
/// of the node's user has for it.
async fn credentials(reference: &Reference, secret: Option<&SecretValue>) -> Result<Credentials, FetchError> {
    if let Some(secret) = secret {
        let text = secret.expose().trim_end_matches(['\r', '\n']);
        let pair = text.parse();
        return Ok(pair.unwrap_or_else(|_| Credentials::RegistryToken(text.to_owned().into())));
    }
    let path = |name| std::env::var_os(name).map(PathBuf::from);
    let (config, home) = (path("DOCKER_CONFIG"), path("HOME"));
    let Some(path) = DockerConfig::path(config.as_deref(), home.as_deref()) else {
        return Ok(Credentials::Anonymous);
    };
    let unusable = |error: wasm_fn_oci::CredentialsError| FetchError::OfNode(error.to_string());
    let read = tokio::task::spawn_blocking(move || DockerConfig::read(&path)).await;
    let config = read.map_err(|error| FetchError::OfNode(error.to_string()))?.map_err(unusable)?;
    config.credentials(reference.registry()).await.map_err(unusable)
}

impl From<RegistryError> for FetchError {
    fn from(error: RegistryError) -> Self {
        let text = error.to_string();
        match error {
            RegistryError::Untrusted { .. } => Self::NotYet(format!(
                "{text}; certificates of your own authority are trusted with `egress_ca`"
            )),
            // A registry may refuse what it does not have yet, and credentials can be mended.
            RegistryError::Unreachable { .. }
            | RegistryError::TimedOut { .. }
            | RegistryError::Unauthorized { .. }
            | RegistryError::NotFound(..)
            | RegistryError::ModuleGone(..)
            | RegistryError::Refused { .. }
            | RegistryError::Malformed { .. } => Self::NotYet(text),
            RegistryError::Prohibited { .. }
            | RegistryError::NotWasm { .. }
            | RegistryError::NotAModule(_)
            | RegistryError::TooLarge { .. }
            | RegistryError::DigestMismatch { .. }
            | RegistryError::Signature { .. } => Self::Refused(text),
            RegistryError::Write(_) | RegistryError::Setup(_) => Self::OfNode(text),
        }
    }
}
