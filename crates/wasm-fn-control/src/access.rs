//! Who may use the admin API, and the addresses of versions: bearer tokens.

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

/// The file in the data directory.
const FILE: &str = "token";

/// The file in the data directory with the key of preview tokens.
const PREVIEW_FILE: &str = "preview.key";

/// What every token starts with, so that scanners of leaked secrets can find it.
const PREFIX: &str = "wfn_";

/// The same of preview tokens.
const PREVIEW_PREFIX: &str = "wfp_";

/// What the key of preview tokens starts with, so that nobody takes it for one of them.
const KEY_PREFIX: &str = "wfpk_";

/// Random bytes of a token.
const RANDOM_BYTES: usize = 32;

/// The tokens that are accepted.
pub struct Access {
    token: String,
    /// Preview tokens are made of it, so that none has to be kept.
    preview_key: ArcSwap<[u8; RANDOM_BYTES]>,
    /// Where the key is kept, for one rotation at a time; nowhere in tests.
    data_dir: Mutex<Option<PathBuf>>,
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
    #[error("token file {} holds {bytes} bytes that are no token, expected {prefix} and 64 hexadecimal digits", .path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Bytes found.
        bytes: usize,
        /// What it begins with.
        prefix: &'static str,
    },
}

impl Access {
    /// Accepts `token` alone, and preview tokens of a key that is kept nowhere.
    pub fn only(token: String) -> Self {
        Self { token, preview_key: ArcSwap::from_pointee(rand::random()), data_dir: Mutex::new(None) }
    }

    /// Reads the token and the key of preview tokens of `data_dir`, or makes each from 32 random bytes,
    /// readable by its owner alone. Blocks.
    ///
    /// # Errors
    /// A file cannot be read or made, or holds something else.
    pub fn open(data_dir: &Path) -> Result<Self, TokenError> {
        let token = read_or_make(data_dir, FILE, PREFIX)?;
        let key = read_or_make(data_dir, PREVIEW_FILE, KEY_PREFIX)?;
        let preview_key =
            ArcSwap::from_pointee(bytes_of(&key, KEY_PREFIX).expect("it was checked when it was read"));
        Ok(Self { token, preview_key, data_dir: Mutex::new(Some(data_dir.to_owned())) })
    }

    /// Who `token` belongs to; takes the same time for every wrong token of the same length.
    pub fn actor(&self, token: &str) -> Option<Actor> {
        let same = self.token.as_bytes().ct_eq(token.as_bytes());
        bool::from(same).then(|| Actor { name: "admin".to_owned() })
    }

    /// The token for the addresses of the versions of `function`: `wfp_` and a keyed hash of its name, so
    /// that nobody gets from one function's token to another's, nor to the key.
    pub fn preview_token(&self, function: &FunctionName) -> String {
        let hash = blake3::keyed_hash(&self.preview_key.load(), function.as_str().as_bytes());
        format!("{PREVIEW_PREFIX}{}", hash.to_hex())
    }

    /// Whether `token` is the one of `function`; takes the same time for every wrong token of the same
    /// length.
    pub fn may_preview(&self, function: &FunctionName, token: &str) -> bool {
        self.preview_token(function).as_bytes().ct_eq(token.as_bytes()).into()
    }

    /// Makes every preview token so far worthless. Blocks.
    ///
    /// # Errors
    /// The new key cannot be kept; the old one holds.
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

/// The secret in `file` of `data_dir`, made if it is not there.
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
            // A link, unlike a rename, fails when somebody else was faster.
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

/// 32 random bytes as a line of text.
fn secret(prefix: &str) -> String {
    format!("{prefix}{}\n", hex::encode(rand::random::<[u8; RANDOM_BYTES]>()))
}

/// The bytes of a secret.
fn bytes_of(secret: &str, prefix: &str) -> Option<[u8; RANDOM_BYTES]> {
    let mut bytes = [0; RANDOM_BYTES];
    hex::decode_to_slice(secret.strip_prefix(prefix)?, &mut bytes).ok()?;
    Some(bytes)
}

/// Writes `text` to a file that is there completely or not at all, once `place` has given the draft its name.
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
    // A draft that was renamed is there no more.
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
