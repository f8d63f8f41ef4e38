//! Uploads and deployments as JSON.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    ConfigSpec, GateOptions, Problem, RolloutOptions, RolloutView, SplitShare, StrategySpec, is_false, live,
};

/// A component is on the node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Uploaded {
    /// SHA-256 of its bytes, 64 lower-case hexadecimal digits.
    pub component: String,
    /// Its size.
    pub bytes: u64,
}

/// Makes a version of a function and gives it traffic.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeployRequest {
    /// SHA-256 of a component that was uploaded before.
    pub component: String,
    /// What the function is configured with; everything has a default.
    #[serde(default)]
    pub config: ConfigSpec,
    /// The stage, `live` when absent.
    #[serde(default = "live")]
    pub stage: String,
    /// How it gets its traffic; all at once when absent.
    #[serde(default)]
    pub strategy: StrategySpec,
    /// How the rollout moves.
    #[serde(default)]
    pub rollout: RolloutOptions,
    /// The rule that it must satisfy.
    #[serde(default)]
    pub gate: GateOptions,
    /// Why, for the journal and for the list of versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Abort a rollout that is under way instead of refusing.
    #[serde(default, skip_serializing_if = "is_false")]
    pub replace: bool,
    /// Refuse when the node has another revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_revision: Option<u64>,
}

/// What a deployment did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DeployResult {
    /// The function.
    pub function: String,
    /// The stage.
    pub stage: String,
    /// The version that has this component and configuration.
    pub version: String,
    /// What the component is: `wasi:http 0.2`, `wasi:http 0.3` or `cgi`.
    pub kind: String,
    /// Nothing was changed: the stage has this version already, as asked.
    pub unchanged: bool,
    /// The stage had no version before: this one went live at once, whatever the strategy.
    pub first: bool,
    /// The stage's shares, newest version first; empty when it has had no traffic yet.
    pub split: Vec<SplitShare>,
    /// The rollout that this started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<RolloutView>,
    /// Where the stage is reachable.
    pub routes: Vec<String>,
    /// Settings of this version that are other than those of the stage's stable version, which apply until
    /// this one is stable: `routes`, `sticky`, `cohorts`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pending: Vec<String>,
    /// The revision with it.
    pub revision: u64,
}

/// One line of a deployment that is followed (`accept: application/x-ndjson`).
///
/// The last line is `done` or `error`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "event", rename_all = "kebab-case")]
#[expect(clippy::large_enum_variant, reason = "one exists at a time, on its way to or from JSON")]
pub enum DeployEvent {
    /// Work under way.
    Progress {
        /// `checking`, `compiling`, `loading`; others may come.
        stage: String,
        /// Done so far.
        done: u64,
        /// Of so many; 0 when unknown.
        total: u64,
    },
    /// The deployment is committed and published.
    Done {
        /// What it did.
        result: DeployResult,
    },
    /// Nothing was changed.
    Error {
        /// Why.
        problem: Problem,
    },
}
