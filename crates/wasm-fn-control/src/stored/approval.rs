//! The stored form of releases that wait for approval.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use wasm_fn_core::Revision;

use super::{Malformed, parse, rollout::StoredSpec};
use crate::state;

/// The stored form of [`state::Proposal`].
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct StoredProposal {
    revision: u64,
    version: String,
    /// `None` for all at once without a watch.
    spec: Option<StoredSpec>,
    replace: bool,
    #[serde(default)]
    growth: Vec<String>,
    author: String,
    message: Option<String>,
    approvers: u32,
    created_ms: u64,
    expires_ms: u64,
    approvals: Vec<StoredApproval>,
}

/// The stored form of [`state::Approval`].
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct StoredApproval {
    by: String,
    token: Option<String>,
    at_ms: u64,
    message: Option<String>,
}

impl From<&state::Proposal> for StoredProposal {
    fn from(proposal: &state::Proposal) -> Self {
        Self {
            revision: proposal.revision.0,
            version: proposal.version.to_string(),
            spec: proposal.spec.as_deref().map(Into::into),
            replace: proposal.replace,
            growth: proposal.growth.clone(),
            author: proposal.author.clone(),
            message: proposal.message.clone(),
            approvers: proposal.approvers,
            created_ms: proposal.created_ms,
            expires_ms: proposal.expires_ms,
            approvals: proposal.approvals.iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<StoredProposal> for state::Proposal {
    type Error = Malformed;

    fn try_from(stored: StoredProposal) -> Result<Self, Malformed> {
        let spec: Option<state::RolloutSpec> = stored.spec.map(TryInto::try_into).transpose()?;
        Ok(Self {
            revision: Revision(stored.revision),
            version: parse(&stored.version)?,
            spec: spec.map(Arc::new),
            replace: stored.replace,
            growth: stored.growth,
            author: stored.author,
            message: stored.message,
            approvers: stored.approvers,
            created_ms: stored.created_ms,
            expires_ms: stored.expires_ms,
            approvals: stored.approvals.into_iter().map(Into::into).collect(),
        })
    }
}

impl From<&state::Approval> for StoredApproval {
    fn from(approval: &state::Approval) -> Self {
        let state::Approval { by, token, at_ms, message } = approval.clone();
        Self { by, token, at_ms, message }
    }
}

impl From<StoredApproval> for state::Approval {
    fn from(stored: StoredApproval) -> Self {
        let StoredApproval { by, token, at_ms, message } = stored;
        Self { by, token, at_ms, message }
    }
}
