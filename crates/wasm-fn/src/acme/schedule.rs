//! When to renew a certificate, and when to try again. Pure.

use std::time::{Duration, SystemTime};

/// Waits after failures begin with this one. A server may allow few failures an hour.
const RETRY_MIN: Duration = Duration::from_secs(5 * 60);

/// The longest wait, before it is drawn.
const RETRY_MAX: Duration = Duration::from_secs(6 * 3600);

/// When a certificate with this validity is renewed: when a third of its life is left, or up to a tenth of it
/// earlier by a `draw` from 0 to 1, so that those of many nodes are not all renewed at once.
pub(super) fn renew_at(not_before: SystemTime, not_after: SystemTime, draw: f64) -> SystemTime {
    let life = not_after.duration_since(not_before).unwrap_or_default();
    not_before + life.mul_f64(2.0 / 3.0 - 0.1 * draw.clamp(0.0, 1.0))
}

/// How long to wait after so many `failures` in a row: twice as long each time, to the half more or less by a
/// `draw` from 0 to 1.
pub(super) fn retry_after(failures: u32, draw: f64) -> Duration {
    let doubled = 1_u32.checked_shl(failures.saturating_sub(1)).filter(|&factor| factor > 0);
    let wait = doubled.map_or(RETRY_MAX, |factor| RETRY_MIN.saturating_mul(factor).min(RETRY_MAX));
    wait.mul_f64(0.5 + draw.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests;
