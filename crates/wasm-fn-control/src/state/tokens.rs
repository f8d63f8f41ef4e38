//! Changes to tokens, and to the keys of secrets.

use std::sync::Arc;

use wasm_fn_access::{Rights, Token, TokenHash};
use wasm_fn_core::TokenName;

use crate::access::ADMIN;

use super::{AccessChange, ChangeError, State};

/// Most tokens of a node.
const TOKENS_MAX: usize = 10_000;

/// Names that the journal gives to the node's own doings and to the token in the data directory.
const RESERVED: [&str; 3] = [ADMIN, "node", "rollout"];

/// A token to create.
#[derive(Clone, Debug)]
pub struct NewToken {
    /// Its name.
    pub name: TokenName,
    /// The hash of its secret.
    pub hash: TokenHash,
    /// What its holder may do.
    pub rights: Rights,
    /// From when on it is no longer accepted, Unix milliseconds.
    pub expires_ms: Option<u64>,
}

impl State {
    /// Plans a new token, created by `actor`.
    ///
    /// # Errors
    /// If its name is taken or reserved, if it would be expired, or if there are too many tokens.
    pub fn plan_create_token(
        &self,
        new: NewToken,
        actor: &str,
        now_ms: u64,
    ) -> Result<AccessChange, ChangeError> {
        let NewToken { name, hash, rights, expires_ms } = new;
        if RESERVED.contains(&name.as_str()) {
            return Err(ChangeError::ReservedName(name));
        }
        if self.tokens.get(&name).is_some() {
            return Err(ChangeError::TokenExists(name));
        }
        let found = self.tokens.iter().len();
        if found >= TOKENS_MAX {
            return Err(ChangeError::TooManyTokens { found });
        }
        let token = Token { hash, rights, created_ms: now_ms, created_by: actor.to_owned(), expires_ms };
        if !token.is_valid(now_ms) {
            return Err(ChangeError::Expired);
        }
        Ok(AccessChange::CreateToken { name, token })
    }

    /// Plans a new secret for a token.
    ///
    /// # Errors
    /// If there is no such token.
    pub fn plan_rotate_token(&self, name: TokenName, hash: TokenHash) -> Result<AccessChange, ChangeError> {
        match self.tokens.get(&name) {
            Some(_) => Ok(AccessChange::RotateToken { name, hash }),
            None => Err(ChangeError::NoSuchToken(name)),
        }
    }

    /// Plans the end of a token.
    ///
    /// # Errors
    /// If there is no such token, or it is the one in the data directory.
    pub fn plan_revoke_token(&self, name: TokenName) -> Result<AccessChange, ChangeError> {
        if name.as_str() == ADMIN {
            return Err(ChangeError::TokenOfNode(name));
        }
        match self.tokens.get(&name) {
            Some(_) => Ok(AccessChange::RevokeToken { name }),
            None => Err(ChangeError::NoSuchToken(name)),
        }
    }

    pub(super) fn apply_access(&mut self, change: &AccessChange) {
        match change {
            AccessChange::CreateToken { name, token } => {
                Arc::make_mut(&mut self.tokens).insert(name.clone(), token.clone());
            }
            AccessChange::RotateToken { name, hash } => {
                if let Some(token) = self.tokens.get(name).cloned() {
                    let token = Token { hash: *hash, ..token };
                    Arc::make_mut(&mut self.tokens).insert(name.clone(), token);
                }
            }
            AccessChange::RevokeToken { name } => {
                Arc::make_mut(&mut self.tokens).remove(name);
            }
            AccessChange::AddDataKey { key } => Arc::make_mut(&mut self.data_keys).push(key.clone()),
            AccessChange::DropDataKeys { keys } => {
                Arc::make_mut(&mut self.data_keys).retain(|key| !keys.contains(&key.id()));
            }
            AccessChange::RotateAdminToken | AccessChange::RotatePreviewKey | AccessChange::Refuse { .. } => {
            }
        }
    }
}
