//! What every measurement keeps to: how much is measured, and when it may be tried again.

use std::{fmt, time::Duration};

use anyhow::Result;

/// How often a measurement is tried in a round: what else runs on the machine may spoil one.
const TRIES: u32 = 5;

/// Share of the rate at saturation at which latencies are taken.
pub(crate) const LATENCY_LOAD: f64 = 0.5;

/// Share of its core below which a server was waiting: for the client, or for somebody else on the core.
const BUSY_MIN: f64 = 0.85;

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

/// Refuses unless servers that used `cpu` in `elapsed` had core `core` to themselves and always something to
/// do.
pub(crate) fn saturated(cpu: Duration, elapsed: Duration, core: usize) -> Result<()> {
    let busy = cpu.as_secs_f64() / elapsed.as_secs_f64();
    if busy < BUSY_MIN {
        return Err(Disturbed(format!(
            "the server used {:.0} % of its core, expected at least {:.0} %: the client was the bottleneck, or \
             something else ran on core {core}",
            busy * 100.0,
            BUSY_MIN * 100.0,
        ))
        .into());
    }
    Ok(())
}

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
