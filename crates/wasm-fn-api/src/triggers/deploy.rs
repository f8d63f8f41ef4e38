//! What triggers deploy, and how.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    GateOptions, RolloutOptions, StrategySpec, is_false,
    words::{ArtifactText, PushKindWord, RefPatternText, SecretNameText},
};

/// Which events of a code host deploy, and what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WebhookDeploySpec {
    /// Where the artifact is.
    #[schema(value_type = ArtifactText)]
    pub artifact: String,
    /// The events that deploy; `push` if there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<PushKindWord>)]
    pub on: Vec<String>,
    /// The branches whose pushes deploy, at most 16; the repository's default branch if there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<RefPatternText>)]
    pub branches: Vec<String>,
    /// The tags that deploy, also those of releases and the versions of packages, at most 16; all if there
    /// are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<RefPatternText>)]
    pub tags: Vec<String>,
    /// The secret of the stage by which the artifact can be had, `user:password` or a token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<SecretNameText>)]
    pub credentials: Option<String>,
}

/// A tag in a registry that is watched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WatchSpec {
    /// The tag, such as `oci://registry.example.com/app:prod`.
    #[schema(value_type = ArtifactText)]
    pub artifact: String,
    /// Time between two looks at it, 5,000 to 86,400,000 ms; 60,000 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every_ms: Option<u64>,
    /// The secret of the stage by which the artifact can be had, `user:password` or a token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<SecretNameText>)]
    pub credentials: Option<String>,
}

/// How what a trigger deploys is released to its stage.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TriggerReleaseSpec {
    /// How a version gets its traffic; all at once if absent.
    #[serde(default)]
    pub strategy: StrategySpec,
    /// How the rollout proceeds.
    #[serde(default)]
    pub rollout: RolloutOptions,
    /// The rule that the rollout must satisfy.
    #[serde(default)]
    pub gate: GateOptions,
    /// Abort a rollout that is under way, instead of waiting for its end.
    #[serde(default, skip_serializing_if = "is_false")]
    pub replace: bool,
    /// Accept that a version can do more than the one that is stable in the stage.
    #[serde(default, skip_serializing_if = "is_false")]
    pub allow_new: bool,
}

/// How what a trigger deploys is released, as clients see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TriggerReleaseView {
    /// How a version gets its traffic.
    pub strategy: StrategySpec,
    /// Whether a rollout that is under way is aborted for it.
    pub replace: bool,
    /// Whether a version may do more than the one that is stable in the stage.
    pub allow_new: bool,
}

/// What is known of a watched tag since the node started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WatchView {
    /// The digest that it had when it was last seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// When that was, Unix milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen_ms: Option<u64>,
    /// When it was looked at last, Unix milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub looked_ms: Option<u64>,
    /// Why the last look failed; absent if it did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failing: Option<String>,
}

/// What the events of a trigger that deploys led to since the node started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TriggerDeploymentsView {
    /// A deployment.
    pub deployed: u64,
    /// Nothing, since there was nothing to deploy.
    pub skipped: u64,
    /// Another attempt later.
    pub retried: u64,
    /// A dead letter.
    pub failed: u64,
}
