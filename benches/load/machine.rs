//! The machine: which two cores are used, and what a reader must know of it.

use std::{fs, num::ParseIntError, process::Command, time::SystemTime};

use anyhow::{Context as _, Result, bail};
use serde::Serialize;

/// The cores of a run. What shares a core shares its time, so servers and clients have one each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cores {
    /// The core that servers run on.
    pub(crate) server: usize,
    /// The core that clients run on.
    pub(crate) client: usize,
}

impl Cores {
    /// The first two cores that this process may use.
    ///
    /// # Errors
    ///
    /// Refuses when there are fewer.
    pub(crate) fn allowed() -> Result<Self> {
        let status = fs::read_to_string("/proc/self/status").context("/proc/self/status cannot be read")?;
        let list = status
            .lines()
            .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))
            .context("/proc/self/status names no cores, expected Linux")?;
        Self::of(list.trim())
    }

    /// The first two of a list such as `0-2,5`, as in cpuset(7).
    fn of(list: &str) -> Result<Self> {
        let cores = cores(list).with_context(|| format!("`{list}` is no list of cores"))?;
        let [server, client, ..] = cores[..] else {
            bail!(
                "{} core found ({list}), expected at least 2: server and client on one core would measure \
                 each other",
                cores.len(),
            );
        };
        Ok(Self { server, client })
    }
}

fn cores(list: &str) -> Result<Vec<usize>, ParseIntError> {
    let mut cores: Vec<usize> = Vec::new();
    for part in list.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        cores.extend(first.parse::<usize>()?..=last.parse::<usize>()?);
    }
    Ok(cores)
}

/// What the figures were measured on.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Machine {
    /// The processor's name for itself.
    pub(crate) processor: String,
    /// Name and release of the kernel.
    pub(crate) kernel: String,
    /// Cores that this process may use.
    pub(crate) cores: usize,
    /// The day, UTC, as `2026-11-24`.
    pub(crate) date: String,
}

impl Machine {
    /// This one, today.
    pub(crate) fn here() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let processor = read("/proc/cpuinfo")
            .lines()
            .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
            .map_or_else(|| "unknown processor".to_owned(), |(_, name)| name.trim().to_owned());
        let kernel = format!("Linux {}", read("/proc/sys/kernel/osrelease").trim());
        let cores = std::thread::available_parallelism().map_or(1, Into::into);
        let mut date = humantime::format_rfc3339_seconds(today()).to_string();
        date.truncate("2026-11-24".len());
        Self { processor, kernel, cores, date }
    }
}

/// Refuses when a tool cannot be started, with the way to get it.
pub(crate) fn needs(tool: &str, remedy: &str) -> Result<()> {
    // Not its exit code: `wrk --version` answers with 1.
    match Command::new(tool).arg("--version").output() {
        Ok(_) => Ok(()),
        Err(error) => bail!("`{tool}` cannot be started: {error}; {remedy}"),
    }
}

#[expect(clippy::disallowed_methods, reason = "a bench is an edge: its results carry their day")]
fn today() -> SystemTime {
    SystemTime::now()
}

#[cfg(test)]
mod tests;
