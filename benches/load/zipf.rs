//! Which of many functions is asked: Zipf's law, under which the n-th most popular is asked 1/n as often as
//! the first.

use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};

/// The same requests in every run.
const SEED: u64 = 0x5eed;

/// `len` draws among `functions`, each below it; the lowest are the most popular.
pub(crate) fn draws(functions: usize, len: usize) -> Vec<usize> {
    let shares = shares(functions);
    let mut random = SmallRng::seed_from_u64(SEED);
    (0..len).map(|_| pick(&shares, random.random())).collect()
}

/// Cumulative shares; the last is 1.
fn shares(functions: usize) -> Vec<f64> {
    let total: f64 = (1..=functions).map(|rank| 1.0 / rank as f64).sum();
    let mut sum = 0.0;
    (1..=functions)
        .map(|rank| {
            sum += 1.0 / rank as f64;
            sum / total
        })
        .collect()
}

/// The first whose cumulative share exceeds `point`, which is at least 0 and below 1.
fn pick(shares: &[f64], point: f64) -> usize {
    // Rounding may leave the last share a hair below 1.
    shares.partition_point(|share| *share <= point).min(shares.len() - 1)
}

#[cfg(test)]
mod tests;
