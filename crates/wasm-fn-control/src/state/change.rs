//! Changes: what the journal records.

use std::sync::Arc;

use wasm_fn_core::{Digest, FunctionConfig, FunctionName, Revision, StageName, VersionNo};

use super::StageState;
use crate::report::Report;

/// One mutation of one function, decided.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The function.
    pub function: FunctionName,
    /// What is done to it.
    pub action: Action,
}

/// What a change does. `after` is the stage as it is to be.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// A version gets traffic, or exists.
    Deploy {
        /// The stage.
        stage: StageName,
        /// The version.
        version: VersionNo,
        /// What it is made of, when it did not exist.
        made: Option<Build>,
        /// The stage afterwards, when it changes.
        after: Option<StageState>,
        /// The canary of the rollout that this replaces.
        aborted: Option<VersionNo>,
        /// Old versions that are forgotten.
        dropped: Vec<VersionNo>,
        /// The numbers of the rollout that this replaces.
        report: Option<Box<Report>>,
    },
    /// The weights were set.
    Traffic {
        /// The stage.
        stage: StageName,
        /// The stage afterwards.
        after: StageState,
    },
    /// The canary became stable.
    Promote {
        /// The stage.
        stage: StageName,
        /// The canary.
        version: VersionNo,
        /// The stage afterwards.
        after: StageState,
        /// The numbers behind it.
        report: Option<Box<Report>>,
    },
    /// The rollout went on, or stands still.
    Advance {
        /// The stage.
        stage: StageName,
        /// The canary.
        version: VersionNo,
        /// What it did.
        advance: Advance,
        /// The stage afterwards.
        after: StageState,
        /// The numbers behind it.
        report: Option<Box<Report>>,
    },
    /// The rollout ended, everything goes to stable, or to the split that was set by hand before.
    Abort {
        /// The stage.
        stage: StageName,
        /// The canary.
        version: VersionNo,
        /// The stage afterwards.
        after: StageState,
        /// The numbers behind it.
        report: Option<Box<Report>>,
    },
    /// Everything goes to an earlier version.
    Rollback {
        /// The stage.
        stage: StageName,
        /// The version it goes to.
        version: VersionNo,
        /// The stable version that it leaves, when it is another.
        left: Option<VersionNo>,
        /// The canary of the rollout that this ends.
        aborted: Option<VersionNo>,
        /// The stage afterwards.
        after: StageState,
        /// The numbers behind it.
        report: Option<Box<Report>>,
    },
    /// The function is gone; its numbers stay used.
    Delete,
}

/// What a rollout did that neither ended it nor made its canary stable; but for `Settle`, which ends it where
/// it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advance {
    /// It went to its next step.
    Step,
    /// It waits for a person.
    Await,
    /// It stands still.
    Pause,
    /// It goes on.
    Resume,
    /// It stands still for good.
    Freeze,
    /// Its watch is over.
    Settle,
}

/// What a version is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Build {
    /// The component.
    pub digest: Digest,
    /// What the component is: `wasi:http 0.2`, `wasi:http 0.3`, `cgi`.
    pub kind: String,
    /// The configuration.
    pub config: Arc<FunctionConfig>,
}

/// What is known about a change besides the change.
#[derive(Clone, Copy, Debug)]
pub struct Meta<'a> {
    /// The revision it makes.
    pub revision: Revision,
    /// When, Unix milliseconds.
    pub at_ms: u64,
    /// The name of the token it was made with.
    pub actor: &'a str,
    /// Why.
    pub message: Option<&'a str>,
}

impl Advance {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Step => "step",
            Self::Await => "await",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Freeze => "freeze",
            Self::Settle => "settle",
        }
    }
}

impl Action {
    /// The word for it: `deploy`, `traffic`, `promote`, `abort`, `rollback`, `delete`, or the advance's.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Deploy { .. } => "deploy",
            Self::Traffic { .. } => "traffic",
            Self::Promote { .. } => "promote",
            Self::Advance { advance, .. } => advance.as_str(),
            Self::Abort { .. } => "abort",
            Self::Rollback { .. } => "rollback",
            Self::Delete => "delete",
        }
    }

    /// The stage it is about.
    pub fn stage(&self) -> Option<&StageName> {
        match self {
            Self::Deploy { stage, .. }
            | Self::Traffic { stage, .. }
            | Self::Promote { stage, .. }
            | Self::Advance { stage, .. }
            | Self::Abort { stage, .. }
            | Self::Rollback { stage, .. } => Some(stage),
            Self::Delete => None,
        }
    }

    /// The version it is about.
    pub fn version(&self) -> Option<VersionNo> {
        match self {
            Self::Deploy { version, .. }
            | Self::Promote { version, .. }
            | Self::Advance { version, .. }
            | Self::Abort { version, .. }
            | Self::Rollback { version, .. } => Some(*version),
            Self::Traffic { .. } | Self::Delete => None,
        }
    }

    /// The stage as it is to be, when it changes.
    pub fn after(&self) -> Option<&StageState> {
        match self {
            Self::Deploy { after, .. } => after.as_ref(),
            Self::Traffic { after, .. }
            | Self::Promote { after, .. }
            | Self::Advance { after, .. }
            | Self::Abort { after, .. }
            | Self::Rollback { after, .. } => Some(after),
            Self::Delete => None,
        }
    }

    /// The numbers behind it, when it is a rollout's.
    pub fn report(&self) -> Option<&Report> {
        match self {
            Self::Deploy { report, .. }
            | Self::Promote { report, .. }
            | Self::Advance { report, .. }
            | Self::Abort { report, .. }
            | Self::Rollback { report, .. } => report.as_deref(),
            Self::Traffic { .. } | Self::Delete => None,
        }
    }

    /// Why a deployment of `version` ends the rollout that it replaces.
    pub fn replaced_by(version: VersionNo, canary: VersionNo) -> String {
        if version == canary {
            format!("replaced by another deployment of {version}")
        } else {
            format!("replaced by {version}")
        }
    }
}
