//! Names of secrets.

use std::{fmt, str::FromStr, sync::Arc};

/// Longest name in bytes.
const NAME_BYTES_MAX: usize = 128;

/// The name of a secret, such as `API_KEY`. It is unique in a stage of a function.
///
/// 1 to 128 of `A-Z`, `a-z`, `0-9` and `_`; does not start with a digit. So every name can be that of an
/// environment variable, as programs, shells and dotenv files have them.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SecretName(Arc<str>);

/// Why a text is not the name of a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretNameError {
    /// The text is empty.
    #[error("secret name is empty, expected 1 to 128 characters")]
    Empty,
    /// The text has more than 128 bytes. It is not shown, because it may be the secret itself.
    #[error("secret name is {bytes} bytes long, expected at most 128")]
    TooLong {
        /// Length found.
        bytes: usize,
    },
    /// The text has a character outside the alphabet.
    #[error("secret name {name:?} has {found:?} at byte {at}, expected A-Z, a-z, 0-9 or _")]
    Character {
        /// The rejected text.
        name: String,
        /// The rejected character.
        found: char,
        /// Its byte offset.
        at: usize,
    },
    /// The text starts with a digit.
    #[error("secret name {name:?} starts with {found:?}, expected a letter or _")]
    Digit {
        /// The rejected text.
        name: String,
        /// The digit.
        found: char,
    },
}

impl SecretName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SecretName {
    type Err = SecretNameError;

    fn from_str(text: &str) -> Result<Self, SecretNameError> {
        let Some(first) = text.chars().next() else {
            return Err(SecretNameError::Empty);
        };
        if text.len() > NAME_BYTES_MAX {
            return Err(SecretNameError::TooLong { bytes: text.len() });
        }
        let is_allowed = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if let Some((at, found)) = text.char_indices().find(|&(_, c)| !is_allowed(c)) {
            return Err(SecretNameError::Character { name: text.to_owned(), found, at });
        }
        if first.is_ascii_digit() {
            return Err(SecretNameError::Digit { name: text.to_owned(), found: first });
        }
        Ok(Self(Arc::from(text)))
    }
}

impl std::borrow::Borrow<str> for SecretName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SecretName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for SecretName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

#[cfg(test)]
mod tests;
