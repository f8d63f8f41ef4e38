//! The key of a cluster: what makes tokens, secrets, preview tokens and native code of one node valid on all.
//!
//! It is one file with the contents of the files that a node which is alone makes for itself.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use wasm_fn_control::{Access, TokenError};
use wasm_fn_secrets::MessageKey;
use zeroize::Zeroizing;

use super::super::secrets_key::{self, SecretsKeyError};

/// The files of a data directory that are the same on all nodes of a cluster, and which of them holds the key
/// of secrets.
const FILES: [&str; 4] = ["artifact.key", "preview.key", SECRETS, "token.key"];
const SECRETS: &str = "secrets.key";

/// Largest file with a key, in bytes.
const BYTES_MAX: u64 = 64 << 10;

/// What the file begins with.
const ABOUT: &str = "# The key of a cluster of wasm-fn nodes. Who has it can make tokens and read secrets.\n";

/// The key of a cluster. It does not print.
#[derive(PartialEq, Eq)]
pub(crate) struct ClusterKey(BTreeMap<&'static str, Zeroizing<Vec<u8>>>);

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClusterKeyError {
    /// The file is not there.
    #[error(
        "key of the cluster {} is not there, expected the file that `wasm-fn cluster init` has made", .0.display()
    )]
    Missing(PathBuf),
    /// A file cannot be read or written.
    #[error("{} cannot be read or written", .path.display())]
    File { path: PathBuf, source: io::Error },
    /// Others may read the file.
    #[error("key of the cluster {} has mode {found:04o}, expected 0600: others may have read it", .path.display())]
    Mode { path: PathBuf, found: u32 },
    /// The file holds no key.
    #[error("{} holds no key of a cluster: {reason}", .path.display())]
    Malformed { path: PathBuf, reason: String },
    /// The data directory has keys of its own.
    #[error(
        "{} differs from the key of the cluster, expected the data directory of one of its nodes or an empty one",
        .0.display()
    )]
    Differs(PathBuf),
    /// A token file cannot be made.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// A key of secrets cannot be made.
    #[error(transparent)]
    Secrets(#[from] SecretsKeyError),
}

impl ClusterKey {
    /// A new key, made in a folder of its own in `parent`. Blocks.
    ///
    /// # Errors
    /// The files cannot be written.
    pub(crate) fn make(parent: &Path) -> Result<Self, ClusterKeyError> {
        let failed = |source| ClusterKeyError::File { path: parent.to_owned(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(parent).map_err(failed)?;
        let folder = tempfile::Builder::new().prefix(".cluster-key-").tempdir_in(parent).map_err(failed)?;
        Access::open(folder.path())?;
        secrets_key::make_file(folder.path())?;
        write_new(&folder.path().join("artifact.key"), &rand::random::<[u8; 32]>())?;
        Self::of_node(folder.path())
    }

    /// The keys of the node whose data directory is `data_dir`. Blocks.
    ///
    /// # Errors
    /// One of them is not there.
    pub(crate) fn of_node(data_dir: &Path) -> Result<Self, ClusterKeyError> {
        let read = |name: &'static str| {
            let path = data_dir.join(name);
            let bytes = fs::read(&path).map_err(|source| ClusterKeyError::File { path, source })?;
            Ok((name, Zeroizing::new(bytes)))
        };
        Ok(Self(FILES.into_iter().map(read).collect::<Result<_, ClusterKeyError>>()?))
    }

    /// Reads the file at `path`. Blocks.
    ///
    /// # Errors
    /// It is not there, others may read it, or it holds no key.
    pub(crate) fn read(path: &Path) -> Result<Self, ClusterKeyError> {
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::NotFound => ClusterKeyError::Missing(path.to_owned()),
            _ => ClusterKeyError::File { path: path.to_owned(), source },
        };
        let malformed = |reason: String| ClusterKeyError::Malformed { path: path.to_owned(), reason };
        let about = fs::metadata(path).map_err(failed)?;
        let mode = about.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(ClusterKeyError::Mode { path: path.to_owned(), found: mode });
        }
        if about.len() > BYTES_MAX {
            return Err(malformed(format!("found {} bytes, expected at most {BYTES_MAX}", about.len())));
        }
        let text = Zeroizing::new(fs::read_to_string(path).map_err(failed)?);
        Self::parse(&text).map_err(malformed)
    }

    fn parse(text: &str) -> Result<Self, String> {
        let mut files = BTreeMap::new();
        for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.starts_with('#')) {
            let number = at + 1;
            let expected = || format!("line {number}: expected one of {}, and its bytes", FILES.join(", "));
            let (name, hex) = line.split_once(' ').ok_or_else(expected)?;
            let name = FILES.into_iter().find(|known| *known == name).ok_or_else(expected)?;
            let bytes =
                hex::decode(hex.trim()).map_err(|_| format!("line {number}: expected hexadecimal digits"))?;
            files.insert(name, Zeroizing::new(bytes));
        }
        match FILES.into_iter().find(|name| !files.contains_key(name)) {
            Some(missing) => Err(format!("found no {missing}, expected one")),
            None => Ok(Self(files)),
        }
    }

    /// The key of what nodes tell each other.
    pub(crate) fn messages(&self) -> MessageKey {
        MessageKey::derive(&self.material())
    }

    /// What tells the key from those of other clusters.
    pub(crate) fn fingerprint(&self) -> String {
        wasm_fn_secrets::fingerprint(&self.material())
    }

    /// What all nodes have: a node may have the key of secrets from elsewhere.
    fn material(&self) -> Vec<&[u8]> {
        let shared = self.0.iter().filter(|(name, _)| **name != SECRETS);
        shared.map(|(_, bytes)| bytes.as_slice()).collect()
    }

    /// Writes the key to a new file at `path`, for its owner only. Blocks.
    ///
    /// # Errors
    /// There is a file, or it cannot be written.
    pub(crate) fn write(&self, path: &Path) -> Result<(), ClusterKeyError> {
        let mut text = Zeroizing::new(ABOUT.to_owned());
        for (name, bytes) in &self.0 {
            let hex = Zeroizing::new(hex::encode(bytes));
            let _ = writeln!(text, "{name} {}", &*hex);
        }
        write_new(path, text.as_bytes())
    }

    /// Puts the files into `data_dir`; that with the key of secrets only if the node does not have it from
    /// elsewhere. Blocks.
    ///
    /// # Errors
    /// There is one that differs, or one cannot be written.
    pub(crate) fn install(&self, data_dir: &Path, has_own_secrets_key: bool) -> Result<(), ClusterKeyError> {
        let missing = self.missing(data_dir, has_own_secrets_key)?;
        missing.into_iter().try_for_each(|(path, bytes)| write_new(&path, bytes))
    }

    /// Checks that [`install`](Self::install) would find no file that differs. Blocks.
    ///
    /// # Errors
    /// There is one, or one cannot be read.
    pub(crate) fn check(&self, data_dir: &Path, has_own_secrets_key: bool) -> Result<(), ClusterKeyError> {
        self.missing(data_dir, has_own_secrets_key).map(|_| ())
    }

    /// The files that are not in `data_dir`.
    fn missing(
        &self,
        data_dir: &Path,
        has_own_secrets_key: bool,
    ) -> Result<Vec<(PathBuf, &[u8])>, ClusterKeyError> {
        let wanted = self.0.iter().filter(|(name, _)| **name != SECRETS || !has_own_secrets_key);
        let mut missing = Vec::new();
        for (name, bytes) in wanted {
            let path = data_dir.join(name);
            match fs::read(&path).map(Zeroizing::new) {
                Ok(found) if found == *bytes => {}
                Ok(_) => return Err(ClusterKeyError::Differs(path)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    missing.push((path, bytes.as_slice()));
                }
                Err(source) => return Err(ClusterKeyError::File { path, source }),
            }
        }
        Ok(missing)
    }
}

/// Writes `bytes` to a new file at `path`, as a whole or not at all, for its owner only.
fn write_new(path: &Path, bytes: &[u8]) -> Result<(), ClusterKeyError> {
    let draft = path.with_extension(format!("{:016x}", rand::random::<u64>()));
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        // Unlike a rename, a link never replaces a key.
        fs::hard_link(&draft, path)
    };
    let written = write();
    let _ = fs::remove_file(&draft);
    written.map_err(|source| ClusterKeyError::File { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests;
