//! All tokens of a node.

use std::collections::{BTreeMap, HashMap};

use wasm_fn_core::TokenName;

use crate::{Rights, TokenHash, TokenSecret, token::TokenKey};

/// A token, as a node keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// The hash of its secret.
    pub hash: TokenHash,
    /// What its holder may do.
    pub rights: Rights,
    /// When it was created, Unix milliseconds.
    pub created_ms: u64,
    /// The name of the token that created it.
    pub created_by: String,
    /// From when on it is no longer accepted, Unix milliseconds.
    pub expires_ms: Option<u64>,
}

/// Tokens by name, and found by their secret.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tokens {
    by_name: BTreeMap<TokenName, Token>,
    // Invariant: the names of `by_name`, by the beginning of their hashes.
    by_hash: HashMap<[u8; TokenHash::INDEX_BYTES], Vec<TokenName>>,
}

/// Why a secret is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// No token has this secret.
    #[error(
        "no token of this node has this secret: it was revoked or rotated, or is a token of another node"
    )]
    Unknown,
    /// The token is too old.
    #[error("the token `{name}` has expired")]
    Expired {
        /// The token.
        name: TokenName,
        /// When it expired, Unix milliseconds.
        expired_ms: u64,
    },
}

impl Token {
    /// Whether it is still accepted at `now_ms`.
    pub fn is_valid(&self, now_ms: u64) -> bool {
        self.expires_ms.is_none_or(|expires_ms| now_ms < expires_ms)
    }
}

impl Tokens {
    /// The token called `name`.
    pub fn get(&self, name: &TokenName) -> Option<&Token> {
        self.by_name.get(name)
    }

    /// The tokens, by name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&TokenName, &Token)> {
        self.by_name.iter()
    }

    /// Adds a token, or replaces the one of this name.
    pub fn insert(&mut self, name: TokenName, token: Token) {
        self.remove(&name);
        self.by_hash.entry(token.hash.index()).or_default().push(name.clone());
        self.by_name.insert(name, token);
    }

    /// Removes the token called `name`.
    pub fn remove(&mut self, name: &TokenName) -> Option<Token> {
        let token = self.by_name.remove(name)?;
        let index = token.hash.index();
        if let Some(names) = self.by_hash.get_mut(&index) {
            names.retain(|other| other != name);
            if names.is_empty() {
                self.by_hash.remove(&index);
            }
        }
        Some(token)
    }

    /// The token that `secret` proves at `now_ms`. What is looked up is a keyed hash, so the time that this
    /// takes tells nothing about secrets.
    ///
    /// # Errors
    /// If there is none, or it has expired.
    pub fn find(
        &self,
        secret: &TokenSecret,
        key: &TokenKey,
        now_ms: u64,
    ) -> Result<(&TokenName, &Token), Denied> {
        let hash = key.hash(secret);
        let names = self.by_hash.get(&hash.index()).map(Vec::as_slice).unwrap_or_default();
        let mut tokens = names.iter().filter_map(|name| self.by_name.get_key_value(name));
        let (name, token) = tokens.find(|(_, token)| token.hash == hash).ok_or(Denied::Unknown)?;
        match token.expires_ms {
            Some(expired_ms) if !token.is_valid(now_ms) => {
                Err(Denied::Expired { name: name.clone(), expired_ms })
            }
            _ => Ok((name, token)),
        }
    }
}

#[cfg(test)]
mod tests;
