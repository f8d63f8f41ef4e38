//! The client for saturation: `wrk`, alone on its core, one thread. It sends as fast as it is answered, so
//! the latencies that it sees mean nothing and are not read.

use std::{process::Command, time::Duration};

use anyhow::{Context as _, Result, bail};

use crate::systems::Served;

/// What `wrk` saw.
#[derive(Debug, PartialEq)]
pub(crate) struct Load {
    /// Answers it received, at least one.
    pub(crate) requests: u64,
    pub(crate) requests_per_second: f64,
}

/// Keeps `connections` to `served` busy with one request after another, from `core`.
///
/// # Errors
///
/// Refuses when a connection failed or an answer was late or not of status 2xx or 3xx: figures of wrong
/// answers are worth nothing.
pub(crate) fn drive(served: &Served, connections: u32, duration: Duration, core: usize) -> Result<Load> {
    let mut command = Command::new("taskset");
    command
        .args(["-c", &core.to_string(), "wrk", "-t1"])
        .args([format!("-c{connections}"), format!("-d{}s", duration.as_secs())]);
    if let Some(script) = &served.script {
        command.arg("-s").arg(script);
    }
    // A script names its own paths.
    let path = &served.requests.all[0].path;
    let done = command
        .arg(format!("http://{}{path}", served.address))
        .output()
        .context("`taskset` cannot be started")?;
    if !done.status.success() {
        bail!("`wrk` ended with {}: {}", done.status, String::from_utf8_lossy(&done.stderr).trim());
    }
    read(&String::from_utf8_lossy(&done.stdout))
}

/// Reads what `wrk` 4 prints.
fn read(text: &str) -> Result<Load> {
    // Both lines are absent when there is nothing to complain about.
    let complaint = |line: &&str| line.starts_with("Socket errors:") || line.starts_with("Non-2xx");
    if let Some(line) = text.lines().map(str::trim).find(complaint) {
        bail!("wrong answers under load: {line}");
    }
    let requests = text.lines().find_map(|line| line.split_once(" requests in ")?.0.trim().parse().ok());
    let rate =
        text.lines().find_map(|line| line.trim().strip_prefix("Requests/sec:")?.trim().parse::<f64>().ok());
    let (Some(requests), Some(requests_per_second)) = (requests, rate) else {
        bail!("`wrk` printed no count of requests: {text:?}");
    };
    if requests == 0 {
        bail!("`wrk` received no answer");
    }
    Ok(Load { requests, requests_per_second })
}

#[cfg(test)]
mod tests;
