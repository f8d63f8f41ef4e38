//! The public keys of an issuer, as it publishes them (RFC 7517).

use std::collections::BTreeMap;

use jsonwebtoken::{
    AlgorithmFamily, DecodingKey,
    jwk::{AlgorithmParameters, Jwk, PublicKeyUse},
};
use serde::Deserialize;

use crate::algorithm::{SignatureAlgorithm, family};

/// Most keys of an issuer. Who rotates has two or three.
const KEYS_MAX: usize = 64;

/// Longest id of a key, bytes.
const ID_BYTES_MAX: usize = 256;

/// The keys that signatures of an issuer can be verified with.
#[derive(Debug, Default)]
pub(crate) struct KeySet {
    // Invariant: at most 64 in all.
    by_id: BTreeMap<String, Vec<Key>>,
    unnamed: Vec<Key>,
}

/// A public key.
#[derive(Clone, Debug)]
struct Key {
    key: DecodingKey,
    /// The only algorithm that it is for; `None` if it does not say.
    algorithm: Option<String>,
}

/// Why a document is no set of keys.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum KeySetError {
    /// Not such a document at all.
    #[error("it is no JSON object with a list of keys: {0}")]
    Malformed(String),
    /// Too many keys.
    #[error("found {found} keys, expected at most {KEYS_MAX}")]
    TooMany { found: usize },
    /// No key that signatures could be verified with.
    #[error("found {found} keys, of which none is a public key for signatures")]
    NoneUsable { found: usize },
}

#[derive(Deserialize)]
struct Document {
    keys: Vec<serde_json::Value>,
}

impl KeySet {
    /// Reads a document. Keys that are not for signatures, not public or of a kind that is not known are left
    /// out.
    pub(crate) fn parse(document: &[u8]) -> Result<Self, KeySetError> {
        let document: Document =
            serde_json::from_slice(document).map_err(|error| KeySetError::Malformed(error.to_string()))?;
        let found = document.keys.len();
        if found > KEYS_MAX {
            return Err(KeySetError::TooMany { found });
        }
        let mut set = Self::default();
        for key in document.keys {
            let algorithm = key.get("alg").and_then(|name| name.as_str()).map(str::to_owned);
            let Ok(jwk) = serde_json::from_value::<Jwk>(key) else { continue };
            let encryption = matches!(jwk.common.public_key_use, Some(PublicKeyUse::Encryption));
            // Never a shared secret, whatever the issuer publishes.
            if encryption || matches!(jwk.algorithm, AlgorithmParameters::OctetKey(_)) {
                continue;
            }
            let Ok(key) = DecodingKey::from_jwk(&jwk) else { continue };
            if key.family() == AlgorithmFamily::Hmac {
                continue;
            }
            let key = Key { key, algorithm };
            match jwk.common.key_id {
                Some(id) if id.len() <= ID_BYTES_MAX => set.by_id.entry(id).or_default().push(key),
                Some(_) => {}
                None => set.unnamed.push(key),
            }
        }
        match set.len() {
            0 => Err(KeySetError::NoneUsable { found }),
            _ => Ok(set),
        }
    }

    /// How many keys it has.
    pub(crate) fn len(&self) -> usize {
        self.unnamed.len() + self.by_id.values().map(Vec::len).sum::<usize>()
    }

    /// The key called `id` for `algorithm`. A token that names no key is for the only one.
    pub(crate) fn find(&self, id: Option<&str>, algorithm: SignatureAlgorithm) -> Option<&DecodingKey> {
        let suits = |key: &&Key| {
            key.key.family() == family(algorithm)
                && key.algorithm.as_ref().is_none_or(|name| name == algorithm.as_str())
        };
        match id {
            Some(id) => self.by_id.get(id)?.iter().find(suits).map(|key| &key.key),
            None => {
                let mut all = self.unnamed.iter().chain(self.by_id.values().flatten()).filter(suits);
                let first = all.next()?;
                all.next().is_none().then_some(&first.key)
            }
        }
    }
}

#[cfg(test)]
mod tests;
