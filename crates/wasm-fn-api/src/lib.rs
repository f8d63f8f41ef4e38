//! The JSON of the admin API, for its server and its clients.
//!
//! These types are apart from the vocabulary of `wasm-fn-core`: names, versions, weights, routes and
//! digests travel as the text users write (`"v42"`, `"10%"`), and `TryFrom` is the parser. Requests
//! refuse unknown fields; answers may gain fields. Times are Unix milliseconds, sizes are bytes.

mod config;
mod deploy;
mod event;
mod logs;
mod openapi;
mod operation;
mod preview;
mod problem;
mod rollout;
mod status;
mod traffic;

pub use config::{CohortRole, CohortSpec, ConfigSpec, InvalidConfig};
pub use deploy::{DeployEvent, DeployRequest, DeployResult, Uploaded};
pub use event::{RolloutChange, RolloutEvent};
pub use logs::{LogEvent, LogLineView, LogStreamView, LogsQuery};
pub use openapi::openapi;
pub use operation::{AccessRule, Method, Operation};
pub use preview::{PreviewAddress, PreviewKeyRotated, PreviewQuery, PreviewView};
pub use problem::Problem;
pub use rollout::{
    CheckSpec, EndedRolloutView, EvidenceView, Expectation, FloorSpec, GateOptions, GateView, OnFailSpec,
    OnNoDataSpec, RolloutOptions, RolloutOutcomeView, RolloutView, SideView, SignalEvidenceView,
    StrategySpec, Tolerance, TrapEvidenceView, canary_steps, linear_every_ms, linear_share,
};
pub use status::{
    FunctionList, FunctionStatus, FunctionSummary, HistoryEntry, HistoryPage, HistoryQuery, NodeView,
    StageStatus, StageSummary, TallyView, VersionInfo, VersionList, VersionPlace, VersionRole, VersionStatus,
    VersionVerdictView,
};
pub use traffic::{
    AbortRequest, DeleteQuery, Deleted, HoldRequest, PromoteRequest, RollbackRequest, RolloutSeen,
    SplitShare, StageChanged, TrafficRequest,
};

/// The stage that is meant when a request names none.
fn live() -> String {
    "live".to_owned()
}

/// Whether a field is left out of the JSON because it says `false`.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's `skip_serializing_if` passes a reference")]
fn is_false(flag: &bool) -> bool {
    !*flag
}
