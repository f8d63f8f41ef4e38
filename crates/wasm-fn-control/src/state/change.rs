//! Changes, which the journal records.

mod value;

use std::sync::Arc;

use wasm_fn_access::{Token, TokenHash};
use wasm_fn_core::{
    BucketName, Digest, FunctionConfig, FunctionName, Revision, SecretName, StageConfig, StageName,
    TokenName, TriggerName, VersionNo,
};
use wasm_fn_events::Trigger;
use wasm_fn_secrets::{KeyId, SealedDataKey};

use super::{
    Approval, NewSecret, Proposal, Provenance, ResealedValue, SecretPins, StageState, TriggerRelease,
};
use crate::report::Report;

pub use value::ValueOperation;

/// One planned mutation.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// Of a function.
    Function(FunctionChange),
    /// Of who may do what, or a record of who tried.
    Access(AccessChange),
}

/// A mutation of one function.
#[derive(Clone, Debug, PartialEq)]
pub struct FunctionChange {
    /// The function.
    pub function: FunctionName,
    /// The action on it.
    pub action: Action,
}

/// A mutation of the tokens and keys of the node, or a record of refusals, which mutates nothing.
#[derive(Clone, Debug, PartialEq)]
pub enum AccessChange {
    /// A token was created.
    CreateToken {
        /// Its name.
        name: TokenName,
        /// The token.
        token: Token,
    },
    /// A token has a new secret.
    RotateToken {
        /// Its name.
        name: TokenName,
        /// The hash of the new secret.
        hash: TokenHash,
    },
    /// A token was revoked.
    RevokeToken {
        /// Its name.
        name: TokenName,
    },
    /// The token in the data directory has a new secret.
    RotateAdminToken,
    /// The key of preview tokens was replaced.
    RotatePreviewKey,
    /// Secrets are sealed under a new key from now on.
    AddDataKey {
        /// The key.
        key: SealedDataKey,
    },
    /// Keys were dropped that seal no secret any more.
    DropDataKeys {
        /// Which ones.
        keys: Vec<KeyId>,
    },
    /// Requests were refused.
    Refuse {
        /// Which ones.
        refusals: Vec<Refusals>,
        /// How many more there were, that are not told apart.
        others: u64,
    },
}

/// Requests that were refused for the same reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusals {
    /// The name of the token; `None` if the request had none that is valid.
    pub actor: Option<String>,
    /// The address that they came from.
    pub address: String,
    /// Why they were refused, such as `wrong token` or `move-traffic on stage live of hello`.
    pub reason: String,
    /// How many there were.
    pub times: u64,
}

/// The action of a change. `after` is the stage after the change.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// A version is created, or gets traffic.
    Deploy {
        /// The stage.
        stage: StageName,
        /// The version.
        version: VersionNo,
        /// The build of the version, if the version is new.
        made: Option<Build>,
        /// The stage after the change, if it changes.
        after: Option<StageState>,
        /// The canary of the rollout that the deployment replaces.
        aborted: Option<VersionNo>,
        /// Old versions that are removed.
        dropped: Vec<VersionNo>,
        /// The numbers of the rollout that the deployment replaces.
        report: Option<Box<Report>>,
        /// What the version can do beyond the one that was stable, as its author accepted it.
        growth: Vec<String>,
        /// The secrets that the version has in the stage.
        secrets: SecretPins,
        /// What the stage lays over its configuration.
        stage_config: Arc<StageConfig>,
        /// Where the component comes from, if not from a file.
        provenance: Option<Box<Provenance>>,
    },
    /// The weights were set.
    Traffic {
        /// The stage.
        stage: StageName,
        /// The stage after the change.
        after: StageState,
    },
    /// The canary became stable.
    Promote {
        /// The stage.
        stage: StageName,
        /// The canary.
        version: VersionNo,
        /// The stage after the change.
        after: StageState,
        /// The numbers behind the decision.
        report: Option<Box<Report>>,
    },
    /// The rollout advanced, or is on hold.
    Advance {
        /// The stage.
        stage: StageName,
        /// The canary.
        version: VersionNo,
        /// How it advanced.
        advance: Advance,
        /// The stage after the change.
        after: StageState,
        /// The numbers behind the decision.
        report: Option<Box<Report>>,
    },
    /// The rollout ended. All traffic goes to stable, or to the split that was set by hand before.
    Abort {
        /// The stage.
        stage: StageName,
        /// The canary.
        version: VersionNo,
        /// The stage after the change.
        after: StageState,
        /// The numbers behind the decision.
        report: Option<Box<Report>>,
    },
    /// All traffic goes to an earlier version.
    Rollback {
        /// The stage.
        stage: StageName,
        /// The version that gets the traffic.
        version: VersionNo,
        /// The stable version that loses the traffic, if it is another.
        left: Option<VersionNo>,
        /// The canary of the rollout that the rollback ends.
        aborted: Option<VersionNo>,
        /// The stage after the change.
        after: StageState,
        /// The numbers behind the decision.
        report: Option<Box<Report>>,
    },
    /// A version is created, if it is new, and waits for approvals before it gets traffic.
    Propose {
        /// The stage.
        stage: StageName,
        /// The version.
        version: VersionNo,
        /// The build of the version, if the version is new.
        made: Option<Build>,
        /// Old versions that are removed.
        dropped: Vec<VersionNo>,
        /// The secrets that the version has in the stage.
        secrets: SecretPins,
        /// What the stage lays over its configuration.
        stage_config: Arc<StageConfig>,
        /// What waits.
        proposal: Box<Proposal>,
        /// Where the component comes from, if not from a file.
        provenance: Option<Box<Provenance>>,
    },
    /// A release was approved. With the last approval that it needs, it begins.
    Approve {
        /// The stage.
        stage: StageName,
        /// The version.
        version: VersionNo,
        /// The approval.
        approval: Approval,
        /// Whether it was the last one.
        begins: bool,
        /// The canary of the rollout that the release replaces.
        aborted: Option<VersionNo>,
        /// The stage after the change, if it changes.
        after: Option<StageState>,
    },
    /// A release that waited for approvals is withdrawn.
    Reject {
        /// The stage.
        stage: StageName,
        /// The version.
        version: VersionNo,
    },
    /// A stage is deleted, with its split, its routes and its secrets. The versions stay.
    DeleteStage {
        /// The stage.
        stage: StageName,
    },
    /// Secrets have new values.
    SetSecrets {
        /// The stage.
        stage: StageName,
        /// At least one, sorted by name.
        secrets: Vec<NewSecret>,
    },
    /// A secret was deleted.
    DeleteSecret {
        /// The stage.
        stage: StageName,
        /// The secret.
        name: SecretName,
    },
    /// Values were sealed again, under another key.
    ResealSecrets {
        /// The values.
        values: Vec<ResealedValue>,
    },
    /// A trigger is new, paused or resumed.
    SetTrigger {
        /// The stage.
        stage: StageName,
        /// The trigger.
        name: TriggerName,
        /// What it is now.
        trigger: Arc<Trigger>,
        /// Where its webhook is, if it is new and has one.
        hook: Option<String>,
        /// How what it deploys is released, if it is new and deploys.
        release: Option<Arc<TriggerRelease>>,
        /// How it changed.
        change: TriggerChange,
    },
    /// A trigger was removed, with its events.
    RemoveTrigger {
        /// The stage.
        stage: StageName,
        /// The trigger.
        name: TriggerName,
    },
    /// Somebody did something with events. Only the inbox changes.
    OperateEvents {
        /// The stage.
        stage: StageName,
        /// The trigger, or `@async` for the requests that clients sent asynchronously.
        trigger: String,
        /// What was done.
        operation: EventsOperation,
        /// With how many events.
        count: u64,
        /// With which, in words.
        which: String,
    },
    /// Somebody changed a value that functions keep. Only the bucket changes, and the value is nowhere here.
    ChangeValue {
        /// The stage.
        stage: StageName,
        /// The bucket.
        bucket: BucketName,
        /// The key.
        key: String,
        /// What was done.
        operation: ValueOperation,
    },
    /// The function is deleted. Its version numbers are not reused.
    Delete,
}

/// What somebody did with events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventsOperation {
    /// A schedule ran once.
    Run,
    /// A schedule ran for times that were past.
    Backfill,
    /// Dead letters were delivered again.
    Redrive,
    /// Dead letters were removed.
    Discard,
}

/// How a trigger changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TriggerChange {
    /// It is new.
    Add,
    /// It was paused.
    Pause,
    /// It was resumed.
    Resume,
}

/// How a rollout advanced, without ending or making its canary stable. The exception is `Settle`, which ends
/// the rollout and leaves the traffic as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advance {
    /// It went to its next step.
    Step,
    /// It awaits a person's promotion.
    Await,
    /// It was paused.
    Pause,
    /// It was resumed.
    Resume,
    /// It was frozen.
    Freeze,
    /// Its watch is over.
    Settle,
}

/// The contents of a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Build {
    /// The component.
    pub digest: Digest,
    /// The kind of the component: `wasi:http 0.2`, `wasi:http 0.3`, `cgi`.
    pub kind: String,
    /// The configuration.
    pub config: Arc<FunctionConfig>,
}

/// The facts about a change besides the change itself.
#[derive(Clone, Copy, Debug)]
pub struct Meta<'a> {
    /// The revision that the change makes.
    pub revision: Revision,
    /// When, Unix milliseconds.
    pub at_ms: u64,
    /// The name of the token that made the change.
    pub actor: &'a str,
    /// Why the change was made.
    pub message: Option<&'a str>,
}

impl Change {
    /// The function that is changed.
    pub fn function(&self) -> Option<&FunctionName> {
        match self {
            Self::Function(change) => Some(&change.function),
            Self::Access(_) => None,
        }
    }

    /// The action on a function.
    pub fn action(&self) -> Option<&Action> {
        match self {
            Self::Function(change) => Some(&change.action),
            Self::Access(_) => None,
        }
    }

    /// The word for this change.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Function(change) => change.action.as_str(),
            Self::Access(change) => change.as_str(),
        }
    }
}

impl From<FunctionChange> for Change {
    fn from(change: FunctionChange) -> Self {
        Self::Function(change)
    }
}

impl From<AccessChange> for Change {
    fn from(change: AccessChange) -> Self {
        Self::Access(change)
    }
}

impl AccessChange {
    /// The word for this change: `create-token`, `rotate-token`, `revoke-token`, `rotate-admin-token`,
    /// `rotate-preview-key`, `add-data-key`, `drop-data-keys` or `refuse`.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::CreateToken { .. } => "create-token",
            Self::RotateToken { .. } => "rotate-token",
            Self::RevokeToken { .. } => "revoke-token",
            Self::RotateAdminToken => "rotate-admin-token",
            Self::RotatePreviewKey => "rotate-preview-key",
            Self::AddDataKey { .. } => "add-data-key",
            Self::DropDataKeys { .. } => "drop-data-keys",
            Self::Refuse { .. } => "refuse",
        }
    }

    /// The token that is changed.
    pub fn token(&self) -> Option<&TokenName> {
        match self {
            Self::CreateToken { name, .. } | Self::RotateToken { name, .. } | Self::RevokeToken { name } => {
                Some(name)
            }
            Self::RotateAdminToken
            | Self::RotatePreviewKey
            | Self::AddDataKey { .. }
            | Self::DropDataKeys { .. }
            | Self::Refuse { .. } => None,
        }
    }
}

impl EventsOperation {
    /// The word for this kind of change.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Run => "run-trigger",
            Self::Backfill => "backfill-trigger",
            Self::Redrive => "redrive-events",
            Self::Discard => "discard-events",
        }
    }
}

impl Advance {
    /// The word for this kind of change.
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
    /// Where the component of its version comes from, if not from a file.
    pub fn provenance(&self) -> Option<&Provenance> {
        match self {
            Self::Deploy { provenance, .. } | Self::Propose { provenance, .. } => provenance.as_deref(),
            _ => None,
        }
    }

    /// The word for this action: `deploy`, `traffic`, `promote`, `abort`, `rollback`, `delete-stage`,
    /// `delete`, `propose`, `approve`, `reject`, `set-secret`, `delete-secret`, `reseal-secrets`,
    /// `add-trigger`, `pause-trigger`, `resume-trigger`, `remove-trigger`, `run-trigger`, `backfill-trigger`,
    /// `redrive-events`, `discard-events`, `set-value`, `delete-value`, or the word for its advance.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Deploy { .. } => "deploy",
            Self::Traffic { .. } => "traffic",
            Self::Promote { .. } => "promote",
            Self::Advance { advance, .. } => advance.as_str(),
            Self::Abort { .. } => "abort",
            Self::Rollback { .. } => "rollback",
            Self::Propose { .. } => "propose",
            Self::Approve { .. } => "approve",
            Self::Reject { .. } => "reject",
            Self::DeleteStage { .. } => "delete-stage",
            Self::Delete => "delete",
            Self::SetSecrets { .. } => "set-secret",
            Self::DeleteSecret { .. } => "delete-secret",
            Self::ResealSecrets { .. } => "reseal-secrets",
            Self::SetTrigger { change: TriggerChange::Add, .. } => "add-trigger",
            Self::SetTrigger { change: TriggerChange::Pause, .. } => "pause-trigger",
            Self::SetTrigger { change: TriggerChange::Resume, .. } => "resume-trigger",
            Self::RemoveTrigger { .. } => "remove-trigger",
            Self::OperateEvents { operation, .. } => operation.as_str(),
            Self::ChangeValue { operation, .. } => operation.as_str(),
        }
    }

    /// The stage that the action is about.
    pub fn stage(&self) -> Option<&StageName> {
        match self {
            Self::Deploy { stage, .. }
            | Self::Traffic { stage, .. }
            | Self::Promote { stage, .. }
            | Self::Advance { stage, .. }
            | Self::Abort { stage, .. }
            | Self::Rollback { stage, .. }
            | Self::Propose { stage, .. }
            | Self::Approve { stage, .. }
            | Self::Reject { stage, .. }
            | Self::DeleteStage { stage }
            | Self::SetSecrets { stage, .. }
            | Self::DeleteSecret { stage, .. }
            | Self::SetTrigger { stage, .. }
            | Self::RemoveTrigger { stage, .. }
            | Self::OperateEvents { stage, .. }
            | Self::ChangeValue { stage, .. } => Some(stage),
            Self::Delete | Self::ResealSecrets { .. } => None,
        }
    }

    /// The version that the action is about.
    pub fn version(&self) -> Option<VersionNo> {
        match self {
            Self::Deploy { version, .. }
            | Self::Promote { version, .. }
            | Self::Advance { version, .. }
            | Self::Abort { version, .. }
            | Self::Rollback { version, .. }
            | Self::Propose { version, .. }
            | Self::Approve { version, .. }
            | Self::Reject { version, .. } => Some(*version),
            _ => None,
        }
    }

    /// The trigger that the action is about, or `@async`.
    pub fn trigger(&self) -> Option<&str> {
        match self {
            Self::SetTrigger { name, .. } | Self::RemoveTrigger { name, .. } => Some(name.as_str()),
            Self::OperateEvents { trigger, .. } => Some(trigger),
            _ => None,
        }
    }

    /// Whether it is a record of something that changes no state. It has a revision of the state, and leaves
    /// that of its function as it is.
    pub fn is_record(&self) -> bool {
        matches!(self, Self::OperateEvents { .. } | Self::ChangeValue { .. })
    }

    /// The stage after the change, if it changes.
    pub fn after(&self) -> Option<&StageState> {
        match self {
            Self::Deploy { after, .. } | Self::Approve { after, .. } => after.as_ref(),
            Self::Traffic { after, .. }
            | Self::Promote { after, .. }
            | Self::Advance { after, .. }
            | Self::Abort { after, .. }
            | Self::Rollback { after, .. } => Some(after),
            _ => None,
        }
    }

    /// Whether it takes everybody off the canary for good.
    pub fn ends_canary(&self) -> bool {
        matches!(
            self,
            Self::Abort { .. }
                | Self::Rollback { .. }
                | Self::Deploy { aborted: Some(_), .. }
                | Self::Approve { aborted: Some(_), .. }
        )
    }

    /// The numbers behind the action, if it is a rollout's.
    pub fn report(&self) -> Option<&Report> {
        match self {
            Self::Deploy { report, .. }
            | Self::Promote { report, .. }
            | Self::Advance { report, .. }
            | Self::Abort { report, .. }
            | Self::Rollback { report, .. } => report.as_deref(),
            _ => None,
        }
    }

    /// Why a deployment of `version` ends the rollout to `canary` that it replaces.
    pub fn replaced_by(version: VersionNo, canary: VersionNo) -> String {
        if version == canary {
            format!("replaced by another deployment of {version}")
        } else {
            format!("replaced by {version}")
        }
    }
}
