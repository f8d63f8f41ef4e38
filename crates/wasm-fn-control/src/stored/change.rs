//! The stored form of changes.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{
    Malformed,
    access::StoredAccessChange,
    approval::{StoredApproval, StoredProposal},
    function::{StoredBuild, StoredStage},
    parse, parse_all,
    provenance::StoredProvenance,
    secrets::{self, StoredNewSecret, StoredPins, StoredResealed},
    stage_config::StoredStageConfig,
    texts,
    trigger::{StoredEventsOperation, StoredRelease, StoredTrigger, StoredTriggerChange},
};
use crate::{report::Report, state};

/// The stored form of [`state::Change`]. Only changes of functions have a function.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
#[expect(clippy::large_enum_variant, reason = "nearly every change is of a function")]
pub(crate) enum StoredChange {
    Function {
        function: String,
        #[serde(flatten)]
        action: StoredAction,
    },
    Access(StoredAccessChange),
}

/// The stored form of [`state::Action`].
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "kebab-case")]
pub(crate) enum StoredAction {
    Deploy {
        stage: String,
        version: String,
        made: Option<Box<StoredBuild>>,
        after: Option<StoredStage>,
        aborted: Option<String>,
        dropped: Vec<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        report: Option<Box<Report>>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        growth: Vec<String>,
        #[serde(default, skip_serializing_if = "StoredPins::is_empty")]
        secrets: StoredPins,
        #[serde(default, skip_serializing_if = "StoredStageConfig::is_empty")]
        stage_config: StoredStageConfig,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        provenance: Option<Box<StoredProvenance>>,
    },
    Traffic {
        stage: String,
        after: StoredStage,
    },
    Promote {
        stage: String,
        version: String,
        after: StoredStage,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        report: Option<Box<Report>>,
    },
    Advance {
        stage: String,
        version: String,
        advance: StoredAdvance,
        after: StoredStage,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        report: Option<Box<Report>>,
    },
    Abort {
        stage: String,
        version: String,
        after: StoredStage,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        report: Option<Box<Report>>,
    },
    Rollback {
        stage: String,
        version: String,
        left: Option<String>,
        aborted: Option<String>,
        after: StoredStage,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        report: Option<Box<Report>>,
    },
    Propose {
        stage: String,
        version: String,
        made: Option<Box<StoredBuild>>,
        dropped: Vec<String>,
        #[serde(default, skip_serializing_if = "StoredPins::is_empty")]
        secrets: StoredPins,
        #[serde(default, skip_serializing_if = "StoredStageConfig::is_empty")]
        stage_config: StoredStageConfig,
        proposal: Box<StoredProposal>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        provenance: Option<Box<StoredProvenance>>,
    },
    Approve {
        stage: String,
        version: String,
        approval: StoredApproval,
        begins: bool,
        aborted: Option<String>,
        after: Option<StoredStage>,
    },
    Reject {
        stage: String,
        version: String,
    },
    DeleteStage {
        stage: String,
    },
    Delete,
    SetSecret {
        stage: String,
        #[serde(flatten)]
        secret: StoredNewSecret,
        /// What was set with it. Programs that set one secret at a time ignore it, and have the state all the
        /// same.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        more: Vec<StoredNewSecret>,
    },
    DeleteSecret {
        stage: String,
        name: String,
    },
    ResealSecrets {
        values: Vec<StoredResealed>,
    },
    SetTrigger {
        stage: String,
        name: String,
        trigger: Box<StoredTrigger>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        hook: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        release: Option<Box<StoredRelease>>,
        change: StoredTriggerChange,
    },
    RemoveTrigger {
        stage: String,
        name: String,
    },
    OperateEvents {
        stage: String,
        trigger: String,
        operation: StoredEventsOperation,
        count: u64,
        which: String,
    },
    ChangeValue {
        stage: String,
        bucket: String,
        key: String,
        operation: StoredValueOperation,
    },
}

/// The stored form of [`state::ValueOperation`].
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum StoredValueOperation {
    Set,
    Delete,
}

/// The stored form of [`state::Advance`].
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum StoredAdvance {
    Step,
    Await,
    Pause,
    Resume,
    Freeze,
    Settle,
}

impl From<&state::Change> for StoredChange {
    fn from(change: &state::Change) -> Self {
        match change {
            state::Change::Function(change) => {
                Self::Function { function: change.function.to_string(), action: (&change.action).into() }
            }
            state::Change::Access(change) => Self::Access(change.into()),
        }
    }
}

impl TryFrom<StoredChange> for state::Change {
    type Error = Malformed;

    fn try_from(stored: StoredChange) -> Result<Self, Malformed> {
        Ok(match stored {
            StoredChange::Function { function, action } => {
                state::FunctionChange { function: parse(&function)?, action: action.try_into()? }.into()
            }
            StoredChange::Access(change) => state::AccessChange::try_from(change)?.into(),
        })
    }
}

impl From<&state::Action> for StoredAction {
    fn from(action: &state::Action) -> Self {
        match action {
            state::Action::Deploy {
                stage,
                version,
                made,
                after,
                aborted,
                dropped,
                report,
                growth,
                secrets,
                stage_config,
                provenance,
            } => Self::Deploy {
                provenance: provenance.as_deref().map(|provenance| Box::new(provenance.into())),
                stage_config: stage_config.into(),
                growth: growth.clone(),
                secrets: secrets::stored_pins(secrets),
                stage: stage.to_string(),
                version: version.to_string(),
                made: made.as_ref().map(|build| Box::new(StoredBuild::from(build))),
                after: after.as_ref().map(StoredStage::from),
                aborted: aborted.as_ref().map(ToString::to_string),
                dropped: texts(dropped),
                report: report.clone(),
            },
            state::Action::Traffic { stage, after } => {
                Self::Traffic { stage: stage.to_string(), after: after.into() }
            }
            state::Action::Promote { stage, version, after, report } => Self::Promote {
                stage: stage.to_string(),
                version: version.to_string(),
                after: after.into(),
                report: report.clone(),
            },
            state::Action::Advance { stage, version, advance, after, report } => Self::Advance {
                stage: stage.to_string(),
                version: version.to_string(),
                advance: (*advance).into(),
                after: after.into(),
                report: report.clone(),
            },
            state::Action::Abort { stage, version, after, report } => Self::Abort {
                stage: stage.to_string(),
                version: version.to_string(),
                after: after.into(),
                report: report.clone(),
            },
            state::Action::Rollback { stage, version, left, aborted, after, report } => Self::Rollback {
                stage: stage.to_string(),
                version: version.to_string(),
                left: left.as_ref().map(ToString::to_string),
                aborted: aborted.as_ref().map(ToString::to_string),
                after: after.into(),
                report: report.clone(),
            },
            state::Action::Propose {
                stage,
                version,
                made,
                dropped,
                secrets,
                stage_config,
                proposal,
                provenance,
            } => Self::Propose {
                provenance: provenance.as_deref().map(|provenance| Box::new(provenance.into())),
                secrets: secrets::stored_pins(secrets),
                stage_config: stage_config.into(),
                stage: stage.to_string(),
                version: version.to_string(),
                made: made.as_ref().map(|build| Box::new(StoredBuild::from(build))),
                dropped: texts(dropped),
                proposal: Box::new((&**proposal).into()),
            },
            state::Action::Approve { stage, version, approval, begins, aborted, after } => Self::Approve {
                stage: stage.to_string(),
                version: version.to_string(),
                approval: approval.into(),
                begins: *begins,
                aborted: aborted.as_ref().map(ToString::to_string),
                after: after.as_ref().map(StoredStage::from),
            },
            state::Action::Reject { stage, version } => {
                Self::Reject { stage: stage.to_string(), version: version.to_string() }
            }
            state::Action::DeleteStage { stage } => Self::DeleteStage { stage: stage.to_string() },
            state::Action::Delete => Self::Delete,
            state::Action::SetSecrets { stage, secrets } => {
                let mut secrets = secrets.iter().map(StoredNewSecret::from);
                let secret = secrets.next().expect("a change sets a secret");
                Self::SetSecret { stage: stage.to_string(), secret, more: secrets.collect() }
            }
            state::Action::DeleteSecret { stage, name } => {
                Self::DeleteSecret { stage: stage.to_string(), name: name.to_string() }
            }
            state::Action::ResealSecrets { values } => {
                Self::ResealSecrets { values: values.iter().map(Into::into).collect() }
            }
            state::Action::SetTrigger { stage, name, trigger, hook, release, change } => Self::SetTrigger {
                release: release.as_deref().map(|release| Box::new(release.into())),
                stage: stage.to_string(),
                name: name.to_string(),
                trigger: Box::new((&**trigger).into()),
                hook: hook.clone(),
                change: (*change).into(),
            },
            state::Action::RemoveTrigger { stage, name } => {
                Self::RemoveTrigger { stage: stage.to_string(), name: name.to_string() }
            }
            state::Action::OperateEvents { stage, trigger, operation, count, which } => Self::OperateEvents {
                stage: stage.to_string(),
                trigger: trigger.clone(),
                operation: (*operation).into(),
                count: *count,
                which: which.clone(),
            },
            state::Action::ChangeValue { stage, bucket, key, operation } => Self::ChangeValue {
                stage: stage.to_string(),
                bucket: bucket.to_string(),
                key: key.clone(),
                operation: match operation {
                    state::ValueOperation::Set => StoredValueOperation::Set,
                    state::ValueOperation::Delete => StoredValueOperation::Delete,
                },
            },
        }
    }
}

impl TryFrom<StoredAction> for state::Action {
    type Error = Malformed;

    fn try_from(stored: StoredAction) -> Result<Self, Malformed> {
        let optional = |text: Option<String>| text.as_deref().map(parse).transpose();
        Ok(match stored {
            StoredAction::Deploy {
                stage,
                version,
                made,
                after,
                aborted,
                dropped,
                report,
                growth,
                secrets: pins,
                stage_config,
                provenance,
            } => Self::Deploy {
                provenance: read_provenance(provenance)?,
                stage_config: stage_config.try_into()?,
                growth,
                secrets: secrets::pins(&pins)?,
                stage: parse(&stage)?,
                version: parse(&version)?,
                made: made.map(|build| (*build).try_into()).transpose()?,
                after: after.map(TryInto::try_into).transpose()?,
                aborted: optional(aborted)?,
                dropped: parse_all(&dropped)?,
                report,
            },
            StoredAction::Traffic { stage, after } => {
                Self::Traffic { stage: parse(&stage)?, after: after.try_into()? }
            }
            StoredAction::Promote { stage, version, after, report } => Self::Promote {
                stage: parse(&stage)?,
                version: parse(&version)?,
                after: after.try_into()?,
                report,
            },
            StoredAction::Advance { stage, version, advance, after, report } => Self::Advance {
                stage: parse(&stage)?,
                version: parse(&version)?,
                advance: advance.into(),
                after: after.try_into()?,
                report,
            },
            StoredAction::Abort { stage, version, after, report } => Self::Abort {
                stage: parse(&stage)?,
                version: parse(&version)?,
                after: after.try_into()?,
                report,
            },
            StoredAction::Rollback { stage, version, left, aborted, after, report } => Self::Rollback {
                stage: parse(&stage)?,
                version: parse(&version)?,
                left: optional(left)?,
                aborted: optional(aborted)?,
                after: after.try_into()?,
                report,
            },
            StoredAction::Propose {
                stage,
                version,
                made,
                dropped,
                secrets: pins,
                stage_config,
                proposal,
                provenance,
            } => Self::Propose {
                provenance: read_provenance(provenance)?,
                secrets: secrets::pins(&pins)?,
                stage_config: stage_config.try_into()?,
                stage: parse(&stage)?,
                version: parse(&version)?,
                made: made.map(|build| (*build).try_into()).transpose()?,
                dropped: parse_all(&dropped)?,
                proposal: Box::new((*proposal).try_into()?),
            },
            StoredAction::Approve { stage, version, approval, begins, aborted, after } => Self::Approve {
                stage: parse(&stage)?,
                version: parse(&version)?,
                approval: approval.into(),
                begins,
                aborted: optional(aborted)?,
                after: after.map(TryInto::try_into).transpose()?,
            },
            StoredAction::Reject { stage, version } => {
                Self::Reject { stage: parse(&stage)?, version: parse(&version)? }
            }
            StoredAction::DeleteStage { stage } => Self::DeleteStage { stage: parse(&stage)? },
            StoredAction::Delete => Self::Delete,
            StoredAction::SetSecret { stage, secret, more } => Self::SetSecrets {
                stage: parse(&stage)?,
                secrets: std::iter::once(secret)
                    .chain(more)
                    .map(TryInto::try_into)
                    .collect::<Result<_, _>>()?,
            },
            StoredAction::DeleteSecret { stage, name } => {
                Self::DeleteSecret { stage: parse(&stage)?, name: parse(&name)? }
            }
            StoredAction::ResealSecrets { values } => Self::ResealSecrets {
                values: values.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
            },
            StoredAction::SetTrigger { stage, name, trigger, hook, release, change } => Self::SetTrigger {
                release: release.map(|release| (*release).try_into().map(Arc::new)).transpose()?,
                stage: parse(&stage)?,
                name: parse(&name)?,
                trigger: Arc::new((*trigger).try_into()?),
                hook,
                change: change.into(),
            },
            StoredAction::RemoveTrigger { stage, name } => {
                Self::RemoveTrigger { stage: parse(&stage)?, name: parse(&name)? }
            }
            StoredAction::OperateEvents { stage, trigger, operation, count, which } => Self::OperateEvents {
                stage: parse(&stage)?,
                trigger,
                operation: operation.into(),
                count,
                which,
            },
            StoredAction::ChangeValue { stage, bucket, key, operation } => Self::ChangeValue {
                stage: parse(&stage)?,
                bucket: parse(&bucket)?,
                key,
                operation: match operation {
                    StoredValueOperation::Set => state::ValueOperation::Set,
                    StoredValueOperation::Delete => state::ValueOperation::Delete,
                },
            },
        })
    }
}

fn read_provenance(
    stored: Option<Box<StoredProvenance>>,
) -> Result<Option<Box<state::Provenance>>, Malformed> {
    stored.map(|stored| (*stored).try_into().map(Box::new)).transpose()
}

impl From<state::Advance> for StoredAdvance {
    fn from(advance: state::Advance) -> Self {
        match advance {
            state::Advance::Step => Self::Step,
            state::Advance::Await => Self::Await,
            state::Advance::Pause => Self::Pause,
            state::Advance::Resume => Self::Resume,
            state::Advance::Freeze => Self::Freeze,
            state::Advance::Settle => Self::Settle,
        }
    }
}

impl From<StoredAdvance> for state::Advance {
    fn from(stored: StoredAdvance) -> Self {
        match stored {
            StoredAdvance::Step => Self::Step,
            StoredAdvance::Await => Self::Await,
            StoredAdvance::Pause => Self::Pause,
            StoredAdvance::Resume => Self::Resume,
            StoredAdvance::Freeze => Self::Freeze,
            StoredAdvance::Settle => Self::Settle,
        }
    }
}
