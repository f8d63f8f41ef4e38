//! Uploads and deployments as JSON.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    ConfigSpec, GateOptions, Problem, ProposalView, RolloutOptions, RolloutView, SplitShare, StageConfigSpec,
    StrategySpec, is_false, live,
};
use crate::words::{
    DigestText, FunctionText, KindWord, RouteText, SettingWord, StageText, VersionText, WeightText,
};

/// The answer to an upload: the component is on the node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Uploaded {
    /// SHA-256 of the component, 64 lower-case hexadecimal digits.
    #[schema(value_type = DigestText)]
    pub component: String,
    /// Size of the component.
    pub bytes: u64,
}

/// Creates a version of a function and gives it traffic.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeployRequest {
    /// SHA-256 of a component that has been uploaded.
    #[schema(value_type = DigestText)]
    pub component: String,
    /// The configuration of the version. Every field has a default.
    #[serde(default)]
    pub config: ConfigSpec,
    /// The stage; `live` if absent.
    #[serde(default = "live")]
    #[schema(value_type = StageText)]
    pub stage: String,
    /// How the version is released.
    #[serde(flatten)]
    pub release: ReleaseRequest,
}

/// Takes the version that is stable in one stage to another. Its component and its configuration stay as they
/// are. What the target stage lays over that configuration applies there, not what the first stage does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PromoteStageRequest {
    /// The stage whose stable version is taken.
    #[schema(value_type = StageText)]
    pub from: String,
    /// How the version is released.
    #[serde(flatten)]
    pub release: ReleaseRequest,
}

/// How a version is released to a stage: what a deployment and a promotion to another stage have in common.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ReleaseRequest {
    /// How the version gets its traffic; all at once if absent.
    #[serde(default)]
    pub strategy: StrategySpec,
    /// How the rollout proceeds.
    #[serde(default)]
    pub rollout: RolloutOptions,
    /// The rule that the rollout must satisfy.
    #[serde(default)]
    pub gate: GateOptions,
    /// What the stage lays over the version's configuration. If absent, it is what the stage lays over the
    /// configuration of its stable version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage_config: Option<StageConfigSpec>,
    /// Why you release it; shown in the journal and, of a new version, in the list of versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// In a cluster, the share of the nodes that must have prepared the version before it gets traffic; all
    /// of them if absent. A node that has not yet sends its share of a rollout to the version before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<WeightText>)]
    pub prepared: Option<String>,
    /// Abort a rollout that is under way, instead of refusing the request.
    #[serde(default, skip_serializing_if = "is_false")]
    pub replace: bool,
    /// Accept that the version can do more than the one that is stable in the stage, instead of refusing the
    /// request.
    #[serde(default, skip_serializing_if = "is_false")]
    pub allow_new: bool,
    /// Refuse the request if the function has changed after this revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_revision: Option<u64>,
}

/// The result of a deployment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DeployResult {
    /// The function.
    #[schema(value_type = FunctionText)]
    pub function: String,
    /// The stage.
    #[schema(value_type = StageText)]
    pub stage: String,
    /// The version that has this component and configuration.
    #[schema(value_type = VersionText)]
    pub version: String,
    /// The kind of the component: `wasi:http 0.2`, `wasi:http 0.3` or `cgi`.
    #[schema(value_type = KindWord)]
    pub kind: String,
    /// Whether nothing changed, because the stage already has this version as requested.
    pub unchanged: bool,
    /// Whether the stage had no version before. Then this version went live at once, whatever the strategy.
    pub first: bool,
    /// Whether this version serves with slower code until its optimised code is there, which takes seconds.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub optimising: bool,
    /// The stage's shares, newest version first; empty if the stage has had no traffic yet.
    pub split: Vec<SplitShare>,
    /// The rollout that this deployment started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<RolloutView>,
    /// Routes of the stage.
    #[schema(value_type = Vec<RouteText>)]
    pub routes: Vec<String>,
    /// Settings in which this version differs from the stage's stable version: `routes`, `sticky`, `cohorts`.
    /// The stable version's settings apply until this version is stable.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<SettingWord>)]
    pub pending: Vec<String>,
    /// What this version can do beyond the version that was stable in the stage, or everything that it can do
    /// if there was none: `import wasi:http/outgoing-handler`, `egress https://api.example.com`, `env NAME`,
    /// `memory 64.0 MiB -> 128.0 MiB`, `cpu 1s -> 10s`, `egress_requests 10 -> 100`, `egress_bytes 1.0 MiB ->
    /// 256.0 MiB`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub growth: Vec<String>,
    /// The release, if it waits for approvals before it begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proposal: Option<ProposalView>,
    /// Whether others have to approve this version in the stage before it gets traffic there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub needs_approval: bool,
    /// The revision that includes the deployment.
    pub revision: u64,
}

/// One line of the answer to a deployment that the client follows (`accept: application/x-ndjson`).
///
/// The last line is `done` or `error`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "event", rename_all = "kebab-case")]
#[expect(clippy::large_enum_variant, reason = "one exists at a time, on its way to or from JSON")]
pub enum DeployEvent {
    /// Work is under way.
    Progress {
        /// `checking`, `compiling` or `loading`; later releases may add others.
        stage: String,
        /// How much is done.
        done: u64,
        /// How much there is to do; 0 if unknown.
        total: u64,
    },
    /// The deployment is committed and published.
    Done {
        /// The result of the deployment.
        result: DeployResult,
    },
    /// The deployment failed. Nothing changed.
    Error {
        /// Why.
        problem: Problem,
    },
}

#[cfg(test)]
mod tests;
