//! A deterministic simulation of a node: the real router, pool, rollouts and control plane, over guests, a
//! disk, clients and people that pretend. One thread, virtual time, everything from a seed. The same of
//! several nodes in a cluster, whose broker and network pretend.
//!
//! Invariants: the same seed gives the same trace, line by line. The model knows the journal and what
//! requests did, and never asks the control plane.

mod cluster;
mod dice;
mod guest;
mod host;
mod look;
mod model;
mod node;
mod people;
mod request;
mod scenario;
mod trace;
mod world;

use std::collections::BTreeMap;

use model::Verdicts;
use trace::Trace;
use world::World;

pub use cluster::{ClusterKind, run_cluster};

/// How often a gate may fail a canary that is no worse, over a whole rollout with its watch.
const ALPHA: f64 = 0.001;

/// What a seed came to.
#[derive(Debug)]
pub struct Run {
    /// What did not hold.
    pub fault: Option<String>,
    /// Hash of the trace.
    pub hash: u64,
    /// Lines of the trace.
    pub lines: u64,
    /// The trace, if it was asked for.
    pub trace: Vec<String>,
    /// What happened how often: actions of the journal, ways to place a request, faults of the machine.
    pub happened: BTreeMap<&'static str, u64>,
    /// Canaries as good as stable.
    pub healthy: u64,
    /// Those of them that a gate failed, in a step or in the watch.
    pub healthy_failed: u64,
    /// Broken canaries that a gate failed.
    pub broken_failed: u64,
    /// Most responses of one of them before it was aborted.
    pub broken_heard_max: u64,
    /// Longest time from the first of those to the abort, milliseconds of virtual time.
    pub broken_ms_max: u64,
}

/// Runs `seed`; keeps its trace if told to.
///
/// # Errors
/// The machine: no temporary folder, no runtime.
pub fn run(seed: u64, keep_trace: bool) -> std::io::Result<Run> {
    let world = World::new(seed, keep_trace);
    node::run(&world)?;
    let fault = world.found();
    let mut inner = world.lock();
    let verdicts = inner.model.verdicts;
    let trace = std::mem::take(&mut *inner.trace());
    let happened = std::mem::take(&mut inner.happened);
    Ok(Run::new(fault, trace, happened, verdicts))
}

impl Run {
    fn new(
        fault: Option<String>,
        trace: Trace,
        happened: BTreeMap<&'static str, u64>,
        verdicts: Verdicts,
    ) -> Self {
        Self {
            fault,
            hash: trace.hash(),
            lines: trace.lines(),
            trace: trace.into_kept(),
            happened,
            healthy: verdicts.healthy,
            healthy_failed: verdicts.healthy_failed,
            broken_failed: verdicts.broken_failed,
            broken_heard_max: verdicts.broken_heard_max,
            broken_ms_max: verdicts.broken_ms_max,
        }
    }
}

/// Whether alpha explains that the gates failed so many of so many healthy canaries: a chance of less than
/// one in 10,000 is a fault.
pub fn explains(failed: u64, healthy: u64) -> bool {
    let mean = ALPHA * healthy as f64;
    // The probability of as many or more, of a Poisson distribution.
    let mut term = (-mean).exp();
    let mut fewer = 0.0;
    for count in 0..failed {
        fewer += term;
        term *= mean / (count + 1) as f64;
    }
    1.0 - fewer >= 1e-4
}

#[cfg(test)]
mod tests;
