//! A gate as it is stored, and how it resumes.

use super::{
    Counts, Gate, Group,
    mixture::{EProcess, Run},
    traps::Traps,
};
use crate::Signal;

/// A gate as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct GateState {
    /// What the canary did.
    pub canary: Counts,
    /// What stable did, without the baseline.
    pub stable: Counts,
    /// What the baseline did.
    pub baseline: Counts,
    /// What the canary did for users who are on it by rule.
    pub cohort: Counts,
    /// Start number of the newest run.
    pub start: u32,
    /// The tests, in any order.
    pub checks: Vec<CheckState>,
    /// Fingerprints of the traps that stable has shown.
    pub known_traps: Vec<u64>,
    /// Whether stable showed more than are kept, so that no trap is novel any more.
    pub known_overflowed: bool,
}

/// A test as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckState {
    /// Whose requests.
    pub group: Group,
    /// Which signal.
    pub signal: Signal,
    /// Its evidence: [`EProcess::runs`].
    pub runs: Vec<Run>,
}

/// Why a stored gate cannot resume.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// The gate has a signal that the stored one did not have.
    #[error("no evidence is stored for signal {0}")]
    Missing(Signal),
    /// The evidence cannot be judged.
    #[error(
        "the stored evidence of signal {0} has no runs, too many, or some that are not finite or in order"
    )]
    Malformed(Signal),
}

impl Gate {
    /// Resumes from `state`, at the beginning of its step.
    ///
    /// Hits of novel traps, users and voices are not part of the state and are counted from zero. So the
    /// stored runs learn nothing more from users, but runs that begin now do. A state from a program without
    /// the median test has no evidence for it, so that test begins from nothing.
    ///
    /// # Errors
    /// Evidence of any other signal is missing, or some is malformed.
    pub fn resume(mut self, state: GateState) -> Result<Self, StateError> {
        for check in &mut self.checks {
            let this = |stored: &&CheckState| (stored.group, stored.signal) == (check.group, check.signal);
            // All tests of a gate start their runs together.
            let like = |signal| state.checks.iter().find(|stored| stored.signal == signal);
            let (stored, is_known) = match state.checks.iter().find(this) {
                None if check.signal == Signal::LatencyMedian => (like(Signal::Latency), false),
                stored => (stored, true),
            };
            let stored = stored.ok_or(StateError::Missing(check.signal))?;
            let process =
                EProcess::from_runs(stored.runs.clone()).ok_or(StateError::Malformed(check.signal))?;
            check.process = if is_known { process } else { process.forgetful() };
        }
        (self.canary, self.stable) = (state.canary, state.stable);
        (self.beside, self.cohort) = (state.baseline, state.cohort);
        let newest = self.checks.iter().filter_map(|check| check.process.runs().last()).map(|run| run.start);
        self.start = newest.max().unwrap_or(0).max(state.start);
        self.traps = Traps::knowing(state.known_traps, state.known_overflowed);
        self.step();
        Ok(self)
    }

    /// The state that [`resume`](Self::resume) takes.
    pub fn state(&self) -> GateState {
        let checks = self.checks.iter().map(|check| CheckState {
            group: check.group,
            signal: check.signal,
            runs: check.process.runs().to_vec(),
        });
        GateState {
            canary: self.canary,
            stable: self.stable,
            baseline: self.beside,
            cohort: self.cohort,
            start: self.start,
            checks: checks.collect(),
            known_traps: self.traps.known().collect(),
            known_overflowed: self.traps.known_overflowed(),
        }
    }
}
