//! Bearer tokens: who may use the admin API, and the addresses of versions.

use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use arc_swap::ArcSwap;
use subtle::ConstantTimeEq as _;
use wasm_fn_core::FunctionName;

/// The file of the token, in the data directory.
const FILE: &str = "token";

/// The file of the key of preview tokens, in the data directory.
const PREVIEW_FILE: &str = "preview.key";

/// The prefix of every token, so that scanners for leaked secrets can find tokens.
const PREFIX: &str = "wfn_";

/// The prefix of every preview token.
const PREVIEW_PREFIX: &str = "wfp_";

/// The prefix of the key of preview tokens, so that nobody mistakes the key for a preview token.
const KEY_PREFIX: &str = "wfpk_";

/// Random bytes in a token.
const RANDOM_BYTES: usize = 32;

/// The accepted tokens.
pub struct Access {
    token: String,
    /// The key from which preview tokens are derived, so that they need not be stored.
    preview_key: ArcSwap<[u8; RANDOM_BYTES]>,
    /// The data directory, where the key is stored; locked during a rotation. `None` in tests.
    data_dir: Mutex<Option<PathBuf>>,
}

/// Who makes a request, as recorded in the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// The name of the token.
    pub name: String,
}

/// Why the token file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The file cannot be read or created.
    #[error("token file {} cannot be used", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The file does not hold a token.
    #[error("token file {} holds {bytes} bytes that are not a token, expected {prefix} and 64 hexadecimal digits", .path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Bytes found.
        bytes: usize,
        /// The expected prefix.
        prefix: &'static str,
    },
}

impl Access {
    /// Accepts only `token`, and preview tokens of a key that is not stored.
    pub fn only(token: String) -> Self {
        Self { token, preview_key: ArcSwap::from_pointee(rand::random()), data_dir: Mutex::new(None) }
    }

    /// Reads the token and the key of preview tokens from `data_dir`. Creates each of them from 32 random
    /// bytes if it does not exist, readable only by its owner. Blocks.
    ///
    /// # Errors
    /// If a file cannot be read or created, or does not hold a token.
    pub fn open(data_dir: &Path) -> Result<Self, TokenError> {
        let token = read_or_make(data_dir, FILE, PREFIX)?;
        let key = read_or_make(data_dir, PREVIEW_FILE, KEY_PREFIX)?;
        let preview_key =
            ArcSwap::from_pointee(bytes_of(&key, KEY_PREFIX).expect("it was checked when it was read"));
        Ok(Self { token, preview_key, data_dir: Mutex::new(Some(data_dir.to_owned())) })
    }

    /// The owner of `token`. Takes the same time for all wrong tokens of the same length.
    pub fn actor(&self, token: &str) -> Option<Actor> {
        let same = self.token.as_bytes().ct_eq(token.as_bytes());
        bool::from(same).then(|| Actor { name: "admin".to_owned() })
    }

    /// The token for the addresses of the versions of `function`: `wfp_` and a keyed hash of the name. One
    /// function's token reveals neither another function's token nor the key.
    pub fn preview_token(&self, function: &FunctionName) -> String {
        let hash = blake3::keyed_hash(&self.preview_key.load(), function.as_str().as_bytes());
        format!("{PREVIEW_PREFIX}{}", hash.to_hex())
    }

    /// Whether `token` is the preview token of `function`. Takes the same time for all wrong tokens of the
    /// same length.
    pub fn may_preview(&self, function: &FunctionName, token: &str) -> bool {
        self.preview_token(function).as_bytes().ct_eq(token.as_bytes()).into()
    }

    /// Replaces the key, which makes every preview token so far invalid. Blocks.
    ///
    /// # Errors
    /// If the new key cannot be stored. The old one then stays valid.
    pub fn rotate_preview_key(&self) -> Result<(), TokenError> {
        let text = secret(KEY_PREFIX);
        let data_dir = self.data_dir.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(data_dir) = &*data_dir {
            let path = data_dir.join(PREVIEW_FILE);
            put(data_dir, PREVIEW_FILE, &text, |draft| fs::rename(draft, &path))
                .map_err(|source| TokenError::File { path, source })?;
        }
        let key = bytes_of(text.trim(), KEY_PREFIX).expect("it was just made");
        self.preview_key.store(Arc::new(key));
        Ok(())
    }
}

/// The secret in `file` of `data_dir`. Creates the file if it does not exist.
fn read_or_make(data_dir: &Path, file: &str, prefix: &'static str) -> Result<String, TokenError> {
    let path = data_dir.join(file);
    let failed = |source| TokenError::File { path: path.clone(), source };
    let text = match fs::read_to_string(&path) {
        Ok(text) => {
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).map_err(failed)?;
            text
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let text = secret(prefix);
            // Unlike a rename, a link fails if another process was faster.
            put(data_dir, file, &text, |draft| fs::hard_link(draft, &path)).map_err(failed)?;
            text
        }
        Err(error) => return Err(failed(error)),
    };
    let secret = text.trim();
    match bytes_of(secret, prefix) {
        Some(_) => Ok(secret.to_owned()),
        None => Err(TokenError::Malformed { path, bytes: text.len(), prefix }),
    }
}

/// A line of text with the prefix and 32 random bytes.
fn secret(prefix: &str) -> String {
    format!("{prefix}{}\n", hex::encode(rand::random::<[u8; RANDOM_BYTES]>()))
}

/// The random bytes of a secret.
fn bytes_of(secret: &str, prefix: &str) -> Option<[u8; RANDOM_BYTES]> {
    let mut bytes = [0; RANDOM_BYTES];
    hex::decode_to_slice(secret.strip_prefix(prefix)?, &mut bytes).ok()?;
    Some(bytes)
}

/// Writes `text` to a new file, as a whole or not at all. `place` gives the draft its final name.
fn put(
    data_dir: &Path,
    file: &str,
    text: &str,
    place: impl FnOnce(&Path) -> io::Result<()>,
) -> io::Result<()> {
    let draft = data_dir.join(format!("{file}.{}", hex::encode(rand::random::<[u8; 8]>())));
    let mut open = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    let written = open.write_all(text.as_bytes()).and_then(|()| open.sync_all());
    let placed = written.and_then(|()| place(&draft));
    // A renamed draft no longer exists.
    let removed = fs::remove_file(&draft);
    placed?;
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => fs::File::open(data_dir)?.sync_all(),
    }
}

impl std::fmt::Debug for Access {
    /// Hides the secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Access(…)")
    }
}

#[cfg(test)]
mod tests;
