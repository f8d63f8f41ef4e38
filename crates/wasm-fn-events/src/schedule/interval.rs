//! Times at equal distances.

use std::time::Duration;

use crate::{Timestamp, time::millis};

/// Shortest interval of a schedule.
pub const INTERVAL_MIN: Duration = Duration::from_secs(1);

/// Longest interval of a schedule: ten years of 365 days.
pub const INTERVAL_MAX: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// The times at whole multiples of an interval after the Unix epoch, plus a phase, as in Temporal's
/// schedules. They do not depend on when the schedule was made, and no time zone changes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval {
    every_ms: u64,
    phase_ms: u64,
}

/// Why a duration is no interval.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IntervalError {
    /// It is zero or too short.
    #[error("an interval of {} ms is too short, expected at least 1 s", found.as_millis())]
    TooShort {
        /// The interval found.
        found: Duration,
    },
    /// It is too long.
    #[error("an interval of {} s is too long, expected at most ten years", found.as_secs())]
    TooLong {
        /// The interval found.
        found: Duration,
    },
    /// It has a part of a millisecond.
    #[error("an interval of {found:?} has a part of a millisecond, expected whole milliseconds")]
    Fraction {
        /// The interval or phase found.
        found: Duration,
    },
    /// The phase is not below the interval.
    #[error("a phase of {} ms is too long, expected less than the interval, {} ms",
        found.as_millis(), every.as_millis())]
    Phase {
        /// The phase found.
        found: Duration,
        /// The interval.
        every: Duration,
    },
}

impl Interval {
    /// The times at multiples of `every` after the Unix epoch, plus `phase`.
    ///
    /// # Errors
    ///
    /// [`IntervalError`] if `every` is out of its bounds, or `phase` is not below it.
    pub fn new(every: Duration, phase: Duration) -> Result<Self, IntervalError> {
        if every < INTERVAL_MIN {
            return Err(IntervalError::TooShort { found: every });
        }
        if every > INTERVAL_MAX {
            return Err(IntervalError::TooLong { found: every });
        }
        if let Some(found) = [every, phase].into_iter().find(|found| found.subsec_nanos() % 1_000_000 != 0) {
            return Err(IntervalError::Fraction { found });
        }
        if phase >= every {
            return Err(IntervalError::Phase { found: phase, every });
        }
        Ok(Self { every_ms: millis(every), phase_ms: millis(phase) })
    }

    /// The times at multiples of `every` before and after `anchor`.
    ///
    /// # Errors
    ///
    /// [`IntervalError`] if `every` is out of its bounds.
    pub fn anchored(every: Duration, anchor: Timestamp) -> Result<Self, IntervalError> {
        let Self { every_ms, .. } = Self::new(every, Duration::ZERO)?;
        Ok(Self { every_ms, phase_ms: anchor.unix_ms() % every_ms })
    }

    /// The interval.
    pub fn every(self) -> Duration {
        Duration::from_millis(self.every_ms)
    }

    /// The phase, below the interval.
    pub fn phase(self) -> Duration {
        Duration::from_millis(self.phase_ms)
    }

    /// The first time after `after`.
    pub fn next_after(self, after: Timestamp) -> Option<Timestamp> {
        let next = self.count_to(after) * self.every_ms + self.phase_ms;
        (next <= Timestamp::MAX.unix_ms()).then(|| Timestamp::from_unix_ms(next))
    }

    /// How many times there are from 1970 to `to`, itself included.
    pub(super) fn count_to(self, to: Timestamp) -> u64 {
        to.unix_ms().checked_sub(self.phase_ms).map_or(0, |ms| ms / self.every_ms + 1)
    }
}
