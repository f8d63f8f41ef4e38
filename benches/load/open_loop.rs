//! The client for latencies: an open loop. It sends by a schedule, whatever the answers do, and counts each
//! latency from the scheduled moment, so that a server that stands still is charged for every request that
//! it kept from being sent (coordinated omission: Gil Tene, "How NOT to Measure Latency", 2015).
//!
//! It runs as a process of its own on the client's core, and spins: a sleeping client would be late by its
//! own waking up, which takes as long as what it measures.

mod answer;
mod generator;

use std::{
    io::Write as _,
    net::SocketAddr,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use crate::{measurement::Disturbed, requests::Requests, systems::Served};

pub(crate) use answer::Answer;
pub(crate) use generator::drive;

/// Connections over which the requests are spread.
const CONNECTIONS: usize = 64;

/// The latest that the generator may be, at the 99th percentile: a latency is no better than the moment it
/// counts from.
const LATE_MAX: Duration = Duration::from_micros(100);

/// Share of its time that the generator may be busy; beyond it, it queues its own events.
const BUSY_MAX: f64 = 0.85;

/// What the generator shall do.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Job {
    address: SocketAddr,
    requests: Requests,
    /// Requests a second.
    rate: f64,
    seconds: u64,
    connections: usize,
}

/// What the generator saw.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Seen {
    latency: Latency,
    /// How late requests were sent, 99th percentile; those that the server had left no connection for count
    /// as in time.
    late_us: f64,
    /// Share of its time in which it had something to do.
    busy: f64,
}

/// Latencies under a fixed rate, all answers right.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Latency {
    /// Requests a second.
    pub(crate) rate: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) p999_us: f64,
}

/// Drives `served` at `rate` from `core`.
///
/// # Errors
///
/// Refuses when an answer was wrong, or when the generator was late or busy.
pub(crate) fn measure(served: &Served, rate: f64, seconds: u64, core: usize) -> Result<Latency> {
    let requests = served.requests.clone();
    let job = Job { address: served.address, requests, rate, seconds, connections: CONNECTIONS };
    let program = std::env::current_exe().context("this program has no file")?;
    let mut generator = Command::new("taskset")
        .args(["-c", &core.to_string()])
        .arg(program)
        .arg("drive")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("`taskset` cannot be started")?;
    let mut input = generator.stdin.take().context("the generator has no input")?;
    // It reads everything before it writes anything.
    input.write_all(&serde_json::to_vec(&job)?).context("the generator does not listen")?;
    drop(input);
    let done = generator.wait_with_output()?;
    if !done.status.success() {
        bail!("{}", String::from_utf8_lossy(&done.stderr).trim().trim_start_matches("error: "));
    }
    let seen: Seen = serde_json::from_slice(&done.stdout).context("the generator said something else")?;
    seen.trusted()
}

impl Seen {
    /// Its latencies, unless the generator itself was what took the time.
    fn trusted(self) -> Result<Latency> {
        let late_max_us = LATE_MAX.as_secs_f64() * 1e6;
        if self.late_us > late_max_us {
            return Err(Disturbed(format!(
                "the generator sent {:.0} µs late at the 99th percentile, expected at most {late_max_us:.0}: it \
                 could not keep up, or something else ran on its core",
                self.late_us,
            ))
            .into());
        }
        if self.busy > BUSY_MAX {
            return Err(Disturbed(format!(
                "the generator was busy for {:.0} % of its time, expected at most {:.0} %",
                self.busy * 100.0,
                BUSY_MAX * 100.0,
            ))
            .into());
        }
        Ok(self.latency)
    }
}

#[cfg(test)]
mod tests;
