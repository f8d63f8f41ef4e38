//! Releases that others have to approve before they begin.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use wasm_fn_core::{Revision, StageName, VersionNo};

use super::RolloutSpec;

/// What is asked of a release to a stage of this name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StageRule {
    /// Whether only those who may move traffic may release to it.
    pub protected: bool,
    /// How many people besides the author have to approve a release.
    pub approvers: u32,
    /// How long they have time for it.
    pub expires: Duration,
}

/// The rules of stages, by name. Other stages have none.
pub type StageRules = BTreeMap<StageName, StageRule>;

/// A release that waits for approvals. It is for one component, one configuration and one plan: another
/// deployment to the stage replaces it.
#[derive(Clone, Debug, PartialEq)]
pub struct Proposal {
    /// The revision that made it, by which people refer to it.
    pub revision: Revision,
    /// The version.
    pub version: VersionNo,
    /// How it is to get its traffic; `None` for all at once, without a watch.
    pub spec: Option<Arc<RolloutSpec>>,
    /// Whether it is to abort a rollout that is under way.
    pub replace: bool,
    /// What the version can do beyond the stable one.
    pub growth: Vec<String>,
    /// The name of the token that proposed it.
    pub author: String,
    /// Why it was proposed.
    pub message: Option<String>,
    /// How many approvals it needs.
    pub approvers: u32,
    /// When it was made, Unix milliseconds.
    pub created_ms: u64,
    /// Until when it can be approved, Unix milliseconds.
    pub expires_ms: u64,
    /// The approvals so far.
    pub approvals: Vec<Approval>,
}

/// A person's consent to a proposal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approval {
    /// The name of the token.
    pub by: String,
    /// Its id; `None` for the token in the data directory.
    pub token: Option<String>,
    /// When, Unix milliseconds.
    pub at_ms: u64,
    /// What they said.
    pub message: Option<String>,
}

/// Why an approval does not count.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoApproval {
    /// Nothing waits for approval.
    #[error("no release waits for approval")]
    Nothing,
    /// It is another proposal than the one that was seen.
    #[error("the release that waits is {found}, expected {expected}: it has changed since it was looked at")]
    Changed {
        /// The revision of the proposal.
        found: Revision,
        /// The revision that was seen.
        expected: Revision,
    },
    /// It is too late.
    #[error("the time to approve the release is over, expected another deployment")]
    Expired,
    /// The author cannot approve their own release.
    #[error("`{0}` proposed the release, expected somebody else to approve it")]
    Author(String),
    /// Nobody counts twice.
    #[error("`{0}` has approved the release already, expected somebody else")]
    Twice(String),
}
