//! The secrets of a version.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, LazyLock, OnceLock},
};

use wasm_fn_core::SecretName;

use crate::{SecretValue, mask::Masker};

/// Most bytes of the values of a version together.
const BYTES_MAX: usize = 256 << 10;

/// Most bytes in the name and value of a secret that is an environment variable, as for other variables.
const VARIABLE_BYTES_MAX: usize = 32 << 10;

/// The secrets of a version: those that its configuration names, each with the value that it has in the
/// version. It never changes.
pub struct SecretSet {
    values: BTreeMap<SecretName, SecretValue>,
    /// Made when the first line is masked.
    masker: OnceLock<Option<Masker>>,
}

/// Why a version cannot have these secrets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretSetError {
    /// The values are too long together.
    #[error("the secrets of a version have {bytes} bytes together, expected at most 256 KiB")]
    TooLarge {
        /// Bytes found.
        bytes: usize,
    },
    /// A value is too long for an environment variable.
    #[error(
        "secret {name} has {bytes} bytes with its name, expected at most 32 KiB for an environment variable: \
         read it by `wasi:config/store`, without `secrets_env`"
    )]
    Variable {
        /// The secret.
        name: SecretName,
        /// Bytes found.
        bytes: usize,
    },
}

impl SecretSet {
    /// The secrets with these `values`, which are environment variables too if `are_variables`.
    ///
    /// # Errors
    /// They are too long.
    pub fn new(
        values: BTreeMap<SecretName, SecretValue>,
        are_variables: bool,
    ) -> Result<Self, SecretSetError> {
        let bytes = values.values().map(|value| value.expose().len()).sum();
        if bytes > BYTES_MAX {
            return Err(SecretSetError::TooLarge { bytes });
        }
        let long = values.iter().find_map(|(name, value)| {
            let bytes = name.as_str().len() + value.expose().len();
            (bytes > VARIABLE_BYTES_MAX).then(|| SecretSetError::Variable { name: name.clone(), bytes })
        });
        match long {
            Some(error) if are_variables => Err(error),
            _ => Ok(Self { values, masker: OnceLock::new() }),
        }
    }

    /// No secrets.
    pub fn none() -> Arc<Self> {
        static NONE: LazyLock<Arc<SecretSet>> =
            LazyLock::new(|| Arc::new(SecretSet { values: BTreeMap::new(), masker: OnceLock::new() }));
        NONE.clone()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The value of the secret `name`.
    pub fn get(&self, name: &str) -> Option<&SecretValue> {
        self.values.get(name)
    }

    /// All secrets, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&SecretName, &SecretValue)> {
        self.values.iter()
    }

    /// Bytes beyond a limit that [`mask`](Self::mask) must see to find a value that crosses the limit.
    pub fn lookahead(&self) -> usize {
        self.masker().map_or(0, Masker::lookahead)
    }

    /// The first `bytes_max` bytes of `line` with `***` in place of every value that begins there, or `None`
    /// if no value does.
    ///
    /// A value is found as it is, in base64, percent-encoded, in hexadecimal digits and escaped as in JSON.
    /// One of several lines is found by any of its lines that has 8 bytes or more. Values of fewer than 4
    /// bytes are not looked for: they would be found everywhere.
    pub fn mask(&self, line: &[u8], bytes_max: usize) -> Option<Vec<u8>> {
        self.masker()?.mask(line, bytes_max)
    }

    /// [`mask`](Self::mask) for all of `text`.
    pub fn mask_text(&self, text: String) -> String {
        match self.mask(text.as_bytes(), usize::MAX) {
            Some(masked) => String::from_utf8_lossy(&masked).into_owned(),
            None => text,
        }
    }

    fn masker(&self) -> Option<&Masker> {
        if self.values.is_empty() {
            return None;
        }
        self.masker.get_or_init(|| Masker::new(self.values.values().map(SecretValue::expose))).as_ref()
    }
}

impl fmt::Debug for SecretSet {
    /// Shows the names only.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SecretSet").field(&self.values.keys()).finish()
    }
}

#[cfg(test)]
mod tests;
