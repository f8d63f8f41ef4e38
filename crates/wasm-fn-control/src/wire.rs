//! The JSON of the admin API, for its server and its clients.
//!
//! These types are apart from the vocabulary of `wasm-fn-core`: names, versions, weights, routes and
//! digests travel as the text users write (`"v42"`, `"10%"`), and `TryFrom` is the parser. Requests
//! refuse unknown fields; answers may gain fields. Times are Unix milliseconds, sizes are bytes.

mod config;
mod deploy;
mod event;
mod logs;
mod preview;
mod problem;
mod rollout;
mod status;
mod traffic;

pub use config::{Cohort, CohortRole, Config, InvalidConfig};
pub use deploy::{DeployEvent, DeployRequest, DeployResult, Uploaded};
pub use event::{RolloutChange, RolloutEvent};
pub use logs::{LogEvent, LogLine, LogStream, LogsQuery};
pub use preview::{Preview, PreviewAddress, PreviewKeyRotated, PreviewQuery};
pub use problem::Problem;
pub use rollout::{
    Check, EndedRollout, Evidence, Expectation, Floor, GateOptions, GateStatus, OnFail, OnNoData, Rollout,
    RolloutOptions, RolloutOutcome, SideNumbers, SignalEvidence, Strategy, Tolerance, TrapEvidence,
    canary_steps,
};
pub use status::{
    FunctionList, FunctionStatus, FunctionSummary, History, HistoryEntry, HistoryQuery, Node, Role,
    StageStatus, StageSummary, Tally, Verdict, VersionInfo, VersionList, VersionPlace, VersionStatus,
};
pub use traffic::{
    AbortRequest, DeleteQuery, Deleted, HoldRequest, PromoteRequest, RollbackRequest, RolloutSeen, Share,
    StageChanged, TrafficRequest,
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
