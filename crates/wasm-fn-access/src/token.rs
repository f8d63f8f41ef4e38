//! Tokens: what their holders show, and what a node keeps of them.

use std::{fmt, str::FromStr};

use subtle::ConstantTimeEq as _;

/// The beginning of every token, by which scanners for leaked secrets find tokens.
const PREFIX: &str = "wfn_";

/// Random bytes in a token.
const RANDOM_BYTES: usize = 32;

/// Bytes of the checksum at the end of a token.
const CHECKSUM_BYTES: usize = 4;

/// What a proof of a revocation begins with, before it is hashed.
const REVOCATION: &[u8] = b"wasm-fn revocation";

/// Hexadecimal digits in a token.
const DIGITS: usize = 2 * (RANDOM_BYTES + CHECKSUM_BYTES);

/// What the holder of a token shows: `wfn_`, then 32 random bytes and the first 4 bytes of their BLAKE3 hash
/// as 72 hexadecimal digits. By the checksum, a scanner tells a token from other text, and a truncated token
/// from one that was revoked.
#[derive(Clone)]
pub struct TokenSecret([u8; RANDOM_BYTES]);

/// The key of the hashes that a node keeps. Without it, tokens cannot be tried against the hashes.
#[derive(Clone)]
pub struct TokenKey([u8; RANDOM_BYTES]);

/// What a node keeps of a token: a keyed BLAKE3 hash.
#[derive(Clone, Copy)]
pub struct TokenHash([u8; 32]);

/// A text that cannot be a token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenTextError {
    /// It does not begin as tokens do.
    #[error("the token does not begin with `wfn_`")]
    Prefix,
    /// It is too long or too short.
    #[error(
        "the token has {found} characters after `wfn_`, expected 72: it is not complete, or has too much"
    )]
    Length {
        /// Characters found after the prefix.
        found: usize,
    },
    /// It has a character that is no hexadecimal digit.
    #[error("the token has a character that is no hexadecimal digit")]
    Digit,
    /// Its checksum is wrong.
    #[error("the token's checksum is wrong: a character was changed")]
    Checksum,
}

impl TokenSecret {
    /// The token of these random bytes.
    pub fn new(random: [u8; RANDOM_BYTES]) -> Self {
        Self(random)
    }

    /// The text to show, once.
    pub fn reveal(&self) -> String {
        let checksum = blake3::hash(&self.0);
        let checksum = &checksum.as_bytes()[..CHECKSUM_BYTES];
        format!("{PREFIX}{}{}", hex::encode(self.0), hex::encode(checksum))
    }
}

impl FromStr for TokenSecret {
    type Err = TokenTextError;

    fn from_str(text: &str) -> Result<Self, TokenTextError> {
        let digits = text.strip_prefix(PREFIX).ok_or(TokenTextError::Prefix)?;
        if digits.len() != DIGITS {
            return Err(TokenTextError::Length { found: digits.chars().count() });
        }
        let mut bytes = [0; RANDOM_BYTES + CHECKSUM_BYTES];
        hex::decode_to_slice(digits, &mut bytes).map_err(|_| TokenTextError::Digit)?;
        let mut random = [0; RANDOM_BYTES];
        random.copy_from_slice(&bytes[..RANDOM_BYTES]);
        if blake3::hash(&random).as_bytes()[..CHECKSUM_BYTES] != bytes[RANDOM_BYTES..] {
            return Err(TokenTextError::Checksum);
        }
        Ok(Self(random))
    }
}

impl TokenKey {
    /// The key of these random bytes.
    pub fn new(random: [u8; RANDOM_BYTES]) -> Self {
        Self(random)
    }

    /// What to keep of `token`.
    pub fn hash(&self, token: &TokenSecret) -> TokenHash {
        TokenHash(*blake3::keyed_hash(&self.0, &token.0).as_bytes())
    }

    /// What proves to others with this key that one of them takes the token with this hash away: a keyed
    /// BLAKE3 hash of more bytes than a token has.
    pub fn revocation(&self, hash: TokenHash) -> [u8; 32] {
        *blake3::keyed_hash(&self.0, &[REVOCATION, &hash.0[..]].concat()).as_bytes()
    }

    /// Whether `proof` is the [`revocation`](Self::revocation) of `hash`. The time that this takes tells
    /// nothing about the right one.
    pub fn is_revocation(&self, hash: TokenHash, proof: &[u8; 32]) -> bool {
        self.revocation(hash).ct_eq(proof).into()
    }
}

impl TokenHash {
    /// Bytes of an [`index`](Self::index).
    pub(crate) const INDEX_BYTES: usize = 8;

    /// The hash as stored: 64 hexadecimal digits.
    pub fn to_hex(self) -> String {
        hex::encode(self.0)
    }

    /// Reads what [`to_hex`](Self::to_hex) wrote.
    pub fn from_hex(digits: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(digits, &mut bytes).ok()?;
        Some(Self(bytes))
    }

    /// The beginning of the hash, by which it is looked up.
    pub(crate) fn index(self) -> [u8; Self::INDEX_BYTES] {
        let mut index = [0; Self::INDEX_BYTES];
        index.copy_from_slice(&self.0[..Self::INDEX_BYTES]);
        index
    }

    /// The public name of the token, for lists and the journal: 8 hexadecimal digits.
    pub fn id(self) -> String {
        hex::encode(&self.0[..4])
    }
}

/// Takes the same time wherever two hashes differ.
impl PartialEq for TokenHash {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for TokenHash {}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenHash({}…)", self.id())
    }
}

/// Hides the secret.
impl fmt::Debug for TokenSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenSecret(…)")
    }
}

/// Hides the key.
impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenKey(…)")
    }
}

#[cfg(test)]
mod tests;
