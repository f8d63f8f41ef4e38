//! What proves who somebody is: the token in the data directory, the key of all other tokens, and preview
//! tokens.

use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
};

use arc_swap::ArcSwap;
use subtle::ConstantTimeEq as _;
use wasm_fn_access::{Denied, Rights, TokenKey, TokenSecret, TokenTextError, Tokens};
use wasm_fn_core::{FunctionName, StageName};

/// The file of the token, in the data directory.
const FILE: &str = "token";

/// The file of the key of preview tokens, in the data directory.
const PREVIEW_FILE: &str = "preview.key";

/// The file of the key of tokens, in the data directory.
const TOKEN_KEY_FILE: &str = "token.key";

/// The prefix of every token, so that scanners for leaked secrets can find tokens.
const PREFIX: &str = "wfn_";

/// The prefix of the key of tokens.
const TOKEN_KEY_PREFIX: &str = "wftk_";

/// The name of the token in the data directory.
pub(crate) const ADMIN: &str = "admin";

/// The prefix of every preview token.
const PREVIEW_PREFIX: &str = "wfp_";

/// The prefix of the key of preview tokens, so that nobody mistakes the key for a preview token.
const KEY_PREFIX: &str = "wfpk_";

/// Random bytes in a token.
const RANDOM_BYTES: usize = 32;

/// The secrets in the data directory.
pub struct Access {
    /// The token that may do everything.
    token: ArcSwap<String>,
    /// How often that was replaced.
    rotations: AtomicU64,
    /// The key of the hashes of all other tokens.
    token_key: TokenKey,
    /// The key from which preview tokens are derived, so that they need not be stored.
    preview_key: ArcSwap<[u8; RANDOM_BYTES]>,
    /// The data directory; locked while one of its files is replaced. `None` in tests.
    data_dir: Mutex<Option<PathBuf>>,
}

/// Who makes a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// The name of the token, as recorded in the journal.
    pub name: String,
    /// The id of the token; `None` for the one in the data directory.
    pub token: Option<String>,
    /// What they may do.
    pub rights: Rights,
    /// What proves that it is them.
    pub proof: Proof,
}

/// What proves who somebody is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// A token of the node.
    Token,
    /// The token in the data directory, after it was replaced this often since the process started.
    DataDir {
        /// How often.
        rotations: u64,
    },
    /// Another party, whom the node's configuration trusts, up to this time, Unix milliseconds; `None` as
    /// long as the connection lasts.
    Party {
        /// When it ends.
        until_ms: Option<u64>,
    },
}

/// Why nobody is known by a token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unproven {
    /// The text is no token.
    #[error(transparent)]
    Malformed(#[from] TokenTextError),
    /// The token is not accepted.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The token is being revoked.
    #[error("the token `{name}` is being revoked or rotated")]
    Suspended {
        /// The token.
        name: String,
    },
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
    #[error("token file {} holds {bytes} bytes that are not a token, expected {prefix} and hexadecimal digits of 32 bytes", .path.display())]
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
    /// Accepts `token`, tokens of a key that is not stored, and preview tokens of another such key.
    pub fn only(token: String) -> Self {
        Self {
            token: ArcSwap::from_pointee(token),
            rotations: AtomicU64::new(0),
            token_key: TokenKey::new(rand::random()),
            preview_key: ArcSwap::from_pointee(rand::random()),
            data_dir: Mutex::new(None),
        }
    }

    /// Reads the token and the keys from `data_dir`. Creates each of them from 32 random bytes if it does not
    /// exist, readable only by its owner. Blocks.
    ///
    /// # Errors
    /// If a file cannot be read or created, or does not hold what it should.
    pub fn open(data_dir: &Path) -> Result<Self, TokenError> {
        let token = read_or_make(data_dir, FILE, PREFIX)?;
        let key = |file, prefix| {
            let text = read_or_make(data_dir, file, prefix)?;
            Ok(bytes_of(&text, prefix).expect("it was checked when it was read"))
        };
        Ok(Self {
            token: ArcSwap::from_pointee(token),
            rotations: AtomicU64::new(0),
            token_key: TokenKey::new(key(TOKEN_KEY_FILE, TOKEN_KEY_PREFIX)?),
            preview_key: ArcSwap::from_pointee(key(PREVIEW_FILE, KEY_PREFIX)?),
            data_dir: Mutex::new(Some(data_dir.to_owned())),
        })
    }

    /// The owner of `token` at `now_ms`, who is known by the data directory or among `tokens`. The time that
    /// this takes tells nothing about a secret.
    ///
    /// # Errors
    /// Why the token is not accepted.
    pub fn actor(&self, token: &str, tokens: &Tokens, now_ms: u64) -> Result<Actor, Unproven> {
        // A token that is replaced in between is one of the time before.
        let rotations = self.rotations();
        if self.token.load().as_bytes().ct_eq(token.as_bytes()).into() {
            let (name, rights) = (ADMIN.to_owned(), Rights::all());
            return Ok(Actor { name, token: None, rights, proof: Proof::DataDir { rotations } });
        }
        let secret: TokenSecret = token.parse().or_else(|error| {
            // Tokens of an earlier form have no checksum; one that is not the node's may be of another node.
            let earlier = bytes_of(token, PREFIX).map(TokenSecret::new);
            earlier.ok_or(error)
        })?;
        let (name, found) = tokens.find(&secret, &self.token_key, now_ms)?;
        let (token, rights) = (Some(found.hash.id()), found.rights.clone());
        Ok(Actor { name: name.to_string(), token, rights, proof: Proof::Token })
    }

    /// The key of the hashes of tokens.
    pub(crate) fn token_key(&self) -> &TokenKey {
        &self.token_key
    }

    /// How often the token in the data directory was replaced since the process started.
    pub(crate) fn rotations(&self) -> u64 {
        self.rotations.load(SeqCst)
    }

    /// Replaces the token in the data directory, which makes the one so far invalid. Blocks.
    ///
    /// # Errors
    /// If the new token cannot be stored. The old one then stays valid.
    pub(crate) fn rotate_token(&self) -> Result<String, TokenError> {
        let text = new_token().reveal();
        self.replace(FILE, &format!("{text}\n"))?;
        self.token.store(Arc::new(text.clone()));
        self.rotations.fetch_add(1, SeqCst);
        Ok(text)
    }

    /// The token for the addresses of the versions of `function` in `stage`: `wfp_` and a keyed hash of both
    /// names. One token reveals neither another token nor the key.
    pub fn preview_token(&self, function: &FunctionName, stage: &StageName) -> String {
        // No name has an `@`.
        let place = format!("{function}@{stage}");
        let hash = blake3::keyed_hash(&self.preview_key.load(), place.as_bytes());
        format!("{PREVIEW_PREFIX}{}", hash.to_hex())
    }

    /// Whether `token` is the preview token of `function` in `stage`. Takes the same time for all wrong
    /// tokens of the same length.
    pub fn may_preview(&self, function: &FunctionName, stage: &StageName, token: &str) -> bool {
        self.preview_token(function, stage).as_bytes().ct_eq(token.as_bytes()).into()
    }

    /// Replaces the key, which makes every preview token so far invalid. Blocks.
    ///
    /// # Errors
    /// If the new key cannot be stored. The old one then stays valid.
    pub(crate) fn rotate_preview_key(&self) -> Result<(), TokenError> {
        let text = secret(KEY_PREFIX);
        self.replace(PREVIEW_FILE, &text)?;
        let key = bytes_of(text.trim(), KEY_PREFIX).expect("it was just made");
        self.preview_key.store(Arc::new(key));
        Ok(())
    }

    fn replace(&self, file: &str, text: &str) -> Result<(), TokenError> {
        let data_dir = self.data_dir.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(data_dir) = &*data_dir else { return Ok(()) };
        let path = data_dir.join(file);
        put(data_dir, file, text, |draft| fs::rename(draft, &path))
            .map_err(|source| TokenError::File { path, source })
    }
}

/// A token that nobody has.
pub(crate) fn new_token() -> TokenSecret {
    TokenSecret::new(rand::random())
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
            let text = match prefix {
                PREFIX => format!("{}\n", new_token().reveal()),
                prefix => secret(prefix),
            };
            // Unlike a rename, a link fails if another process was faster.
            put(data_dir, file, &text, |draft| fs::hard_link(draft, &path)).map_err(failed)?;
            text
        }
        Err(error) => return Err(failed(error)),
    };
    let secret = text.trim();
    let is_token = prefix == PREFIX && secret.parse::<TokenSecret>().is_ok();
    if is_token || bytes_of(secret, prefix).is_some() {
        return Ok(secret.to_owned());
    }
    Err(TokenError::Malformed { path, bytes: text.len(), prefix })
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
