//! Why a change is refused.

use std::fmt;

use wasm_fn_core::{
    ConfigError, FunctionName, SecretName, SplitError, StageName, TokenName, TriggerName, VersionNo,
    VersionRef,
};
use wasm_fn_events::TriggerId;
use wasm_fn_rollout::CommandError;
use wasm_fn_router::RouteClash;

use super::{Growth, NoApproval, NoCohort};

/// A change that the state does not allow. Nothing is changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// No function has this name.
    #[error("there is no function `{0}`")]
    NoSuchFunction(FunctionName),
    /// The function has no traffic in the stage.
    #[error("`{function}` has no traffic in stage `{stage}`")]
    NoSuchStage {
        /// The function.
        function: FunctionName,
        /// The stage.
        stage: StageName,
    },
    /// The version does not exist, or no version has the role in the stage.
    #[error("stage `{stage}` of `{function}` has no version {asked}")]
    NoSuchVersion {
        /// The function.
        function: FunctionName,
        /// The stage.
        stage: StageName,
        /// The version or role asked for.
        asked: VersionRef,
    },
    /// The shares do not make a split.
    #[error(transparent)]
    Split(#[from] SplitError),
    /// There is no rollout to promote or abort.
    #[error("stage `{stage}` of `{function}` has no rollout under way")]
    NoRollout {
        /// The function.
        function: FunctionName,
        /// The stage.
        stage: StageName,
    },
    /// The rollout is not in a phase that the command fits.
    #[error("stage `{stage}` of `{function}`: {error}")]
    Command {
        /// The function.
        function: FunctionName,
        /// The stage.
        stage: StageName,
        /// What was found and what was expected.
        error: CommandError,
    },
    /// The rollout is no longer as it was seen.
    #[error("stage `{stage}` of `{function}` has {found}, expected {expected}")]
    Moved {
        /// The function.
        function: FunctionName,
        /// The stage.
        stage: StageName,
        /// Where it is now.
        found: String,
        /// Where it was seen.
        expected: String,
    },
    /// The version already has all traffic.
    #[error(
        "{version} of `{function}` has this component and configuration and is already stable in stage `{stage}`, expected another build"
    )]
    AlreadyStable {
        /// The function.
        function: FunctionName,
        /// The stage.
        stage: StageName,
        /// The version.
        version: VersionNo,
    },
    /// A rollout is under way.
    #[error("stage `{stage}` of `{function}` is rolling out from {stable} to {canary}, expected {expected}")]
    RolloutInProgress {
        /// The function.
        function: FunctionName,
        /// The stage.
        stage: StageName,
        /// Its stable version.
        stable: VersionNo,
        /// Its canary.
        canary: VersionNo,
        /// What would be possible.
        expected: &'static str,
    },
    /// A step names a cohort that it cannot use.
    #[error(transparent)]
    Cohort(#[from] Box<NoCohort>),
    /// The new version could do more than the stable one, and nobody has accepted that.
    #[error(transparent)]
    Grows(#[from] Box<Grows>),
    /// Something is wrong with the secrets of the stage.
    #[error(transparent)]
    Secrets(#[from] Box<SecretsProblem>),
    /// What the stage lays over the configuration of the version does not fit it.
    #[error("stage `{stage}` of `{function}`: {error}")]
    StageConfig {
        /// The function.
        function: FunctionName,
        /// The stage.
        stage: StageName,
        /// What was found and what was expected.
        error: ConfigError,
    },
    /// The version was never deployed to a stage that lays something over the configurations of its versions.
    #[error(transparent)]
    NotDeployedThere(#[from] Box<NotDeployedThere>),
    /// No version was stable before.
    #[error("stage `{stage}` of `{function}` has no version earlier than {stable}")]
    NoPreviousVersion {
        /// The function.
        function: FunctionName,
        /// The stage.
        stage: StageName,
        /// Its stable version.
        stable: VersionNo,
    },
    /// Another function or stage claims the route.
    #[error(transparent)]
    Clash(#[from] RouteClash),
    /// The function would have more stages than allowed.
    #[error("`{function}` has {found} stages, expected at most {found} (`{stage}` would be one more)")]
    TooManyStages {
        /// The function.
        function: FunctionName,
        /// The stage asked for.
        stage: StageName,
        /// How many stages there are.
        found: usize,
    },
    /// There is no such trigger.
    #[error("`{}` has no trigger `{}` in stage `{}`", .0.function, .0.name, .0.stage)]
    NoSuchTrigger(TriggerId),
    /// There is one.
    #[error("`{}` already has a trigger `{}` in stage `{}`, expected another name", .0.function, .0.name, .0.stage)]
    TriggerExists(TriggerId),
    /// There are too many triggers.
    #[error("the {of} has {found} triggers, expected fewer than {max} to make another")]
    TooManyTriggers {
        /// What has them.
        of: &'static str,
        /// How many it has.
        found: usize,
        /// How many it may have.
        max: usize,
    },
    /// The live stage goes only with its function.
    #[error("stage `live` of `{0}` cannot be deleted alone, expected another stage")]
    LiveStage(FunctionName),
    /// Only those who may move traffic release to the stage.
    #[error(
        "stage `{stage}` is protected: the token may deploy `{function}` there without traffic only, expected one that \
         may move traffic"
    )]
    Protected {
        /// The function.
        function: FunctionName,
        /// The stage.
        stage: StageName,
    },
    /// An approval does not count.
    #[error("stage `{stage}` of `{function}`: {why}")]
    Approval {
        /// The function.
        function: FunctionName,
        /// The stage.
        stage: StageName,
        /// Why it does not count.
        why: NoApproval,
    },
    /// The version had no traffic in the stage that others have approved.
    #[error(
        "{version} of `{function}` is not approved for stage `{stage}`, expected a version that is or was stable there"
    )]
    NeedsApproval {
        /// The function.
        function: FunctionName,
        /// The stage.
        stage: StageName,
        /// The version.
        version: VersionNo,
    },
    /// No token has this name.
    #[error("there is no token `{0}`")]
    NoSuchToken(TokenName),
    /// The token is the one in the data directory.
    #[error("the token `{0}` is that of the node's data directory, which cannot be revoked")]
    TokenOfNode(TokenName),
    /// A token has this name.
    #[error("there is already a token `{0}`, expected another name")]
    TokenExists(TokenName),
    /// The name stands for the node itself.
    #[error("the name `{0}` belongs to the node, expected another name")]
    ReservedName(TokenName),
    /// The token would be expired when it is created.
    #[error("the token would expire at once, expected a time to live of at least 1 s")]
    Expired,
    /// There would be too many tokens.
    #[error("there are {found} tokens, expected at most {found}: revoke some that are not used")]
    TooManyTokens {
        /// How many there are.
        found: usize,
    },
    /// Every version number has been used.
    #[error("`{0}` has used up its version numbers")]
    VersionsUsedUp(FunctionName),
}

/// A deployment that could do more than the version that is stable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "this version of `{function}` could do more than {stable}, which is stable in stage `{stage}`, expected that \
     to be accepted: {growth}"
)]
pub struct Grows {
    /// The function.
    pub function: FunctionName,
    /// The stage.
    pub stage: StageName,
    /// Its stable version.
    pub stable: VersionNo,
    /// What the new version could do beyond it.
    pub growth: Growth,
}

/// A version that was not deployed to a stage with routes or environment variables of its own.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{version} of `{function}` was never deployed to stage `{stage}`, where {stable} has routes or environment \
     variables of the stage, expected a version that was deployed there"
)]
pub struct NotDeployedThere {
    /// The function.
    pub function: FunctionName,
    /// The stage.
    pub stage: StageName,
    /// The version.
    pub version: VersionNo,
    /// The stable version of the stage.
    pub stable: VersionNo,
}

/// What is wrong with the secrets of a stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretsProblem {
    /// The function.
    pub function: FunctionName,
    /// The stage.
    pub stage: StageName,
    /// What it is.
    pub problem: SecretsProblemKind,
}

/// A kind of [`SecretsProblem`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretsProblemKind {
    /// A deployment names secrets without a value.
    NotSet {
        /// The secrets.
        names: Vec<SecretName>,
    },
    /// A version has no value of secrets that it names, because it was not deployed to the stage, or because
    /// they were deleted.
    Missing {
        /// The version.
        version: VersionNo,
        /// The secrets.
        names: Vec<SecretName>,
    },
    /// No secret has this name.
    NoSuch {
        /// The name.
        name: SecretName,
    },
    /// Versions in use have the secret.
    InUse {
        /// The secret.
        name: SecretName,
        /// The versions.
        users: Vec<VersionNo>,
    },
    /// A webhook is verified with the secret.
    OfWebhook {
        /// The secret.
        name: SecretName,
        /// The webhook.
        trigger: TriggerName,
    },
    /// A queue's broker is shown the secret.
    OfQueue {
        /// The secret.
        name: SecretName,
        /// The queue.
        trigger: TriggerName,
    },
    /// A trigger gets what it deploys with the secret.
    OfDeployments {
        /// The secret.
        name: SecretName,
        /// The trigger.
        trigger: TriggerName,
    },
    /// The function would have secrets in more stages than allowed.
    Stages {
        /// How many stages have secrets.
        found: usize,
    },
    /// The stage would have more secrets than allowed.
    Secrets {
        /// How many there would be.
        found: usize,
        /// How many there may be.
        max: usize,
    },
    /// The function would have more bytes of secrets than allowed.
    Bytes {
        /// How many there would be, sealed.
        found: usize,
    },
    /// There is no further revision.
    RevisionsUsedUp {
        /// The secret.
        name: SecretName,
    },
}

impl std::error::Error for SecretsProblem {}

impl fmt::Display for SecretsProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use SecretsProblemKind as K;
        let Self { function, stage, problem } = self;
        let place = format_args!("stage `{stage}` of `{function}`");
        match problem {
            K::NotSet { names } => {
                let (names, is, it) = several(names);
                write!(f, "{names} {is} not set in {place}, expected {it} to be set before the deployment")
            }
            K::Missing { version, names } => {
                let (names, ..) = several(names);
                write!(
                    f,
                    "{version} has no value of {names} in {place}, expected a version that was deployed there \
                     with its secrets, and whose secrets are still there"
                )
            }
            K::NoSuch { name } => write!(f, "{place} has no secret {name}"),
            K::InUse { name, users } => {
                let users = users.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
                write!(
                    f,
                    "secret {name} of {place} is used by {users}, expected no version with traffic, or that a \
                     rollback goes to"
                )
            }
            K::OfWebhook { name, trigger } => {
                write!(
                    f,
                    "secret {name} of {place} verifies the webhook `{trigger}`, expected no webhook with it"
                )
            }
            K::OfQueue { name, trigger } => {
                write!(
                    f,
                    "secret {name} of {place} is for the broker of the queue `{trigger}`, expected no queue with it"
                )
            }
            K::OfDeployments { name, trigger } => {
                write!(
                    f,
                    "with secret {name} of {place} the trigger `{trigger}` gets what it deploys, expected no \
                     trigger with it"
                )
            }
            K::Stages { found } => {
                write!(f, "`{function}` has secrets in {found} stages, expected at most {found}")
            }
            K::Secrets { found, max } => {
                write!(f, "{place} would have {found} secrets, expected at most {max}")
            }
            K::Bytes { found } => write!(
                f,
                "the secrets of `{function}` would have {found} bytes, sealed and with the values that earlier \
                 versions have, expected at most 4 MiB"
            ),
            K::RevisionsUsedUp { name } => write!(f, "secret {name} of {place} has used up its revisions"),
        }
    }
}

/// `secret A`, `is` and `it`, or `secrets A, B`, `are` and `them`.
fn several(names: &[SecretName]) -> (String, &'static str, &'static str) {
    let list = names.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    if names.len() == 1 {
        (format!("secret {list}"), "is", "it")
    } else {
        (format!("secrets {list}"), "are", "them")
    }
}
