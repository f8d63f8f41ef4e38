//! The vocabulary of wasm-fn: functions, versions, weights, splits, limits and so on.
//!
//! Everything here is a value. A value proves that it is well formed, so code that receives one never checks
//! it again.
//!
//! Invariants: no clock, no randomness, no environment, no input or output, no wire format. A word belongs
//! here only if three crates use it.

mod address;
mod bytes;
mod digest;
mod function;
mod invocation;
mod name;
mod revision;
mod trace;
mod traffic;
mod version;

pub use address::{
    HostLabelError, Network, NetworkError, PreviewAccess, PreviewAccessError, PreviewDomain,
    PreviewDomainError, Route, RouteError, normal_path,
};
pub use bytes::format_bytes;
pub use digest::{Digest, DigestError};
pub use function::{
    BucketConfig, ConfigError, Consistency, Durability, EgressError, EgressLimits, EgressRule,
    FunctionConfig, Limits, Scheme, SecretName, SecretNameError, StageConfig, defaults,
};
pub use invocation::{Blame, Outcome, Trap, Usage};
pub use name::{
    BucketName, ClusterName, CohortName, FunctionName, NameError, NodeName, StageName, TokenName, TriggerName,
};
pub use revision::Revision;
pub use trace::{
    FinishedRequest, FinishedRun, InvocationTrigger, OutgoingRequest, RequestHead, RequestRecord,
    RequestSink, RequestTrace, RunRecord, Sampler, SamplerError, SpanDetail, SpanId, SpanRecord, TraceId,
    TraceOrigin, TraceParent, TraceState,
};
pub use traffic::{
    CohortError, CohortRule, Condition, ORDER_HEADER_BYTES_MAX, OrderedBy, OrderedByError, Point, Role, Side,
    Source, SplitError, Sticky, StickyError, TrafficSplit, Weight, WeightError, percent,
};
pub use version::{VersionNo, VersionNoError, VersionRef, VersionRefError};
