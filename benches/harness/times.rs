//! Reading the clock, and summing up what took how long.

#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

/// The time.
#[expect(clippy::disallowed_methods, reason = "a bench is an edge: elapsed time is what it measures")]
#[must_use]
pub fn now() -> Instant {
    Instant::now()
}

/// The shortest of `times`, in any order, that so many of a thousand of them do not exceed (the nearest
/// rank); zero of none.
#[must_use]
pub fn quantile(times: &[Duration], permille: usize) -> Duration {
    let mut times = times.to_vec();
    times.sort_unstable();
    let rank = (times.len() * permille).div_ceil(1000).max(1);
    times.get(rank - 1).or(times.last()).copied().unwrap_or_default()
}

/// Milliseconds.
#[must_use]
pub fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
