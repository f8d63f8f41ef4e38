//! The JSON of the admin API, shared by its server and its clients.
//!
//! These types are separate from the vocabulary of `wasm-fn-core`: names, versions, weights, routes and
//! digests travel as users write them (`"v42"`, `"10%"`), and `TryFrom` is the parser. Requests refuse
//! unknown fields; answers may gain fields. Times are in Unix milliseconds, sizes in bytes.

mod access;
mod approval;
mod audit;
mod backup;
mod bucket;
mod by_node;
mod cluster;
mod config;
mod deploy;
mod event;
mod logs;
mod openapi;
mod operation;
mod preview;
mod problem;
mod provenance;
mod rollout;
mod secret;
mod series;
mod status;
mod traces;
mod traffic;
mod triggers;
mod watch;
mod words;

pub use access::{
    CallerView, InvalidRights, LoginIssuer, LoginView, RightsSpec, TokenChange, TokenCreated, TokenList,
    TokenRequest, TokenRevoked, TokenView,
};
pub use approval::{ApprovalRequest, ApprovalResult};
pub use audit::{AuditEntry, AuditHead, AuditHeadQuery, AuditPage, AuditQuery, RefusalsView};
pub use backup::{BLOCK_BYTES, BackupManifest, BackupMember, END_BYTES, MemberHeader, NoHeader};
pub use bucket::{BucketKeyChanged, BucketKeyList, BucketKeyQuery, BucketKeysQuery, BucketValueView};
pub use by_node::{
    AT_LEAST_REVISION, AskedNode, NodeQuery, NodeRevisionView, PUBLISHED_REVISION, RevisionQuery,
    RevisionView,
};
pub use cluster::{BrokerServerView, ClusterNodeView, ClusterView, DrainRequest, NodeDrained};
pub use config::{
    BucketSpec, CohortRole, CohortSpec, ConfigSpec, ConsistencyWord, DurabilityWord, InvalidConfig,
    StageConfigSpec,
};
pub use deploy::{DeployEvent, DeployRequest, DeployResult, PromoteStageRequest, ReleaseRequest, Uploaded};
pub use event::{RolloutChange, RolloutEvent};
pub use logs::{LogEvent, LogLineView, LogRequestView, LogStreamView, LogsQuery};
pub use openapi::openapi;
pub use operation::{AccessRule, Method, Operation};
pub use preview::{PreviewAddress, PreviewKeyRotated, PreviewQuery, PreviewView};
pub use problem::Problem;
pub use provenance::ProvenanceView;
pub use rollout::{
    ApprovalView, CheckSpec, EndedRolloutView, EvidenceView, Expectation, FloorSpec, GateOptions, GateView,
    NodeEvidenceView, OnFailSpec, OnNoDataSpec, ProposalView, RolloutOptions, RolloutOutcomeView,
    RolloutView, SideView, SignalEvidenceView, StrategySpec, Tolerance, TrapEvidenceView, canary_steps,
    linear_every_ms, linear_share,
};
pub use secret::{
    SecretChanged, SecretDeleted, SecretList, SecretQuery, SecretText, SecretUse, SecretView, SecretsChanged,
    SecretsKeyRequest, SecretsKeyRotated, SecretsRequest,
};
pub use series::{
    FunctionMinutes, FunctionSeries, RolloutSeries, SeriesList, SeriesQuery, SideSeries, SignalSeries,
    VersionSeries,
};
pub use status::{
    ChangedValueView, FunctionList, FunctionStatus, FunctionSummary, FunctionsQuery, HistoryEntry,
    HistoryPage, HistoryQuery, NodeView, OperatedEventsView, StageStatus, StageSummary, TallyView,
    VersionInfo, VersionList, VersionOnNode, VersionPlace, VersionRole, VersionStatus, VersionVerdictView,
    VersionsQuery,
};
pub use traces::{TraceList, TraceSpanView, TraceView, TracesQuery};
pub use traffic::{
    AbortRequest, DeleteQuery, Deleted, HoldRequest, PromoteRequest, RollbackRequest, RolloutSeen,
    SplitShare, StageChanged, StageDeleted, TrafficRequest,
};
pub use triggers::{
    ASYNC, AllTriggers, BackfillRequest, CanaryRunsView, DeadLettersChanged, DeadLettersRequest,
    EventHeaderView, EventRequestView, EventStateView, EventStatus, EventView, EventsPage, EventsQuery,
    EventsState, InboxView, PauseView, QueueSpec, QueueView, RetrySpec, ScheduleSpec, SourceSpec,
    TriggerBackfilled, TriggerCommand, TriggerCountsView, TriggerDeploymentsView, TriggerList,
    TriggerReleaseSpec, TriggerReleaseView, TriggerRemoved, TriggerRequest, TriggerRun, TriggerVersionView,
    TriggerView, TriggersQuery, WatchSpec, WatchView, WebhookDeploySpec, WebhookSpec,
};
pub use watch::{EVENT_STREAM, FunctionChanges, FunctionEvent, StageTraffic, WatchQuery};

/// The stage if a request names none.
fn live() -> String {
    "live".to_owned()
}

/// Whether to leave a field out of the JSON because it is 0.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's `skip_serializing_if` passes a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Whether to leave a field out of the JSON because it is `false`.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's `skip_serializing_if` passes a reference")]
fn is_false(flag: &bool) -> bool {
    !*flag
}
