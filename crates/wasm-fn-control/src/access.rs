//! Who may use the admin API: bearer tokens.

use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use subtle::ConstantTimeEq as _;

/// The file in the data directory.
const FILE: &str = "token";

/// What every token starts with, so that scanners of leaked secrets can find it.
const PREFIX: &str = "wfn_";

/// Random bytes of a token.
const RANDOM_BYTES: usize = 32;

/// The tokens that are accepted.
pub struct Access {
    token: String,
}

/// Who makes a request, as the journal records it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// The name of the token.
    pub name: String,
}

/// Why the token file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The file cannot be read or made.
    #[error("token file {} cannot be used", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file holds something else.
    #[error("token file {} holds {bytes} bytes that are no token, expected wfn_ and 64 hexadecimal digits", .path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Bytes found.
        bytes: usize,
    },
}

impl Access {
    /// Accepts `token` alone.
    pub fn only(token: String) -> Self {
        Self { token }
    }

    /// Reads the token of `data_dir`, or makes one from 32 random bytes, readable by its owner alone.
    /// Blocks.
    ///
    /// # Errors
    /// The file cannot be read or made, or holds no token.
    pub fn open(data_dir: &Path) -> Result<Self, TokenError> {
        let path = data_dir.join(FILE);
        let failed = |source| TokenError::File { path: path.clone(), source };
        let text = match fs::read_to_string(&path) {
            Ok(text) => {
                fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).map_err(failed)?;
                text
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => make(data_dir, &path).map_err(failed)?,
            Err(error) => return Err(failed(error)),
        };
        let token = text.trim();
        let digits = token.strip_prefix(PREFIX).unwrap_or_default();
        if digits.len() != 2 * RANDOM_BYTES || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(TokenError::Malformed { path, bytes: text.len() });
        }
        Ok(Self::only(token.to_owned()))
    }

    /// Who `token` belongs to; takes the same time for every wrong token of the same length.
    pub fn actor(&self, token: &str) -> Option<Actor> {
        let same = self.token.as_bytes().ct_eq(token.as_bytes());
        bool::from(same).then(|| Actor { name: "admin".to_owned() })
    }
}

/// Makes a token file that is there completely or not at all, and never replaces one.
fn make(data_dir: &Path, path: &Path) -> io::Result<String> {
    let token = format!("{PREFIX}{}\n", hex::encode(rand::random::<[u8; RANDOM_BYTES]>()));
    let draft = data_dir.join(format!("{FILE}.{}", hex::encode(rand::random::<[u8; 8]>())));
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    let made = file.write_all(token.as_bytes()).and_then(|()| file.sync_all());
    // A link, unlike a rename, fails when somebody else was faster.
    let linked = made.and_then(|()| fs::hard_link(&draft, path));
    fs::remove_file(&draft)?;
    linked?;
    fs::File::open(data_dir)?.sync_all()?;
    Ok(token)
}

impl std::fmt::Debug for Access {
    /// Hides the token.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Access(…)")
    }
}

#[cfg(test)]
mod tests;
