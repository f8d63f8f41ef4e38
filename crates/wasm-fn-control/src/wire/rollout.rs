//! Strategies and rollouts as JSON.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Share;

/// How a deployment gets its traffic: `{"name": "canary", "weight": "10%"}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "name", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Strategy {
    /// Everything to the new version at once.
    #[default]
    AllAtOnce,
    /// The version exists and is reachable by override, nothing else.
    NoTraffic,
    /// A share to the new version until somebody promotes or aborts.
    Canary {
        /// The share, `10%` when absent; more than 0 % and less than 100 %.
        #[serde(default = "tenth")]
        weight: String,
    },
    /// No share until somebody promotes, then everything.
    BlueGreen,
}

fn tenth() -> String {
    "10%".to_owned()
}

/// A rollout under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Rollout {
    /// The version that the stage falls back on.
    pub stable: String,
    /// The version that it moves to.
    pub canary: String,
    /// The canary's share now.
    pub weight: String,
    /// How it moves.
    pub strategy: Strategy,
    /// When it began, Unix milliseconds.
    pub started_ms: u64,
    /// The split before it began.
    pub from_split: Vec<Share>,
}
