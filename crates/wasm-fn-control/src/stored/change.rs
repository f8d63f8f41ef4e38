//! A change as it is kept.

use serde::{Deserialize, Serialize};

use super::{Build, Malformed, Stage, parse, parse_all, texts};
use crate::state;

/// [`state::Change`].
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Change {
    function: String,
    #[serde(flatten)]
    action: Action,
}

/// [`state::Action`].
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "kebab-case")]
enum Action {
    Deploy {
        stage: String,
        version: String,
        made: Option<Box<Build>>,
        after: Option<Stage>,
        aborted: Option<String>,
        dropped: Vec<String>,
    },
    Traffic {
        stage: String,
        after: Stage,
    },
    Promote {
        stage: String,
        version: String,
        after: Stage,
    },
    Abort {
        stage: String,
        version: String,
        after: Stage,
    },
    Rollback {
        stage: String,
        version: String,
        left: Option<String>,
        aborted: Option<String>,
        after: Stage,
    },
    Delete,
}

impl From<&state::Change> for Change {
    fn from(change: &state::Change) -> Self {
        Self { function: change.function.to_string(), action: (&change.action).into() }
    }
}

impl TryFrom<Change> for state::Change {
    type Error = Malformed;

    fn try_from(stored: Change) -> Result<Self, Malformed> {
        Ok(Self { function: parse(&stored.function)?, action: stored.action.try_into()? })
    }
}

impl From<&state::Action> for Action {
    fn from(action: &state::Action) -> Self {
        match action {
            state::Action::Deploy { stage, version, made, after, aborted, dropped } => Self::Deploy {
                stage: stage.to_string(),
                version: version.to_string(),
                made: made.as_ref().map(|build| Box::new(Build::from(build))),
                after: after.as_ref().map(Stage::from),
                aborted: aborted.as_ref().map(ToString::to_string),
                dropped: texts(dropped),
            },
            state::Action::Traffic { stage, after } => {
                Self::Traffic { stage: stage.to_string(), after: after.into() }
            }
            state::Action::Promote { stage, version, after } => {
                Self::Promote { stage: stage.to_string(), version: version.to_string(), after: after.into() }
            }
            state::Action::Abort { stage, version, after } => {
                Self::Abort { stage: stage.to_string(), version: version.to_string(), after: after.into() }
            }
            state::Action::Rollback { stage, version, left, aborted, after } => Self::Rollback {
                stage: stage.to_string(),
                version: version.to_string(),
                left: left.as_ref().map(ToString::to_string),
                aborted: aborted.as_ref().map(ToString::to_string),
                after: after.into(),
            },
            state::Action::Delete => Self::Delete,
        }
    }
}

impl TryFrom<Action> for state::Action {
    type Error = Malformed;

    fn try_from(stored: Action) -> Result<Self, Malformed> {
        let optional = |text: Option<String>| text.as_deref().map(parse).transpose();
        Ok(match stored {
            Action::Deploy { stage, version, made, after, aborted, dropped } => Self::Deploy {
                stage: parse(&stage)?,
                version: parse(&version)?,
                made: made.map(|build| (*build).try_into()).transpose()?,
                after: after.map(TryInto::try_into).transpose()?,
                aborted: optional(aborted)?,
                dropped: parse_all(&dropped)?,
            },
            Action::Traffic { stage, after } => {
                Self::Traffic { stage: parse(&stage)?, after: after.try_into()? }
            }
            Action::Promote { stage, version, after } => {
                Self::Promote { stage: parse(&stage)?, version: parse(&version)?, after: after.try_into()? }
            }
            Action::Abort { stage, version, after } => {
                Self::Abort { stage: parse(&stage)?, version: parse(&version)?, after: after.try_into()? }
            }
            Action::Rollback { stage, version, left, aborted, after } => Self::Rollback {
                stage: parse(&stage)?,
                version: parse(&version)?,
                left: optional(left)?,
                aborted: optional(aborted)?,
                after: after.try_into()?,
            },
            Action::Delete => Self::Delete,
        })
    }
}
