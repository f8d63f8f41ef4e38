//! Tokens: who may do what, and how people get one.

mod login;

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use wasm_fn_access::{AccessRole, AccessRoleError, FunctionPattern, PatternError, Rights, Scope, ScopeError};
use wasm_fn_core::{NameError, StageName};

pub use login::{LoginIssuer, LoginView};

use crate::words::{
    HolderText, PatternText, PermissionWord, RoleWord, StageText, TokenIdText, TokenText, TokenTextName,
};

/// Roles within a scope.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RightsSpec {
    /// `viewer`, `deployer`, `releaser`, `admin`; at least one.
    #[schema(value_type = Vec<RoleWord>)]
    pub roles: Vec<String>,
    /// Patterns of the functions: `hello`, `shop-*`, `*`; all functions if empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<PatternText>)]
    pub functions: Vec<String>,
    /// The stages; all if empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<StageText>)]
    pub stages: Vec<String>,
}

/// What is wrong with a [`RightsSpec`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRights {
    /// There is no role.
    #[error("no role, expected at least one of viewer, deployer, releaser and admin")]
    NoRole,
    /// A text is no role.
    #[error(transparent)]
    Role(#[from] AccessRoleError),
    /// A text is no pattern.
    #[error(transparent)]
    Pattern(#[from] PatternError),
    /// A text is no name of a stage.
    #[error(transparent)]
    Stage(#[from] NameError),
    /// There are too many of them.
    #[error(transparent)]
    Scope(#[from] ScopeError),
}

impl TryFrom<&RightsSpec> for Rights {
    type Error = InvalidRights;

    fn try_from(spec: &RightsSpec) -> Result<Self, InvalidRights> {
        let roles: Result<_, AccessRoleError> =
            spec.roles.iter().map(|text| text.parse::<AccessRole>()).collect();
        if spec.roles.is_empty() {
            return Err(InvalidRights::NoRole);
        }
        let functions: Result<Vec<FunctionPattern>, _> =
            spec.functions.iter().map(|text| text.parse()).collect();
        let stages: Result<Vec<StageName>, _> = spec.stages.iter().map(|text| text.parse()).collect();
        Ok(Self { roles: roles?, scope: Scope::new(functions?, stages?)? })
    }
}

impl From<&Rights> for RightsSpec {
    fn from(rights: &Rights) -> Self {
        let Rights { roles, scope } = rights;
        Self {
            roles: roles.iter().map(|role| role.to_string()).collect(),
            functions: scope.functions().iter().map(ToString::to_string).collect(),
            stages: scope.stages().iter().map(ToString::to_string).collect(),
        }
    }
}

/// Creates a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenRequest {
    /// Its name, which the journal will show.
    #[schema(value_type = TokenTextName)]
    pub name: String,
    /// What its holder may do.
    pub rights: RightsSpec,
    /// For how long it is accepted, milliseconds; it does not expire if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_ms: Option<u64>,
    /// Why, for the journal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// A change of an existing token, with its reason.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct TokenChange {
    /// Why, for the journal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// A token with a new secret.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TokenCreated {
    /// The token.
    #[serde(flatten)]
    pub token: TokenView,
    /// What its holder shows. The node keeps only a hash of it, so it is not shown again.
    #[schema(value_type = TokenText)]
    pub secret: String,
}

/// Hides the secret.
impl std::fmt::Debug for TokenCreated {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenCreated").field("token", &self.token).finish_non_exhaustive()
    }
}

/// A token, without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TokenView {
    /// Its name; of somebody for whom another party vouches, the name that the history shows.
    #[schema(value_type = HolderText)]
    pub name: String,
    /// Its id, which changes with its secret; absent for the token in the data directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<TokenIdText>)]
    pub id: Option<String>,
    /// What its holder may do.
    pub rights: RightsSpec,
    /// When it was created, Unix milliseconds; absent for the token in the data directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_ms: Option<u64>,
    /// The name of the token that created it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// From when on it is no longer accepted, Unix milliseconds; absent if it does not expire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_ms: Option<u64>,
    /// When it was used last, Unix milliseconds, to the minute; absent if it never was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_ms: Option<u64>,
}

/// All tokens of a node, by name, besides the one in its data directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TokenList {
    /// The tokens.
    pub tokens: Vec<TokenView>,
}

/// A token that is revoked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TokenRevoked {
    /// Its name.
    #[schema(value_type = TokenTextName)]
    pub name: String,
    /// The revision that the change made.
    pub revision: u64,
}

/// Who the client is to the node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CallerView {
    /// The token that the request was made with.
    pub token: TokenView,
    /// The permissions of its roles, without those that need more than its scope.
    #[schema(value_type = Vec<PermissionWord>)]
    pub permissions: Vec<String>,
}
