//! The metrics of isolation: how memories are reset, and what audits of that have found.

use std::fmt;

use prometheus_client::{encoding::DescriptorEncoder, metrics::MetricType};

use super::labels::Label;

/// How guests' memories are reset, and what audits of that have found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IsolationCounts {
    /// `discard`, `scan` or `counted`.
    pub reset: String,
    /// Resets whose memory was compared with its image.
    pub compared: u64,
    /// Resets that trusted the count of faults, and whose memory was scanned.
    pub scanned: u64,
    /// Memories that were not clean.
    pub faults: u64,
}

/// Knows how guests are held apart.
pub trait IsolationSource: fmt::Debug + Send + Sync {
    /// What was found so far.
    fn counts(&self) -> IsolationCounts;
}

pub(super) fn encode(counts: &IsolationCounts, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    encoder
        .encode_descriptor(
            "wasm_fn_isolation_faults",
            "Memories of guests that were not clean after their reset; expected 0",
            None,
            MetricType::Counter,
        )?
        .encode_counter::<[Label<'_>; 0], _, u64>(&counts.faults, None)?;
    let mut audits = encoder.encode_descriptor(
        "wasm_fn_isolation_audits",
        "Resets of memories that were audited, by how",
        None,
        MetricType::Counter,
    )?;
    for (how, count) in [("compared", counts.compared), ("scanned", counts.scanned)] {
        audits.encode_family(&[("how", how)])?.encode_counter::<[Label<'_>; 0], _, u64>(&count, None)?;
    }
    encoder
        .encode_descriptor(
            "wasm_fn_memory_reset_info",
            "How memories of guests are reset, always 1",
            None,
            MetricType::Gauge,
        )?
        .encode_family(&[("how", counts.reset.as_str())])?
        .encode_gauge(&1_u32)
}
