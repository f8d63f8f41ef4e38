//! What every measurement keeps to: how much is measured, and when it may be tried again.

use std::fmt;

use anyhow::Result;

/// How often a measurement is tried in a round: what else runs on the machine may spoil one.
const TRIES: u32 = 5;

/// Share of the rate at saturation at which latencies are taken.
pub(crate) const LATENCY_LOAD: f64 = 0.5;

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Effort {
    /// How often each system is measured.
    pub(crate) rounds: u32,
    /// How long each measurement takes.
    pub(crate) seconds: u64,
    /// Connections that the client keeps busy.
    pub(crate) connections: u32,
}

/// A measurement that something spoiled which is not the system's: it may be tried again. A wrong answer
/// may not.
#[derive(Debug)]
pub(crate) struct Disturbed(pub(crate) String);

impl fmt::Display for Disturbed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl std::error::Error for Disturbed {}

/// The first of [`TRIES`] that was not disturbed, else the last.
pub(crate) fn undisturbed<T>(mut measure: impl FnMut() -> Result<T>) -> Result<T> {
    let mut found = measure();
    for _ in 1..TRIES {
        if !found.as_ref().is_err_and(anyhow::Error::is::<Disturbed>) {
            break;
        }
        found = measure();
    }
    found
}

#[cfg(test)]
mod tests;
