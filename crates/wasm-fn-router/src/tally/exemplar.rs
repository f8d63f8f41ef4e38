//! Requests that stand for others of about the same latency, so that people can look at their traces.

use std::{
    sync::{Mutex, OnceLock, PoisonError},
    time::Duration,
};

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

/// The last traced request of each octave. They take memory only from the first one on, since most tallies
/// have none.
#[derive(Debug, Default)]
pub(super) struct Exemplars(OnceLock<Box<Mutex<[Option<LatencyExemplar>; OCTAVES]>>>);

impl Exemplars {
    pub(super) fn add(&self, exemplar: LatencyExemplar) {
        let octave = micros(exemplar.latency).max(1).ilog2() as usize;
        let mut octaves = self.0.get_or_init(Box::default).lock().unwrap_or_else(PoisonError::into_inner);
        octaves[octave.min(OCTAVES - 1)] = Some(exemplar);
    }

    pub(super) fn read(&self) -> Vec<LatencyExemplar> {
        let Some(octaves) = self.0.get() else { return Vec::new() };
        octaves.lock().unwrap_or_else(PoisonError::into_inner).iter().flatten().copied().collect()
    }
}
