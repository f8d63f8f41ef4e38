//! The value of a secret.

use std::fmt;

use subtle::ConstantTimeEq as _;
use zeroize::{Zeroize as _, Zeroizing};

/// Longest value in bytes.
const BYTES_MAX: usize = 64 << 10;

/// The value of a secret: 1 byte to 64 KiB of UTF-8 without NUL, because guests get it as a string. Newlines
/// are allowed.
///
/// It does not print, takes the same time to be compared with every value of its length, and is overwritten
/// when it is dropped.
#[derive(Clone)]
pub struct SecretValue(Zeroizing<String>);

/// Why bytes are not the value of a secret. Nothing of them is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretValueError {
    /// There are no bytes.
    #[error("the value is empty, expected 1 byte to 64 KiB")]
    Empty,
    /// There are more than 64 KiB.
    #[error("the value has {bytes} bytes, expected at most 64 KiB")]
    TooLong {
        /// Bytes found.
        bytes: usize,
    },
    /// There is a NUL.
    #[error(
        "the value has a NUL at byte {at}, expected text without NUL: encode binary values, as base64 does"
    )]
    Nul {
        /// Its offset.
        at: usize,
    },
    /// They are not UTF-8.
    #[error("the value is not UTF-8 from byte {at} on, expected text: encode binary values, as base64 does")]
    NotText {
        /// The offset of the first byte that is not.
        at: usize,
    },
}

impl SecretValue {
    /// The value in `bytes`.
    ///
    /// # Errors
    /// They are not text, or not within the bounds. They are overwritten.
    pub fn new(mut bytes: Zeroizing<Vec<u8>>) -> Result<Self, SecretValueError> {
        if bytes.is_empty() {
            return Err(SecretValueError::Empty);
        }
        if bytes.len() > BYTES_MAX {
            return Err(SecretValueError::TooLong { bytes: bytes.len() });
        }
        if let Some(at) = bytes.iter().position(|&byte| byte == 0) {
            return Err(SecretValueError::Nul { at });
        }
        match String::from_utf8(std::mem::take(&mut *bytes)) {
            Ok(text) => Ok(Self(Zeroizing::new(text))),
            Err(error) => {
                let at = error.utf8_error().valid_up_to();
                error.into_bytes().zeroize();
                Err(SecretValueError::NotText { at })
            }
        }
    }

    /// The value. Whoever asks for it must not let it get anywhere else.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl PartialEq for SecretValue {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }
}

impl Eq for SecretValue {}

impl fmt::Debug for SecretValue {
    /// Hides the value.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretValue(…)")
    }
}

#[cfg(test)]
mod tests;
