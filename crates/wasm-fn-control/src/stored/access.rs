//! The stored form of tokens and of the keys of secrets, and of changes to them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wasm_fn_access::{AccessRole, Rights, Scope, Token, TokenHash, Tokens};
use wasm_fn_secrets::SealedDataKey;

use super::{Malformed, parse, parse_all, texts};
use crate::state;

/// The document about who may do what, and of what secrets are sealed under.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct StoredAccess {
    tokens: BTreeMap<String, StoredToken>,
    /// The newest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    data_keys: Vec<String>,
}

/// The stored form of [`Token`].
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct StoredToken {
    hash: String,
    roles: Vec<String>,
    functions: Vec<String>,
    /// None means all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    stages: Vec<String>,
    created_ms: u64,
    created_by: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires_ms: Option<u64>,
}

/// The stored form of [`state::AccessChange`].
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "kebab-case")]
pub(crate) enum StoredAccessChange {
    CreateToken { name: String, token: StoredToken },
    RotateToken { name: String, hash: String },
    RevokeToken { name: String },
    RotateAdminToken,
    RotatePreviewKey,
    AddDataKey { key: String },
    DropDataKeys { keys: Vec<String> },
    Refuse { refusals: Vec<StoredRefusals>, others: u64 },
}

/// The stored form of [`state::Refusals`].
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct StoredRefusals {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    actor: Option<String>,
    address: String,
    reason: String,
    times: u64,
}

fn hash(digits: &str) -> Result<TokenHash, Malformed> {
    TokenHash::from_hex(digits)
        .ok_or_else(|| Malformed("hash of a token, expected 64 hexadecimal digits".to_owned()))
}

impl From<&state::State> for StoredAccess {
    fn from(state: &state::State) -> Self {
        let tokens = state.tokens().iter();
        Self {
            tokens: tokens.map(|(name, token)| (name.to_string(), token.into())).collect(),
            data_keys: texts(state.data_keys()),
        }
    }
}

impl TryFrom<StoredAccess> for (Tokens, Vec<SealedDataKey>) {
    type Error = Malformed;

    fn try_from(stored: StoredAccess) -> Result<Self, Malformed> {
        let mut tokens = Tokens::default();
        for (name, token) in stored.tokens {
            tokens.insert(parse(&name)?, token.try_into()?);
        }
        Ok((tokens, parse_all(&stored.data_keys)?))
    }
}

impl From<&Token> for StoredToken {
    fn from(token: &Token) -> Self {
        let Rights { roles, scope } = &token.rights;
        Self {
            hash: token.hash.to_hex(),
            roles: roles.iter().map(|role| role.to_string()).collect(),
            functions: texts(scope.functions()),
            stages: texts(scope.stages()),
            created_ms: token.created_ms,
            created_by: token.created_by.clone(),
            expires_ms: token.expires_ms,
        }
    }
}

impl TryFrom<StoredToken> for Token {
    type Error = Malformed;

    fn try_from(stored: StoredToken) -> Result<Self, Malformed> {
        if stored.functions.is_empty() {
            // An empty list would mean all functions.
            return Err(Malformed("scope without functions, expected at least one pattern".to_owned()));
        }
        let scope = Scope::new(parse_all(&stored.functions)?, parse_all(&stored.stages)?);
        let roles: Vec<AccessRole> = parse_all(&stored.roles)?;
        Ok(Self {
            hash: hash(&stored.hash)?,
            rights: Rights { roles: roles.into_iter().collect(), scope: scope.map_err(Malformed::new)? },
            created_ms: stored.created_ms,
            created_by: stored.created_by,
            expires_ms: stored.expires_ms,
        })
    }
}

impl From<&state::AccessChange> for StoredAccessChange {
    fn from(change: &state::AccessChange) -> Self {
        use state::AccessChange as A;
        match change {
            A::CreateToken { name, token } => {
                Self::CreateToken { name: name.to_string(), token: token.into() }
            }
            A::RotateToken { name, hash } => {
                Self::RotateToken { name: name.to_string(), hash: hash.to_hex() }
            }
            A::RevokeToken { name } => Self::RevokeToken { name: name.to_string() },
            A::RotateAdminToken => Self::RotateAdminToken,
            A::RotatePreviewKey => Self::RotatePreviewKey,
            A::AddDataKey { key } => Self::AddDataKey { key: key.to_string() },
            A::DropDataKeys { keys } => Self::DropDataKeys { keys: texts(keys) },
            A::Refuse { refusals, others } => {
                Self::Refuse { refusals: refusals.iter().map(Into::into).collect(), others: *others }
            }
        }
    }
}

impl TryFrom<StoredAccessChange> for state::AccessChange {
    type Error = Malformed;

    fn try_from(stored: StoredAccessChange) -> Result<Self, Malformed> {
        use StoredAccessChange as A;
        Ok(match stored {
            A::CreateToken { name, token } => {
                Self::CreateToken { name: parse(&name)?, token: token.try_into()? }
            }
            A::RotateToken { name, hash: digits } => {
                Self::RotateToken { name: parse(&name)?, hash: hash(&digits)? }
            }
            A::RevokeToken { name } => Self::RevokeToken { name: parse(&name)? },
            A::RotateAdminToken => Self::RotateAdminToken,
            A::RotatePreviewKey => Self::RotatePreviewKey,
            A::AddDataKey { key } => Self::AddDataKey { key: parse(&key)? },
            A::DropDataKeys { keys } => Self::DropDataKeys { keys: parse_all(&keys)? },
            A::Refuse { refusals, others } => {
                Self::Refuse { refusals: refusals.into_iter().map(Into::into).collect(), others }
            }
        })
    }
}

impl From<&state::Refusals> for StoredRefusals {
    fn from(refusals: &state::Refusals) -> Self {
        let state::Refusals { actor, address, reason, times } = refusals.clone();
        Self { actor, address, reason, times }
    }
}

impl From<StoredRefusals> for state::Refusals {
    fn from(stored: StoredRefusals) -> Self {
        let StoredRefusals { actor, address, reason, times } = stored;
        Self { actor, address, reason, times }
    }
}
