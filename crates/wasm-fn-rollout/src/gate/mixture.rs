//! The e-process: evidence against "the canary is not worse", valid whenever it is looked at.
//!
//! Each trial hits with a probability of at most `odds / (1 + odds)` when the canary is not worse. An
//! alternative multiplies those odds by a fixed ratio; its likelihood ratio against the null is a
//! non-negative supermartingale that starts at 1, and so is a mixture of such. By Ville's inequality it
//! ever reaches `1 / alpha` with a probability of at most alpha. The ratio is what stays the same when the
//! canary's share changes, so trials of different odds go into one product. Lindon, Sanden, Shirikian,
//! "Rapid Regression Detection in Software Deployments through Sequential Testing", arXiv 2205.14762; a
//! grid replaces their conjugate mixture, which has no closed form under odds that change.

/// Ratios of the alternatives, over what is tolerated.
///
/// From slightly worse to almost broken. Finding a smaller difference than the first would take longer than a
/// rollout.
pub const RATIOS: [f64; 5] = [1.4, 2.5, 6.0, 18.0, 100.0];

/// Prior weights of the ratios; they add up to 1. Large ratios weigh most, because they should be found
/// first.
const PRIOR: [f64; 5] = [0.08, 0.10, 0.17, 0.35, 0.30];

/// Share of alpha for the first run; the later ones share the rest.
const FIRST: f64 = 0.8;

/// Maximum number of runs of one process at a time: the first and the newest.
pub const RUNS_MAX: usize = 8;

/// Minimum number of hits for a run to fail: two can be a coincidence at any odds.
pub(crate) const HITS_MIN: u64 = 3;

/// Evidence since one moment, by alternative.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// Start number, from 0.
    pub start: u32,
    /// Hits that it has taken.
    pub hits: u64,
    /// Log likelihood ratios.
    pub logs: [f64; RATIOS.len()],
}

/// A mixture over the alternatives' ratios, begun anew again and again.
///
/// Without the later runs, a canary that works for a million requests and then breaks would first have to
/// make up for the evidence in its favour. Each run spends its own part of one alpha, so each run needs to be
/// valid only by itself. That matters under sticky routing, where the same users take part in all runs.
#[derive(Clone, Debug, PartialEq)]
pub struct EProcess {
    // Invariant: 1 to RUNS_MAX runs of finite log likelihood ratios, by growing start.
    runs: Vec<Run>,
}

impl Run {
    fn at(start: u32) -> Self {
        Self { start, hits: 0, logs: [0.0; RATIOS.len()] }
    }

    /// Natural logarithm of the e-value, minus the cost of the run's part of alpha.
    fn log_e(&self) -> f64 {
        let terms = self.logs.iter().zip(PRIOR).map(|(log, prior)| log + prior.ln());
        let most = terms.clone().fold(f64::NEG_INFINITY, f64::max);
        most + terms.map(|term| (term - most).exp()).sum::<f64>().ln() + start_weight(self.start).ln()
    }
}

impl Default for EProcess {
    fn default() -> Self {
        Self { runs: vec![Run::at(0)] }
    }
}

impl EProcess {
    /// The process with these runs; `None` when there are none, too many, or some that are not finite or not
    /// in order.
    pub fn from_runs(runs: Vec<Run>) -> Option<Self> {
        let sound = (1..=RUNS_MAX).contains(&runs.len())
            && runs.iter().flat_map(|run| run.logs).all(f64::is_finite)
            && runs.windows(2).all(|pair| pair[0].start < pair[1].start);
        sound.then_some(Self { runs })
    }

    /// A process with the same starts and no evidence.
    pub(crate) fn forgetful(&self) -> Self {
        Self { runs: self.runs.iter().map(|run| Run::at(run.start)).collect() }
    }

    /// The runs that [`from_runs`](Self::from_runs) takes.
    pub fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// Begins another run without evidence, as start number `start`. At the maximum, the oldest run but the
    /// first ends: stopping a run is always valid.
    pub fn restart(&mut self, start: u32) {
        if self.runs.last().is_some_and(|run| run.start >= start) {
            return;
        }
        if self.runs.len() == RUNS_MAX {
            self.runs.remove(1);
        }
        self.runs.push(Run::at(start));
    }

    /// Adds hits and misses to each run, as `trials` gives them, from trials that hit with odds of at most
    /// `odds` under the null.
    ///
    /// Odds that are not positive and finite carry no information and are skipped.
    pub fn update(&mut self, odds: f64, trials: impl Fn(usize) -> (u64, u64)) {
        let none = (0..self.runs.len()).all(|run| trials(run) == (0, 0));
        if none || !(odds > 0.0 && odds.is_finite()) {
            return;
        }
        // (1 - p1) / (1 - p0), where p1 has `ratio` times the odds of p0.
        let gains = RATIOS.map(|ratio| (ratio.ln(), ((1.0 + odds) / (1.0 + ratio * odds)).ln()));
        for (index, run) in self.runs.iter_mut().enumerate() {
            let (hits, misses) = trials(index);
            run.hits = run.hits.saturating_add(hits);
            let all = hits as f64 + misses as f64;
            for (log, (hit, each)) in run.logs.iter_mut().zip(gains) {
                *log += hits as f64 * hit + all * each;
            }
        }
    }

    /// Natural logarithm of the strongest run's e-value, minus the cost of that run's part of alpha.
    pub fn log_e(&self) -> f64 {
        self.runs.iter().map(Run::log_e).fold(f64::NEG_INFINITY, f64::max)
    }

    /// Whether some run with enough hits has reached `log_threshold`.
    pub(crate) fn reaches(&self, log_threshold: f64) -> bool {
        self.runs.iter().any(|run| run.hits >= HITS_MIN && run.log_e() >= log_threshold)
    }
}

/// How many hits without a miss take a run with start number `start` to `log_threshold` at `odds`; at least
/// [`HITS_MIN`]. `None` if `hits_max` hits are not enough.
pub(crate) fn hits_needed(start: u32, odds: f64, log_threshold: f64, hits_max: u64) -> Option<u64> {
    let mut process = EProcess { runs: vec![Run::at(start)] };
    (1..=hits_max).find(|_| {
        process.update(odds, |_| (1, 0));
        process.reaches(log_threshold)
    })
}

/// The part of alpha of the run with start number `start`. The parts of infinitely many runs add up to 1.
fn start_weight(start: u32) -> f64 {
    if start == 0 {
        return FIRST;
    }
    let start = f64::from(start);
    (1.0 - FIRST) * 6.0 / (std::f64::consts::PI.powi(2) * start * start)
}

#[cfg(test)]
mod tests;
