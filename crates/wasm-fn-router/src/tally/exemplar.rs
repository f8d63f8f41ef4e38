//! Requests that stand for others of about the same latency, so that people can look at their traces.

use std::time::Duration;

use super::micros;

/// Octaves of microseconds: one for each power of two up to an hour.
const OCTAVES: usize = 32;

/// A traced request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LatencyExemplar {
    /// Its latency.
    pub latency: Duration,
    /// The 128 bits of its trace's id.
    pub trace_id: u128,
    /// When it ended, since the Unix epoch.
    pub at: Duration,
}

/// The last traced request of each octave. They take memory only from the first one on.
#[derive(Debug, Default)]
pub(super) struct Exemplars(Option<Box<[Option<LatencyExemplar>; OCTAVES]>>);

impl Exemplars {
    pub(super) fn add(&mut self, exemplar: LatencyExemplar) {
        let octave = micros(exemplar.latency).max(1).ilog2() as usize;
        self.0.get_or_insert_default()[octave.min(OCTAVES - 1)] = Some(exemplar);
    }

    pub(super) fn read(&self) -> Vec<LatencyExemplar> {
        self.0.iter().flat_map(|octaves| octaves.iter().flatten().copied()).collect()
    }
}
