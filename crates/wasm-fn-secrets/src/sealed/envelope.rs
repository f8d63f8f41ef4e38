//! Authenticated encryption of a few bytes, as text.

use std::{fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chacha20poly1305::{
    Key, KeyInit as _, XChaCha20Poly1305, XNonce,
    aead::{Aead as _, Payload},
};
use zeroize::Zeroizing;

use crate::KeyId;

/// Bytes of a nonce. So many that random ones never repeat.
pub const NONCE_BYTES: usize = 24;

/// A number that is used for one seal only. It is public.
pub type Nonce = [u8; NONCE_BYTES];

/// How the text begins: the number of its format.
const FORMAT: &str = "v1";

/// Bytes of the tag that shows a change.
const TAG_BYTES: usize = 16;

/// Longest ciphertext in bytes, so that a text of any length is refused at once.
const CIPHERTEXT_BYTES_MAX: usize = (64 << 10) + TAG_BYTES;

/// Why a text is not something sealed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealedError {
    /// It does not have four parts.
    #[error("a sealed text has {found} parts, expected 4: v1:KEY:NONCE:CIPHERTEXT")]
    Parts {
        /// Parts found.
        found: usize,
    },
    /// It is of another format.
    #[error(
        "a sealed text of the format {found:?}, expected \"v1\": a newer version of wasm-fn may have written it"
    )]
    Format {
        /// The beginning of the format found.
        found: String,
    },
    /// A part is not what it should be.
    #[error("the {part} of a sealed text has {found} characters, expected {expected}")]
    Part {
        /// Which part.
        part: &'static str,
        /// Its length.
        found: usize,
        /// What it should be.
        expected: &'static str,
    },
}

/// What something is sealed for; it opens for nothing else.
pub(crate) struct Context(pub(crate) Vec<u8>);

impl Context {
    /// The context of `parts`. No two lists of parts have the same.
    pub(crate) fn new(parts: &[&str]) -> Self {
        let mut bytes = Vec::new();
        for part in parts {
            bytes.extend_from_slice(&(part.len() as u64).to_le_bytes());
            bytes.extend_from_slice(part.as_bytes());
        }
        Self(bytes)
    }
}

/// Why an envelope does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unopened {
    /// It is sealed under another key.
    Key,
    /// It was changed, or its context is another.
    Broken,
}

/// Bytes, sealed.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Envelope {
    key: KeyId,
    nonce: Nonce,
    ciphertext: Vec<u8>,
}

impl Envelope {
    pub(crate) fn seal(plain: &[u8], context: &Context, id: KeyId, key: &[u8; 32], nonce: Nonce) -> Self {
        let cipher = XChaCha20Poly1305::new(Key::from_slice(key));
        let payload = Payload { msg: plain, aad: &context.0 };
        let sealed = cipher.encrypt(XNonce::from_slice(&nonce), payload);
        Self { key: id, nonce, ciphertext: sealed.expect("only gigabytes are too long to be sealed") }
    }

    pub(crate) fn open(
        &self,
        context: &Context,
        id: KeyId,
        key: &[u8; 32],
    ) -> Result<Zeroizing<Vec<u8>>, Unopened> {
        if self.key != id {
            return Err(Unopened::Key);
        }
        let cipher = XChaCha20Poly1305::new(Key::from_slice(key));
        let payload = Payload { msg: &self.ciphertext, aad: &context.0 };
        let opened = cipher.decrypt(XNonce::from_slice(&self.nonce), payload);
        opened.map(Zeroizing::new).map_err(|_| Unopened::Broken)
    }

    /// The key that it is sealed under.
    pub(crate) fn key(&self) -> KeyId {
        self.key
    }
}

impl fmt::Display for Envelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, nonce, ciphertext } = self;
        let [nonce, ciphertext] = [&nonce[..], ciphertext].map(|bytes| URL_SAFE_NO_PAD.encode(bytes));
        write!(f, "{FORMAT}:{key}:{nonce}:{ciphertext}")
    }
}

impl FromStr for Envelope {
    type Err = SealedError;

    fn from_str(text: &str) -> Result<Self, SealedError> {
        let parts: Vec<_> = text.splitn(5, ':').collect();
        if parts[0] != FORMAT {
            return Err(SealedError::Format { found: parts[0].chars().take(10).collect() });
        }
        let &[_, key, nonce, ciphertext] = &parts[..] else {
            return Err(SealedError::Parts { found: parts.len() });
        };
        let part =
            |part, found: &str, expected| SealedError::Part { part, found: found.chars().count(), expected };
        let id = key.parse().map_err(|_| part("key", key, "16 hexadecimal digits"))?;
        let decoded = URL_SAFE_NO_PAD.decode(nonce).ok().and_then(|bytes| bytes.try_into().ok());
        let nonce = decoded.ok_or_else(|| part("nonce", nonce, "32 of base64url"))?;
        let is_bounded = ciphertext.len() <= CIPHERTEXT_BYTES_MAX.div_ceil(3) * 4;
        let decoded = is_bounded.then(|| URL_SAFE_NO_PAD.decode(ciphertext).ok()).flatten();
        let ciphertext = decoded
            .filter(|bytes| (TAG_BYTES..=CIPHERTEXT_BYTES_MAX).contains(&bytes.len()))
            .ok_or_else(|| part("ciphertext", ciphertext, "22 to 87404 of base64url"))?;
        Ok(Self { key: id, nonce, ciphertext })
    }
}
