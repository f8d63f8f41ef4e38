//! Releases that others approve before they begin.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    live,
    words::{FunctionText, StageText, VersionText},
};

/// Approves, or withdraws, the release that waits in a stage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ApprovalRequest {
    /// The stage; `live` if absent.
    #[serde(default = "live")]
    #[schema(value_type = StageText)]
    pub stage: String,
    /// The release, by the `id` of its [`ProposalView`](super::ProposalView). If another one waits by now,
    /// the request is refused.
    pub proposal: u64,
    /// What you say to it, for the journal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Refuse the request if the function has changed after this revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_revision: Option<u64>,
}

/// A release after an approval or a rejection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ApprovalResult {
    /// The function.
    #[schema(value_type = FunctionText)]
    pub function: String,
    /// The stage.
    #[schema(value_type = StageText)]
    pub stage: String,
    /// The version.
    #[schema(value_type = VersionText)]
    pub version: String,
    /// How many approvals are still missing; 0 if the release has begun, or was rejected.
    pub missing: u32,
    /// The revision that includes the change.
    pub revision: u64,
}
