//! Secrets, without their values: no answer contains one.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::words::{FunctionText, SecretNameText, StageText, VersionText};

/// The secrets of a stage: the answer to `GET /v1/functions/{function}/stages/{stage}/secrets`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SecretList {
    /// The function. It need not have versions yet.
    #[schema(value_type = FunctionText)]
    pub function: String,
    /// The stage.
    #[schema(value_type = StageText)]
    pub stage: String,
    /// Its secrets, sorted by name.
    pub secrets: Vec<SecretView>,
}

/// A secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SecretView {
    /// Its name.
    #[schema(value_type = SecretNameText)]
    pub name: String,
    /// The revision of its newest value, which the next deployment gets.
    pub revision: u32,
    /// When that value was set, Unix milliseconds.
    pub set_ms: u64,
    /// The name of the token that set it.
    pub set_by: String,
    /// The versions that have the secret in this stage, the newest first.
    pub used_by: Vec<SecretUse>,
}

/// A version that has a secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SecretUse {
    /// The version.
    #[schema(value_type = VersionText)]
    pub version: String,
    /// The revision of the value that it has.
    pub revision: u32,
}

/// Parameters of a change of a secret. The body of a new value is the value itself, and nothing else.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct SecretQuery {
    /// Why, for the journal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Refuses the change if the function has changed after this revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_revision: Option<u64>,
}

/// A secret has a new value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SecretChanged {
    /// The function.
    #[schema(value_type = FunctionText)]
    pub function: String,
    /// The stage.
    #[schema(value_type = StageText)]
    pub stage: String,
    /// The secret.
    #[schema(value_type = SecretNameText)]
    pub name: String,
    /// The revision of the value.
    pub secret_revision: u32,
    /// The function's revision after the change.
    pub revision: u64,
}

/// A secret was deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SecretDeleted {
    /// The function.
    #[schema(value_type = FunctionText)]
    pub function: String,
    /// The stage.
    #[schema(value_type = StageText)]
    pub stage: String,
    /// The secret.
    #[schema(value_type = SecretNameText)]
    pub name: String,
    /// The function's revision after the change.
    pub revision: u64,
}

/// Replaces the key that secrets are sealed under.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretsKeyRequest {
    /// Why, for the journal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// Every secret is sealed under a new key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SecretsKeyRotated {
    /// How many functions had secrets that were sealed again.
    pub functions: u64,
    /// The revision after it.
    pub revision: u64,
}
