//! The audit log: the journal of the node, as it is shown.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::{
    HistoryEntry,
    words::{AuditActionWord, DigestText, FunctionText, NodeText, TokenTextName},
};

/// Parameters of `GET /v1/audit`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AuditQuery {
    /// Only entries about this function.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<FunctionText>)]
    pub function: Option<String>,
    /// Only entries by the token, or the part of the node, of this name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    /// Only entries from this time on, Unix milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since_ms: Option<u64>,
    /// Only entries with a lower revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<u64>,
    /// Look at this many revisions at most, 1 to 1,000; 1,000 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u32>,
}

/// Entries of the journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AuditPage {
    /// The entries, newest first.
    pub entries: Vec<AuditEntry>,
    /// Ask again with this as `before` for older entries; absent if there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<u64>,
}

/// One committed change, or a record of refused requests.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AuditEntry {
    /// The revision that the change made.
    pub revision: u64,
    /// When, Unix milliseconds.
    pub at_ms: u64,
    /// The name of the token that made the change; `node` or `rollout` for the node itself.
    pub actor: String,
    /// The id of that token; absent for the node itself, and for the token in its data directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// The address that the change came from.
    pub origin: String,
    /// The node of the cluster that made it; absent if the node is alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<NodeText>)]
    pub node: Option<String>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// What was done: an action of a function's history, or `create-token`, `rotate-token`, `revoke-token`,
    /// `rotate-admin-token`, `rotate-preview-key`, `add-data-key`, `drop-data-keys`, `refuse`.
    #[schema(value_type = AuditActionWord)]
    pub action: String,
    /// The function that was changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<FunctionText>)]
    pub function: Option<String>,
    /// What the function's history shows of the change.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<HistoryEntry>,
    /// The token that was changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<TokenTextName>)]
    pub subject: Option<String>,
    /// The rights of a token that was created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rights: Option<super::RightsSpec>,
    /// The requests that were refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refusals: Vec<RefusalsView>,
    /// How many more were refused that are not told apart.
    #[serde(default, skip_serializing_if = "super::is_zero")]
    pub other_refusals: u64,
    /// Hash of this entry. It covers the hash of the entry before it.
    #[schema(value_type = DigestText)]
    pub hash: String,
}

/// Requests that were refused for the same reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RefusalsView {
    /// The name of the token; absent if the requests had none that is valid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    /// The address that they came from.
    pub address: String,
    /// Why they were refused.
    pub reason: String,
    /// How many there were.
    pub times: u64,
}

/// Parameters of `GET /v1/audit/head`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AuditHeadQuery {
    /// Also verify the whole chain of hashes.
    #[serde(default, skip_serializing_if = "super::is_false")]
    pub verify: bool,
    /// The revision of a head that was noted earlier, which the chain must contain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    /// The hash of that head.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<DigestText>)]
    pub hash: Option<String>,
}

/// The end of the journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditHead {
    /// The revision of the last entry; 0 if there is none.
    pub revision: u64,
    /// The hash of the last entry, which covers all entries. Zeros if there is none.
    #[schema(value_type = DigestText)]
    pub hash: String,
    /// Whether the whole chain was verified.
    pub verified: bool,
}
