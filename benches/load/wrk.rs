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
    /// Bytes of them, and of those that had not ended.
    pub(crate) bytes: u64,
    pub(crate) requests_per_second: f64,
}

/// Keeps `connections` to `served` busy with one request after another, from `core`.
///
/// # Errors
///
/// Refuses when a connection failed, an answer was late or not of status 2xx or 3xx, or the answers are not
/// as large as right ones: figures of wrong answers are worth nothing.
pub(crate) fn drive(served: &Served, connections: u32, duration: Duration, core: usize) -> Result<Load> {
    let mut command = Command::new("taskset");
    command
        .args(["-c", &core.to_string(), "wrk", "-t1"])
        .args([format!("-c{connections}"), format!("-d{}s", duration.as_secs()), "-s".to_owned()])
        .arg(&served.script)
        .arg(served.url());
    let done = command.output().context("`taskset` cannot be started")?;
    if !done.status.success() {
        bail!("`wrk` ended with {}: {}", done.status, String::from_utf8_lossy(&done.stderr).trim());
    }
    let load = read(&String::from_utf8_lossy(&done.stdout))?;
    load.check(served.answer_bytes, connections)?;
    Ok(load)
}

impl Load {
    /// Refuses unless the answers have `size` bytes each; up to `unfinished` more had begun.
    fn check(&self, size: u64, unfinished: u32) -> Result<()> {
        let whole = self.requests * size;
        let most = whole + u64::from(unfinished) * size;
        if !(whole..=most).contains(&self.bytes) {
            bail!(
                "wrong answers under load: {} answers of {} bytes, expected {size} bytes each",
                self.requests,
                self.bytes
            );
        }
        Ok(())
    }
}

/// Reads what `wrk` 4 prints.
fn read(text: &str) -> Result<Load> {
    // Both lines are absent when there is nothing to complain about.
    let complaint = |line: &&str| line.starts_with("Socket errors:") || line.starts_with("Non-2xx");
    if let Some(line) = text.lines().map(str::trim).find(complaint) {
        bail!("wrong answers under load: {line}");
    }
    let received = text.lines().find_map(|line| {
        let (requests, bytes) = line.strip_prefix("Received: ")?.split_once(" answers, ")?;
        Some((requests.parse().ok()?, bytes.strip_suffix(" bytes")?.parse().ok()?))
    });
    let rate =
        text.lines().find_map(|line| line.trim().strip_prefix("Requests/sec:")?.trim().parse::<f64>().ok());
    let (Some((requests, bytes)), Some(requests_per_second)) = (received, rate) else {
        bail!("`wrk` printed no count of requests: {text:?}");
    };
    if requests == 0 {
        bail!("`wrk` received no answer");
    }
    Ok(Load { requests, bytes, requests_per_second })
}

#[cfg(test)]
mod tests;
