//! Counting a request exactly once, however it ends.

use std::{sync::Arc, time::Instant};

use wasm_fn_core::Outcome;
use wasm_fn_router::{Ended, Tally};

use crate::{
    Usage, clock,
    request_body::Fate,
    watch::{InFlight, ReaderWait},
};

/// Counts one request: when it is told how the request ended, or as cancelled when it is dropped
/// before that.
pub(crate) struct Tallying {
    tally: Arc<Tally>,
    started: Instant,
    fate: Option<Arc<Fate>>,
    // `None` once counted.
    in_flight: Option<InFlight>,
}

impl Tallying {
    /// Counts on `tally` a request whose head was complete at `started`.
    pub(crate) fn new(
        tally: Arc<Tally>,
        started: Instant,
        fate: Option<Arc<Fate>>,
        in_flight: InFlight,
    ) -> Self {
        Self { tally, started, fate, in_flight: Some(in_flight) }
    }

    /// Whether the request's body grew over its limit.
    pub(crate) fn body_is_too_large(&self) -> bool {
        self.fate.as_ref().is_some_and(|fate| fate.is_too_large())
    }

    /// Notes that a frame went to the connection; `None` once the request is counted.
    pub(crate) fn wait_for_reader(&self) -> Option<ReaderWait> {
        self.in_flight.as_ref().map(|in_flight| in_flight.watch().wait_for_reader())
    }

    /// Counts the request, unless it was counted.
    ///
    /// A client that broke off its own body makes every outcome a cancellation, so that clients
    /// cannot have a version blamed.
    pub(crate) fn finish(&mut self, outcome: Outcome, usage: Usage) {
        let Some(in_flight) = self.in_flight.take() else { return };
        let broken = self.fate.as_ref().is_some_and(|fate| fate.is_broken());
        let outcome = if broken { Outcome::Cancelled } else { outcome };
        let now = clock::now();
        let latency = now.saturating_duration_since(self.started);
        self.tally.record(Ended {
            outcome,
            latency,
            queue_wait: usage.queue_wait,
            memory_peak_bytes: usage.memory_peak_bytes,
        });
        tracing::debug!(%outcome, ?latency, "request ended");
        in_flight.end(now);
    }
}

/// What a request counts as that is dropped before its end: the client left, or the host panicked.
pub(crate) fn unfinished() -> Outcome {
    if std::thread::panicking() { Outcome::Internal } else { Outcome::Cancelled }
}

impl Drop for Tallying {
    fn drop(&mut self) {
        self.finish(unfinished(), Usage::default());
    }
}
