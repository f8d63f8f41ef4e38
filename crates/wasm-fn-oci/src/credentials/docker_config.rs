//! docker's `config.json`: where `docker login` and its like leave credentials.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    io::{ErrorKind, Read as _},
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;
use zeroize::{Zeroize as _, Zeroizing};

use super::{Credentials, CredentialsError, helper};

/// Largest file, bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Docker Hub's name in the file, and its names elsewhere.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";
const DOCKER_HUB_HOSTS: [&str; 3] = ["docker.io", "index.docker.io", "registry-1.docker.io"];

/// The part of docker's `config.json` that is about credentials.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DockerConfig {
    #[serde(default)]
    auths: BTreeMap<String, Auth>,
    #[serde(default)]
    cred_helpers: BTreeMap<String, String>,
    creds_store: Option<String>,
    /// Where programs are looked for, if not in the `PATH` of this process.
    #[serde(skip)]
    programs: Option<OsString>,
}

/// What the file has of one registry.
#[derive(Default, Deserialize)]
struct Auth {
    /// `USER:PASSWORD` in base64.
    #[serde(default)]
    auth: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    identitytoken: String,
    #[serde(default)]
    registrytoken: String,
}

impl DockerConfig {
    /// Where docker has its configuration: `$DOCKER_CONFIG/config.json`, or else `~/.docker/config.json`.
    pub fn path(docker_config: Option<&Path>, home: Option<&Path>) -> Option<PathBuf> {
        let folder = match docker_config.filter(|folder| !folder.as_os_str().is_empty()) {
            Some(folder) => folder.to_owned(),
            None => home?.join(".docker"),
        };
        Some(folder.join("config.json"))
    }

    /// Reads the file at `path`. One that is not there is an empty one. Blocks.
    ///
    /// # Errors
    /// It cannot be read, has more than 1 MiB, or is malformed.
    pub fn read(path: &Path) -> Result<Self, CredentialsError> {
        let unreadable =
            |cause: String| CredentialsError::Unreadable { file: path.display().to_string(), cause };
        let file = match std::fs::File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(unreadable(error.to_string())),
        };
        let mut bytes = Zeroizing::new(Vec::new());
        file.take(FILE_BYTES_MAX + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| unreadable(error.to_string()))?;
        if bytes.len() as u64 > FILE_BYTES_MAX {
            return Err(unreadable(format!("it has more than {FILE_BYTES_MAX} bytes")));
        }
        Self::parse(&bytes).map_err(|error| unreadable(error.to_string()))
    }

    /// Reads the text of a file.
    ///
    /// # Errors
    /// It is malformed. The error does not show what it has.
    pub fn parse(json: &[u8]) -> Result<Self, CredentialsError> {
        serde_json::from_slice(json).map_err(|error| {
            // The error's own text may show values.
            let place = format!("line {}, column {}", error.line(), error.column());
            CredentialsError::Malformed(format!("no valid JSON of its kind at {place}"))
        })
    }

    /// The credentials for `registry`, such as `ghcr.io`. Where a program keeps them, it is run, for 30
    /// seconds at most.
    ///
    /// # Errors
    /// The program fails, or what is stored is malformed.
    pub async fn credentials(&self, registry: &str) -> Result<Credentials, CredentialsError> {
        let key = key(registry);
        let helper = self.cred_helpers.get(registry).or_else(|| self.cred_helpers.get(key));
        if let Some(helper) = helper.or(self.creds_store.as_ref()).filter(|helper| !helper.is_empty())
            && let Some(credentials) = helper::get(helper, key, self.programs.as_deref()).await?
        {
            return Ok(credentials);
        }
        self.stored(registry)
    }

    /// Looks for programs in `folder` first.
    #[cfg(test)]
    pub(super) fn with_programs_in(mut self, folder: &Path) -> Self {
        self.programs = Some(format!("{}:/usr/bin:/bin", folder.display()).into());
        self
    }

    /// The credentials for `registry` that are in the configuration itself. Runs nothing.
    ///
    /// # Errors
    /// What is stored is malformed.
    pub fn stored(&self, registry: &str) -> Result<Credentials, CredentialsError> {
        let key = key(registry);
        let exact = self.auths.get(key);
        let auth = exact.or_else(|| {
            let host = host(key);
            self.auths.iter().find(|(name, _)| host == self::host(name)).map(|(_, auth)| auth)
        });
        auth.map_or(Ok(Credentials::Anonymous), |auth| auth.credentials(registry))
    }
}

impl Drop for Auth {
    fn drop(&mut self) {
        for secret in [&mut self.auth, &mut self.password, &mut self.identitytoken, &mut self.registrytoken] {
            secret.zeroize();
        }
    }
}

impl Auth {
    fn credentials(&self, registry: &str) -> Result<Credentials, CredentialsError> {
        if !self.registrytoken.is_empty() {
            return Ok(Credentials::RegistryToken(Zeroizing::new(self.registrytoken.clone())));
        }
        if !self.identitytoken.is_empty() {
            return Ok(Credentials::IdentityToken(Zeroizing::new(self.identitytoken.clone())));
        }
        if !self.auth.is_empty() {
            let malformed = || {
                CredentialsError::Malformed(format!("`auth` of {registry} is not base64 of USER:PASSWORD"))
            };
            let decoded = Zeroizing::new(STANDARD.decode(self.auth.trim()).map_err(|_| malformed())?);
            let text = std::str::from_utf8(&decoded).map_err(|_| malformed())?;
            // docker pads with zeros.
            let (username, password) = text.trim_end_matches('\0').split_once(':').ok_or_else(malformed)?;
            return Ok(Credentials::basic(username, password));
        }
        if self.username.is_empty() {
            return Ok(Credentials::Anonymous);
        }
        Ok(Credentials::basic(&self.username, &self.password))
    }
}

/// The name of `registry` in docker's files.
fn key(registry: &str) -> &str {
    if DOCKER_HUB_HOSTS.contains(&registry) { DOCKER_HUB } else { registry }
}

/// The host and port of a name in the file, which may be a URL.
fn host(name: &str) -> &str {
    let name = name.strip_prefix("https://").or_else(|| name.strip_prefix("http://")).unwrap_or(name);
    name.split('/').next().unwrap_or_default()
}
