//! The age identities that decrypt a file: where they are, and who may read them.

use std::{
    ffi::OsString,
    fs::File,
    io::{self, Read as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use zeroize::Zeroizing;

use super::signature;

/// Most bytes of a file with identities.
const BYTES_MAX: usize = 64 << 10;

/// The variable of SOPS that names the file.
const SOPS_VARIABLE: &str = "SOPS_AGE_KEY_FILE";

/// Where SOPS looks otherwise, in the folder for configuration.
const SOPS_FILE: &str = "sops/age/keys.txt";

/// Kinds of identities that may be in a file, and that nothing here is decrypted with: those of plugins, and
/// those of hybrid post-quantum recipients.
const UNTRIED: [&str; 2] = ["AGE-PLUGIN-", "AGE-SECRET-KEY-PQ-"];

/// The file in which identities are looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum IdentityFile {
    /// The user named it.
    Named(PathBuf),
    /// SOPS looks there. It need not exist.
    Usual(PathBuf),
    /// There is no folder for configuration.
    Nowhere,
}

/// The identities of one file.
pub(super) struct Identities {
    file: PathBuf,
    keys: Vec<age::x25519::Identity>,
    untried: usize,
}

/// Why there are no identities. No text shows any of them.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IdentitiesError {
    /// Nobody named a file, and there is none where SOPS looks.
    #[error(
        "there is no age identity to open it with: {} does not exist, expected a file with AGE-SECRET-KEY-1… \
         there or in `--identity`, WASM_FN_AGE_IDENTITY or {SOPS_VARIABLE}",
        .0.display()
    )]
    Missing(PathBuf),
    /// Nobody named a file, and there is no folder where SOPS would look.
    #[error(
        "there is no age identity to open it with: expected a file with AGE-SECRET-KEY-1… in `--identity`, \
         WASM_FN_AGE_IDENTITY or {SOPS_VARIABLE}"
    )]
    Nowhere,
    /// The file cannot be read.
    #[error("identity file {} cannot be read: {error}", .path.display())]
    File { path: PathBuf, error: io::Error },
    /// The file is too long.
    #[error("identity file {} has more than 64 KiB, expected lines with AGE-SECRET-KEY-1…", .0.display())]
    TooLong(PathBuf),
    /// Others may read the file.
    #[error("identity file {} has mode {found:04o}, expected 0600: others may have read it", .path.display())]
    Mode { path: PathBuf, found: u32 },
    /// The file is encrypted itself.
    #[error("identity file {} is itself encrypted, expected lines with AGE-SECRET-KEY-1…", .0.display())]
    Encrypted(PathBuf),
    /// A line is no identity.
    #[error("line {line} of identity file {} is no identity, expected AGE-SECRET-KEY-1…", .path.display())]
    Line { path: PathBuf, line: usize },
    /// There is no identity in it that can be tried.
    #[error(
        "identity file {} has no identity of the kind AGE-SECRET-KEY-1…, and {untried} of other kinds",
        .path.display()
    )]
    Empty { path: PathBuf, untried: usize },
}

impl IdentityFile {
    /// The file that `named` says, else that of SOPS. `variable` reads the environment.
    pub(crate) fn find(named: Option<PathBuf>, variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let path = |name: &str| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        if let Some(path) = named.or_else(|| path(SOPS_VARIABLE)) {
            return Self::Named(path);
        }
        let folder = path("XDG_CONFIG_HOME").or_else(|| path("HOME").map(|home| home.join(".config")));
        folder.map_or(Self::Nowhere, |folder| Self::Usual(folder.join(SOPS_FILE)))
    }
}

impl Identities {
    /// Reads the identities in `file`: one a line, between comments. Blocks.
    ///
    /// # Errors
    /// There is no such file, it has no identity, or others than its owner may read it.
    pub(super) fn read(file: &IdentityFile) -> Result<Self, IdentitiesError> {
        let (path, is_named) = match file {
            IdentityFile::Named(path) => (path, true),
            IdentityFile::Usual(path) => (path, false),
            IdentityFile::Nowhere => return Err(IdentitiesError::Nowhere),
        };
        let failed = |error| IdentitiesError::File { path: path.clone(), error };
        let open = File::open(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound if !is_named => IdentitiesError::Missing(path.clone()),
            _ => failed(error),
        })?;
        let found = open.metadata().map_err(failed)?.permissions().mode() & 0o7777;
        if found & 0o077 != 0 {
            return Err(IdentitiesError::Mode { path: path.clone(), found });
        }
        // Allocated at once, so that no copy is left behind.
        let mut text = Zeroizing::new(Vec::with_capacity(BYTES_MAX + 64));
        open.take(BYTES_MAX as u64 + 1).read_to_end(&mut text).map_err(failed)?;
        if text.len() > BYTES_MAX {
            return Err(IdentitiesError::TooLong(path.clone()));
        }
        Self::parse(&text, path)
    }

    fn parse(text: &[u8], path: &Path) -> Result<Self, IdentitiesError> {
        let path = path.to_owned();
        if signature::is_age(text) {
            return Err(IdentitiesError::Encrypted(path));
        }
        let (mut keys, mut untried) = (Vec::new(), 0);
        for (index, line) in text.split(|&byte| byte == b'\n').enumerate() {
            let line = line.trim_ascii();
            if line.is_empty() || line.starts_with(b"#") {
                continue;
            }
            let line = str::from_utf8(line).unwrap_or_default();
            if let Ok(key) = line.parse() {
                keys.push(key);
            } else if UNTRIED.iter().any(|kind| line.starts_with(kind)) {
                untried += 1;
            } else {
                return Err(IdentitiesError::Line { path, line: index + 1 });
            }
        }
        if keys.is_empty() {
            return Err(IdentitiesError::Empty { path, untried });
        }
        Ok(Self { file: path, keys, untried })
    }

    /// The file that they are from.
    pub(super) fn file(&self) -> &Path {
        &self.file
    }

    /// How many others are in the file.
    pub(super) fn untried(&self) -> usize {
        self.untried
    }

    /// Each of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = &dyn age::Identity> {
        self.keys.iter().map(|key| key as &dyn age::Identity)
    }
}

#[cfg(test)]
mod tests;
