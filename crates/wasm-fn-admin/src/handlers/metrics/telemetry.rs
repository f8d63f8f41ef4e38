//! The metric of telemetry: what became of what the node had to tell.

use std::{fmt, sync::Arc};

use prometheus_client::{encoding::DescriptorEncoder, metrics::MetricType};
use wasm_fn_core::FinishedRequest;

use super::labels::Label;

/// What became of the items of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TelemetryCount {
    /// The queue: `traces`, `logs` or `access_log`.
    pub queue: &'static str,
    /// `sent`, `dropped` before that, or `failed`.
    pub result: &'static str,
    /// How many of its items.
    pub count: u64,
}

/// A request whose trace is kept.
#[derive(Clone, Debug)]
pub struct TracedRequest {
    /// The request, with its spans.
    pub request: Arc<FinishedRequest>,
    /// When it began, Unix milliseconds.
    pub began_ms: u64,
}

/// Knows what became of the node's telemetry, and the traces that it keeps.
pub trait TelemetrySource: fmt::Debug + Send + Sync {
    /// The counts of the queues that are used.
    fn counts(&self) -> Vec<TelemetryCount>;

    /// The traces of requests that failed, the newest first, and then of the slowest ones; `None` if no
    /// request is traced.
    fn traces(&self) -> Option<Vec<TracedRequest>>;
}

pub(super) fn encode(counts: &[TelemetryCount], encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let mut items = encoder.encode_descriptor(
        "wasm_fn_telemetry_items",
        "Spans, log records and lines of the access log, by what became of them",
        None,
        MetricType::Counter,
    )?;
    for TelemetryCount { queue, result, count } in counts {
        let labels = [("queue", *queue), ("result", *result)];
        items.encode_family(&labels)?.encode_counter::<[Label<'_>; 0], _, u64>(count, None)?;
    }
    Ok(())
}
