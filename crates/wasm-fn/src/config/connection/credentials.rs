//! The logins of a user, by node, in a file that nobody else may read.
//!
//! The file is replaced as a whole. Whoever changes it holds a lock meanwhile, so that of two commands that
//! renew a login at once one waits for the other, and no issuer sees a refresh token twice.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fmt,
    fs::{self, File},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use wasm_fn_core::Scheme;

use super::NodeAddress;
use crate::fault::Fault;

/// Name of the file, below the user's folder of configuration.
const FILE: &str = "wasm-fn/credentials.json";

/// Most bytes of the file.
const BYTES_MAX: u64 = 4 << 20;

/// The format of the file.
const FORMAT: u32 = 1;

/// Where a user's logins are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CredentialsFile(PathBuf);

/// A login to a node.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StoredLogin {
    /// The issuer that vouches for the user.
    pub(crate) issuer: String,
    /// The client by which they logged in.
    pub(crate) client_id: String,
    /// The audience of the node's tokens.
    pub(crate) audience: String,
    /// What the node is shown.
    pub(crate) token: String,
    /// Until when it is accepted, Unix milliseconds.
    pub(crate) expires_ms: u64,
    /// With which the issuer gives a new one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) refresh_token: Option<String>,
}

/// The file as it is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    format: u32,
    /// By the node's address.
    logins: BTreeMap<String, StoredLogin>,
}

/// Keeps others from changing the file until it is dropped.
pub(crate) struct CredentialsLock(#[expect(dead_code, reason = "closing it unlocks it")] File);

/// Why the file cannot be used. No text shows any of its contents.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CredentialsError {
    /// It cannot be read.
    #[error("credentials file {} cannot be read: {source}", .path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    /// It cannot be written.
    #[error("credentials file {} cannot be written: {source}", .path.display())]
    Unwritable { path: PathBuf, source: io::Error },
    /// Others may read it.
    #[error("credentials file {} has mode {found:04o}, expected 0600: others may have read it", .path.display())]
    Exposed { path: PathBuf, found: u32 },
    /// It is something else.
    #[error("credentials file {} is invalid at line {line}, expected what `wasm-fn login` writes", .path.display())]
    Invalid { path: PathBuf, line: usize },
    /// It is of another version of the program.
    #[error("credentials file {} has the format {found}, expected {FORMAT}", .path.display())]
    Format { path: PathBuf, found: u32 },
    /// It is too large.
    #[error("credentials file {} has more than {BYTES_MAX} bytes", .path.display())]
    TooLarge { path: PathBuf },
}

impl CredentialsError {
    /// Turns this into a command's fault; `error` says what did not happen.
    pub(crate) fn fault(self, error: impl Into<String>) -> Fault {
        let help = match &self {
            Self::Exposed { path, .. } => format!(
                "log out of what is in it, then run `chmod 600 {}`; or delete it and log in again",
                path.display()
            ),
            Self::Unreadable { .. } | Self::Unwritable { .. } => {
                "check who owns the file and its folder".to_owned()
            }
            Self::Invalid { .. } | Self::Format { .. } | Self::TooLarge { .. } => {
                "delete it and log in again, or set WASM_FN_TOKEN".to_owned()
            }
        };
        Fault::new("credentials", error, self).help(help)
    }
}

impl CredentialsFile {
    /// That of the user who runs the program; `None` if they have no home.
    pub(crate) fn of_user() -> Option<Self> {
        Self::below(std::env::var_os("XDG_CONFIG_HOME"), std::env::home_dir())
    }

    /// The file by the XDG Base Directory Specification: a folder that is not absolute does not count.
    fn below(config: Option<OsString>, home: Option<PathBuf>) -> Option<Self> {
        let config = config.map(PathBuf::from).filter(|folder| folder.is_absolute());
        let home = home.filter(|home| home.is_absolute()).map(|home| home.join(".config"));
        config.or(home).map(|folder| Self(folder.join(FILE)))
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// The login to `node`. Blocks.
    ///
    /// # Errors
    /// The file cannot be used.
    pub(crate) fn find(&self, node: &NodeAddress) -> Result<Option<StoredLogin>, CredentialsError> {
        Ok(self.read()?.remove(&key(node)))
    }

    /// Keeps other commands from changing the file. Blocks until none does.
    ///
    /// # Errors
    /// The file beside it cannot be created.
    pub(crate) fn lock(&self) -> Result<CredentialsLock, CredentialsError> {
        let unwritable = |source| CredentialsError::Unwritable { path: self.0.clone(), source };
        let folder = self.0.parent().unwrap_or(Path::new("/"));
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(unwritable)?;
        let mut open = File::options();
        open.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = open.open(self.0.with_extension("lock")).map_err(unwritable)?;
        file.lock().map_err(unwritable)?;
        Ok(CredentialsLock(file))
    }

    /// Replaces the login to `node`, or removes it. Returns the one that was there. Blocks.
    ///
    /// # Errors
    /// The file cannot be used; then it is as it was.
    pub(crate) fn replace(
        &self,
        _lock: &CredentialsLock,
        node: &NodeAddress,
        login: Option<StoredLogin>,
    ) -> Result<Option<StoredLogin>, CredentialsError> {
        let mut logins = self.read()?;
        let before = match login {
            Some(login) => logins.insert(key(node), login),
            None => match logins.remove(&key(node)) {
                None => return Ok(None),
                before => before,
            },
        };
        let text = serde_json::to_vec_pretty(&Stored { format: FORMAT, logins });
        let text = text.expect("texts and numbers can be written as JSON");
        if text.len() as u64 > BYTES_MAX {
            return Err(CredentialsError::TooLarge { path: self.0.clone() });
        }
        self.write(&text).map_err(|source| CredentialsError::Unwritable { path: self.0.clone(), source })?;
        Ok(before)
    }

    /// The logins in the file; none if there is no file.
    fn read(&self) -> Result<BTreeMap<String, StoredLogin>, CredentialsError> {
        let path = || self.0.clone();
        let unreadable = |source| CredentialsError::Unreadable { path: path(), source };
        let file = match File::open(&self.0) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
            Err(error) => return Err(unreadable(error)),
        };
        let found = file.metadata().map_err(unreadable)?.permissions().mode() & 0o7777;
        if found & 0o077 != 0 {
            return Err(CredentialsError::Exposed { path: path(), found });
        }
        let mut text = Vec::new();
        file.take(BYTES_MAX + 1).read_to_end(&mut text).map_err(unreadable)?;
        if text.len() as u64 > BYTES_MAX {
            return Err(CredentialsError::TooLarge { path: path() });
        }
        // An error of serde_json may have a token in its text, so only its place is told.
        let invalid =
            |error: serde_json::Error| CredentialsError::Invalid { path: path(), line: error.line() };
        let Format { format } = serde_json::from_slice(&text).map_err(invalid)?;
        if format != FORMAT {
            return Err(CredentialsError::Format { path: path(), found: format });
        }
        let stored: Stored = serde_json::from_slice(&text).map_err(invalid)?;
        Ok(stored.logins)
    }

    /// Replaces the file as a whole. A temporary file has mode 0600.
    fn write(&self, text: &[u8]) -> io::Result<()> {
        let folder = self.0.parent().unwrap_or(Path::new("/"));
        let mut draft = tempfile::NamedTempFile::new_in(folder)?;
        draft.write_all(text)?;
        draft.as_file().sync_all()?;
        draft.persist(&self.0)?;
        Ok(())
    }
}

/// The format of a file, whatever else it has.
#[derive(Deserialize)]
struct Format {
    format: u32,
}

/// The name of `node` in the file: its address without what makes no difference.
fn key(node: &NodeAddress) -> String {
    let NodeAddress { scheme, authority } = node;
    let usual = match scheme {
        Scheme::Http => ":80",
        Scheme::Https => ":443",
    };
    let authority = authority.as_str().to_ascii_lowercase();
    format!("{}://{}", scheme.as_str(), authority.strip_suffix(usual).unwrap_or(&authority))
}

/// Hides the tokens.
impl fmt::Debug for StoredLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("StoredLogin");
        shown.field("issuer", &self.issuer).field("client_id", &self.client_id);
        shown.field("expires_ms", &self.expires_ms).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
