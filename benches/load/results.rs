//! What a run found: all that reports, pages and charts are made of.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use serde::Serialize;

pub(crate) use crate::open_loop::Latency;
use crate::{budgets::Check, guests::Guest, machine::Machine, stats::Spread, systems, tls};

/// What one measurement of one system under saturation found.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Sample {
    pub(crate) requests_per_second: f64,
    pub(crate) cpu_us_per_request: f64,
    /// Peak resident set size of its processes so far.
    pub(crate) memory_max_bytes: u64,
}

/// A system with its measurements, one a round; or why it has no figure.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Row {
    pub(crate) system: String,
    pub(crate) guest: Guest,
    pub(crate) ours: bool,
    pub(crate) samples: Result<Vec<Sample>, String>,
    pub(crate) latencies: Result<Vec<Latency>, String>,
}

/// A whole run.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Results {
    pub(crate) machine: Machine,
    /// What was typed.
    pub(crate) command: String,
    /// What the programs say their versions are.
    pub(crate) versions: Vec<String>,
    pub(crate) rounds: u32,
    pub(crate) seconds: u64,
    pub(crate) connections: u32,
    pub(crate) rows: Vec<Row>,
    /// What TLS costs; absent when that was not chosen.
    pub(crate) tls: Option<tls::Rounds>,
    pub(crate) checks: Vec<Check>,
    /// What was not measured because something that this machine lacks is missing, and why.
    pub(crate) skipped: Vec<String>,
}

impl Row {
    /// Its name, as in a budget.
    pub(crate) fn name(&self) -> String {
        let mut text = String::new();
        let _infallible = systems::shown(&mut text, &self.system, self.guest);
        text
    }

    /// Server CPU per request, µs; absent when it has no figure.
    pub(crate) fn cost(&self) -> Option<Spread> {
        Spread::of(self.samples.as_ref().ok()?.iter().map(|sample| sample.cpu_us_per_request))
    }
}

impl Results {
    /// Whether every figure is there and every budget that could be checked held.
    pub(crate) fn good(&self) -> bool {
        self.rows.iter().all(|row| row.samples.is_ok() && row.latencies.is_ok())
            && self.tls.iter().all(Result::is_ok)
            && self.checks.iter().all(|check| check.held() == Some(true))
    }

    /// Writes everything as JSON.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let mut text = serde_json::to_string_pretty(self)?;
        text.push('\n');
        fs::write(path, text).with_context(|| format!("{} cannot be written", path.display()))
    }
}

#[cfg(test)]
pub(crate) mod tests;
