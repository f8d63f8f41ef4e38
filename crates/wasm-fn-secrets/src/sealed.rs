//! Sealed values: what is stored of a secret.

mod envelope;

use std::{fmt, num::NonZeroU32, str::FromStr};

use wasm_fn_core::{FunctionName, SecretName, StageName};
use zeroize::Zeroizing;

pub(crate) use envelope::{Context, Envelope, Unopened};
pub use envelope::{NONCE_BYTES, Nonce, SealedError};

use crate::{DataKey, KeyId, SecretValue};

/// Number of the value of a secret: 1, 2, 3, … in its stage, never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SecretRevision(NonZeroU32);

/// Where a value belongs. It can be opened there and nowhere else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SecretPlace<'a> {
    /// The function.
    pub function: &'a FunctionName,
    /// Its stage.
    pub stage: &'a StageName,
    /// The secret.
    pub name: &'a SecretName,
    /// Which of its values.
    pub revision: SecretRevision,
}

/// A value that only a data key opens, and only in its place.
///
/// As text it is `v1:<id of the data key>:<nonce>:<ciphertext>`, with XChaCha20-Poly1305 and base64.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedValue(Envelope);

/// Why a sealed value cannot be opened. It names the secret, and shows nothing of its value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnsealError {
    /// There is no such key.
    #[error("secret {place} is sealed under the data key {found}, expected one of {expected}")]
    Key {
        /// The secret.
        place: String,
        /// The key that it is sealed under.
        found: KeyId,
        /// The keys that there are.
        expected: String,
    },
    /// It was changed, or sealed for another place.
    #[error(
        "secret {place} cannot be opened: it was changed, or sealed for another secret, stage or revision"
    )]
    Broken {
        /// The secret.
        place: String,
    },
}

impl SecretRevision {
    /// The first value of a secret.
    pub const FIRST: Self = Self(NonZeroU32::MIN);

    /// The revision with this number; `None` for 0.
    pub fn new(number: u32) -> Option<Self> {
        NonZeroU32::new(number).map(Self)
    }

    /// Its number.
    pub fn number(self) -> u32 {
        self.0.get()
    }

    /// The revision of the next value; `None` after more than four billion.
    pub fn next(self) -> Option<Self> {
        self.0.checked_add(1).map(Self)
    }
}

impl fmt::Display for SecretRevision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl SecretPlace<'_> {
    fn context(&self) -> Context {
        let revision = self.revision.number().to_string();
        Context::new(&[
            "wasm-fn secret value",
            self.function.as_str(),
            self.stage.as_str(),
            self.name.as_str(),
            &revision,
        ])
    }
}

impl fmt::Display for SecretPlace<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { function, stage, name, revision } = self;
        write!(f, "{name} of {function} in {stage} (revision {revision})")
    }
}

impl SealedValue {
    /// Seals `value` for `place` under `key`. `nonce` is random.
    pub fn seal(value: &SecretValue, place: SecretPlace<'_>, key: &DataKey, nonce: Nonce) -> Self {
        let plain = value.expose().as_bytes();
        Self(Envelope::seal(plain, &place.context(), key.id(), key.bytes(), nonce))
    }

    /// The data key that opens it.
    pub fn key(&self) -> KeyId {
        self.0.key()
    }

    /// Opens it in `place` with `key`.
    ///
    /// # Errors
    /// It is sealed under another key or for another place, or it was changed.
    pub fn open(&self, place: SecretPlace<'_>, key: &DataKey) -> Result<SecretValue, UnsealError> {
        let broken = || UnsealError::Broken { place: place.to_string() };
        let opened = self.0.open(&place.context(), key.id(), key.bytes());
        let plain: Zeroizing<Vec<u8>> = opened.map_err(|unopened| match unopened {
            Unopened::Key => UnsealError::Key {
                place: place.to_string(),
                found: self.key(),
                expected: key.id().to_string(),
            },
            Unopened::Broken => broken(),
        })?;
        // Only values are sealed.
        SecretValue::new(plain).map_err(|_| broken())
    }
}

impl fmt::Display for SealedValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for SealedValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealedValue(under {})", self.key())
    }
}

impl FromStr for SealedValue {
    type Err = SealedError;

    fn from_str(text: &str) -> Result<Self, SealedError> {
        text.parse().map(Self)
    }
}

#[cfg(test)]
mod tests;
