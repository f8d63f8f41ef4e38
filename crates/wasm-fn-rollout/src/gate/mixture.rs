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
/// From slightly worse to all but broken; below the first a difference takes longer than a rollout.
pub const RATIOS: [f64; 5] = [1.4, 2.5, 6.0, 18.0, 100.0];

/// Prior weights of the ratios; they add up to 1. Large ones have most, for they should be found first.
const PRIOR: [f64; 5] = [0.08, 0.10, 0.17, 0.35, 0.30];

/// Share of the mixture that bets from the first trial on; the rest waits for [`EProcess::restart`].
const FIRST: f64 = 0.8;

/// Starts that one process can have.
const RUNS_MAX: usize = 16;

/// A mixture over the alternatives' ratios and over the times from which the canary may be worse.
///
/// Without the second, a canary that behaves for a million requests and then breaks would first have to
/// win back what the alternatives lost meanwhile. A share that has not started counts as 1, as does a bet
/// not made.
#[derive(Clone, Debug, PartialEq)]
pub struct EProcess {
    // Invariant: 1 to RUNS_MAX runs of finite log likelihood ratios.
    runs: Vec<[f64; RATIOS.len()]>,
}

impl Default for EProcess {
    fn default() -> Self {
        Self { runs: vec![[0.0; RATIOS.len()]] }
    }
}

impl EProcess {
    /// The process with these log likelihood ratios, by start and alternative; `None` when there are none,
    /// too many, or some that are not finite.
    pub fn from_logs(logs: Vec<[f64; RATIOS.len()]>) -> Option<Self> {
        let sound = (1..=RUNS_MAX).contains(&logs.len()) && logs.iter().flatten().all(|log| log.is_finite());
        sound.then_some(Self { runs: logs })
    }

    /// Log likelihood ratios by start and alternative, for [`from_logs`](Self::from_logs).
    pub fn logs(&self) -> &[[f64; RATIOS.len()]] {
        &self.runs
    }

    /// Starts another run, which knows nothing of the past. Does nothing at the bound.
    pub fn restart(&mut self) {
        if self.runs.len() < RUNS_MAX {
            self.runs.push([0.0; RATIOS.len()]);
        }
    }

    /// Takes `hits` and `misses` of trials that hit with odds of at most `odds` under the null.
    ///
    /// Odds that are not positive and finite leave nothing to learn, and are passed over.
    pub fn update(&mut self, hits: u64, misses: u64, odds: f64) {
        if !(odds > 0.0 && odds.is_finite()) || (hits == 0 && misses == 0) {
            return;
        }
        let (hits, misses) = (hits as f64, misses as f64);
        for (place, ratio) in RATIOS.iter().enumerate() {
            // (1 - p1) / (1 - p0), where p1 has `ratio` times the odds of p0.
            let miss = ((1.0 + odds) / (1.0 + ratio * odds)).ln();
            let gained = hits * (ratio.ln() + miss) + misses * miss;
            for run in &mut self.runs {
                run[place] += gained;
            }
        }
    }

    /// Natural logarithm of the e-value.
    pub fn log_e(&self) -> f64 {
        let mut waiting = 1.0;
        let mut terms = Vec::with_capacity(self.runs.len() * RATIOS.len() + 1);
        for (start, run) in self.runs.iter().enumerate() {
            let weight = start_weight(start);
            waiting -= weight;
            terms.extend(run.iter().zip(PRIOR).map(|(log, prior)| log + (weight * prior).ln()));
        }
        terms.push(waiting.ln());
        let most = terms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        most + terms.iter().map(|term| (term - most).exp()).sum::<f64>().ln()
    }
}

/// Weight of the run that starts as number `start`; all of them, without end, add up to 1.
fn start_weight(start: usize) -> f64 {
    if start == 0 {
        return FIRST;
    }
    let start = start as f64;
    (1.0 - FIRST) * 6.0 / (std::f64::consts::PI.powi(2) * start * start)
}

#[cfg(test)]
mod tests;
