//! Registries as commands speak to them: with the credentials of `docker login`, and with errors that say
//! what did not happen.

use std::{fs::File, path::PathBuf, time::Duration};

use tempfile::NamedTempFile;
use wasm_fn_oci::{
    Artifact, Credentials, DockerConfig, PublicKey, Reference, RegistryClient, RegistryError, RegistryOptions,
};

use crate::{args, fault::Fault};

/// How long one operation may take, such as pulling a module over a slow line.
const OPERATION_WAIT: Duration = Duration::from_secs(15 * 60);

/// A registry, and what it is shown.
pub(super) struct Registry {
    client: RegistryClient,
    credentials: Credentials,
    /// What did not happen, if something fails.
    failed: String,
}

impl Registry {
    /// Finds the credentials for the registry of `reference`. `failed` says what did not happen if it fails.
    pub(super) async fn open(
        args: &args::Registry,
        reference: &Reference,
        failed: String,
    ) -> Result<Self, Fault> {
        let authorities = match &args.registry_ca {
            Some(file) => {
                let unreadable = |error| {
                    let cause = format!("{} cannot be read: {error}", file.display());
                    Fault::new("unreadable-file", failed.clone(), cause)
                };
                Some(std::fs::read(file).map_err(unreadable)?.into())
            }
            None => None,
        };
        let (plain_http, timeout) = (args.plain_http, OPERATION_WAIT);
        let options = RegistryOptions { plain_http, timeout, authorities, judge: None };
        let client = RegistryClient::new(options).map_err(|error| fault(&error, &failed))?;
        let credentials = match &args.registry_credentials {
            Some(pair) => pair.parse(),
            None => match docker_config() {
                Some(path) => match DockerConfig::read(&path) {
                    Ok(config) => config.credentials(reference.registry()).await,
                    Err(error) => Err(error),
                },
                None => Ok(Credentials::Anonymous),
            },
        };
        let credentials =
            credentials.map_err(|error| Fault::new("registry-credentials", failed.clone(), error))?;
        Ok(Self { client, credentials, failed })
    }

    /// Finds the module that `reference` stands for. With a key, its holder must have signed it.
    pub(super) async fn find(
        &self,
        reference: &Reference,
        key: Option<&PublicKey>,
    ) -> Result<Artifact, Fault> {
        let artifact = self.told(self.client.find(reference, &self.credentials).await)?;
        if let Some(key) = key {
            self.told(self.client.verify(&artifact, &self.credentials, key).await)?;
        }
        Ok(artifact)
    }

    /// Pulls the module of `artifact`, of `bytes_max` bytes at most, into a file that goes with its handle.
    pub(super) async fn pull(&self, artifact: &Artifact, bytes_max: u64) -> Result<NamedTempFile, Fault> {
        let unwritable = |error| Fault::new("unwritable-file", self.failed.clone(), error);
        let file = NamedTempFile::with_prefix("wasm-fn-module-").map_err(unwritable)?;
        let mut out = tokio::fs::File::from_std(File::options().write(true).open(&file).map_err(unwritable)?);
        self.told(self.client.pull(artifact, &self.credentials, bytes_max, &mut out).await)?;
        Ok(file)
    }

    /// Pushes a module.
    pub(super) async fn push(
        &self,
        reference: &Reference,
        module: Vec<u8>,
        annotations: &wasm_fn_oci::Annotations,
        created: std::time::SystemTime,
    ) -> Result<Artifact, Fault> {
        let pushed = self.client.push(reference, &self.credentials, module.into(), annotations, created);
        self.told(pushed.await)
    }

    fn told<T>(&self, result: Result<T, RegistryError>) -> Result<T, Fault> {
        result.map_err(|error| fault(&error, &self.failed))
    }
}

/// Where docker has its configuration.
fn docker_config() -> Option<PathBuf> {
    let folder = std::env::var_os("DOCKER_CONFIG").map(PathBuf::from);
    DockerConfig::path(folder.as_deref(), std::env::home_dir().as_deref())
}

/// The fault that `error` is, with what to do about it.
fn fault(error: &RegistryError, failed: &str) -> Fault {
    let (code, help) = match error {
        RegistryError::Unreachable { .. } | RegistryError::TimedOut { .. } => ("registry-unreachable", None),
        RegistryError::Untrusted { .. } => (
            "registry-untrusted",
            Some(
                "pass the certificate of the authority that issued it with --registry-ca or WASM_FN_REGISTRY_CA",
            ),
        ),
        RegistryError::Unauthorized { .. } => (
            "registry-unauthorized",
            Some("run `docker login` for this registry, or set WASM_FN_REGISTRY_CREDENTIALS=USER:PASSWORD"),
        ),
        RegistryError::NotFound(..) => {
            ("no-such-artifact", Some("check the tag, or push it again with `wasm-fn push FILE REFERENCE`"))
        }
        RegistryError::ModuleGone(..) => {
            ("no-such-artifact", Some("push it again with `wasm-fn push FILE REFERENCE`"))
        }
        RegistryError::NotWasm { .. } | RegistryError::NotAModule(_) => ("not-wasm", None),
        RegistryError::TooLarge { .. } => ("too-large", Some("start the node with a larger --component-max")),
        RegistryError::DigestMismatch { .. } => {
            ("digest-mismatch", Some("the registry's storage is damaged, or somebody is in between"))
        }
        RegistryError::Signature { .. } => ("not-signed", None),
        RegistryError::Refused { .. }
        | RegistryError::Malformed { .. }
        | RegistryError::Prohibited { .. } => ("registry-refused", None),
        RegistryError::Write(_) => ("unwritable-file", None),
        RegistryError::Setup(_) => ("system", None),
    };
    let cause = match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    };
    let fault = Fault::new(code, failed, cause);
    match help {
        Some(help) => fault.help(help),
        None => fault,
    }
}
