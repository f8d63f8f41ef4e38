//! Secrets, without their values: no answer contains one.

use std::{collections::BTreeMap, fmt};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use zeroize::{Zeroize as _, Zeroizing};

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

/// Gives several secrets of a stage new values: all of them, or none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretsRequest {
    /// The values by name, in base64 (RFC 4648, section 4), at least one.
    #[schema(value_type = BTreeMap<String, String>)]
    pub values: BTreeMap<String, SecretText>,
    /// Why, for the journal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Refuses the change if the function has changed after this revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_revision: Option<u64>,
}

/// A value in base64, which does not print, and is overwritten when it is dropped. It has no character that
/// JSON has to escape, so a parser of JSON makes no other copy of it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SecretText(String);

/// Several secrets have new values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SecretsChanged {
    /// The function.
    #[schema(value_type = FunctionText)]
    pub function: String,
    /// The stage.
    #[schema(value_type = StageText)]
    pub stage: String,
    /// The revisions of the values, by the names of the secrets.
    pub secrets: BTreeMap<String, u32>,
    /// The function's revision after the change.
    pub revision: u64,
}

impl SecretText {
    /// The text for `value`.
    pub fn encode(value: &str) -> Self {
        Self(STANDARD.encode(value))
    }

    /// The value; `None` if this is not base64.
    pub fn decode(&self) -> Option<Zeroizing<Vec<u8>>> {
        // What is decoded is shorter, and is not moved while it is.
        let mut value = Zeroizing::new(Vec::with_capacity(self.0.len()));
        STANDARD.decode_vec(&self.0, &mut value).ok()?;
        Some(value)
    }
}

impl Drop for SecretText {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText(…)")
    }
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
