//! Traces of requests: who is whose parent (W3C Trace Context), which requests are sampled, and what is
//! recorded of one.

mod context;
mod record;
mod sampler;
mod state;

pub use context::{SpanId, TraceId, TraceParent};
pub use record::{
    FinishedRequest, FinishedRun, InvocationTrigger, OutgoingRequest, RequestHead, RequestRecord,
    RequestSink, RequestTrace, RunRecord, SpanDetail, SpanRecord, TraceOrigin,
};
pub use sampler::{Sampler, SamplerError};
pub use state::TraceState;

#[cfg(test)]
mod tests;
