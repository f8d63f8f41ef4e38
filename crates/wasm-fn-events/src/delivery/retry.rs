//! When an event is delivered again, and when it is given up.

use std::{num::NonZeroU32, time::Duration};

use super::DeadLetterReason;
use crate::{Timestamp, time::millis};

/// Most attempts that a policy can ask for.
pub const ATTEMPTS_MAX_MAX: u32 = 1000;

/// Longest that a policy can keep trying.
pub const AGE_MAX_MAX: Duration = Duration::from_secs(14 * 24 * 3600);

/// Shortest first backoff.
pub const BACKOFF_MIN_MIN: Duration = Duration::from_millis(100);

/// Longest backoff.
pub const BACKOFF_MAX_MAX: Duration = Duration::from_secs(24 * 3600);

/// When an event is delivered again. Holding one proves that its numbers are within their bounds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RetryPolicy(RetryOptions);

/// The numbers of a [`RetryPolicy`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryOptions {
    /// Deliveries of an event at most, the first included: 1 to [`ATTEMPTS_MAX_MAX`]. Default 20.
    pub attempts_max: NonZeroU32,
    /// No delivery begins later than this after the event came: up to [`AGE_MAX_MAX`]. Default 24 h.
    pub age_max: Duration,
    /// The bound of the wait after the first delivery: from [`BACKOFF_MIN_MIN`]. Each further delivery
    /// doubles it. Default 1 s.
    pub backoff_min: Duration,
    /// Where the doubling ends: up to [`BACKOFF_MAX_MAX`]. Default 1 h.
    pub backoff_max: Duration,
}

/// Why numbers are no [`RetryPolicy`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RetryPolicyError {
    /// There are too many attempts.
    #[error("{found} attempts are too many, expected at most {ATTEMPTS_MAX_MAX}")]
    Attempts {
        /// The number found.
        found: u32,
    },
    /// Events are tried for too long.
    #[error("an age of {} s is too long, expected at most {} s", found.as_secs(), AGE_MAX_MAX.as_secs())]
    Age {
        /// The age found.
        found: Duration,
    },
    /// The first backoff is too short.
    #[error("a first backoff of {} ms is too short, expected at least {} ms",
        found.as_millis(), BACKOFF_MIN_MIN.as_millis())]
    BackoffMin {
        /// The backoff found.
        found: Duration,
    },
    /// The longest backoff is too long.
    #[error("a longest backoff of {} s is too long, expected at most {} s",
        found.as_secs(), BACKOFF_MAX_MAX.as_secs())]
    BackoffMax {
        /// The backoff found.
        found: Duration,
    },
    /// The longest backoff is shorter than the first.
    #[error("the longest backoff, {} ms, is shorter than the first, {} ms",
        longest.as_millis(), first.as_millis())]
    BackoffOrder {
        /// The first backoff.
        first: Duration,
        /// The longest backoff.
        longest: Duration,
    },
}

/// What follows a delivery that is to be retried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The next delivery begins at this time.
    At(Timestamp),
    /// There is none; the event goes to the dead letters.
    GiveUp(DeadLetterReason),
}

impl Default for RetryOptions {
    fn default() -> Self {
        Self {
            attempts_max: NonZeroU32::new(20).expect("20 is not 0"),
            age_max: Duration::from_secs(24 * 3600),
            backoff_min: Duration::from_secs(1),
            backoff_max: Duration::from_secs(3600),
        }
    }
}

impl RetryPolicy {
    /// The policy with these numbers.
    ///
    /// # Errors
    ///
    /// [`RetryPolicyError`] if one is out of its bounds.
    pub fn new(options: RetryOptions) -> Result<Self, RetryPolicyError> {
        let RetryOptions { attempts_max, age_max, backoff_min, backoff_max } = options;
        if attempts_max.get() > ATTEMPTS_MAX_MAX {
            return Err(RetryPolicyError::Attempts { found: attempts_max.get() });
        }
        if age_max > AGE_MAX_MAX {
            return Err(RetryPolicyError::Age { found: age_max });
        }
        if backoff_min < BACKOFF_MIN_MIN {
            return Err(RetryPolicyError::BackoffMin { found: backoff_min });
        }
        if backoff_max > BACKOFF_MAX_MAX {
            return Err(RetryPolicyError::BackoffMax { found: backoff_max });
        }
        if backoff_max < backoff_min {
            return Err(RetryPolicyError::BackoffOrder { first: backoff_min, longest: backoff_max });
        }
        Ok(Self(options))
    }

    /// The numbers.
    pub fn options(&self) -> &RetryOptions {
        &self.0
    }

    /// The bound of the wait after the delivery with this number, from 1: it doubles from one to the next.
    pub fn backoff(&self, attempt: u32) -> Duration {
        let doublings = attempt.saturating_sub(1).min(63);
        let wait = self.0.backoff_min.checked_mul(2_u32.checked_pow(doublings).unwrap_or(u32::MAX));
        wait.unwrap_or(Duration::MAX).min(self.0.backoff_max)
    }

    /// When the event is delivered again after its delivery number `attempt`, from 1, failed at `now`.
    ///
    /// The wait is exponential backoff with full jitter: `draw`, uniform over all of `u64`, puts it anywhere
    /// from nothing to [`backoff`](Self::backoff), so that events that failed together do not return
    /// together (M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015). It begins
    /// after `retry_after`, the wait that [`Disposition::Retry`](super::Disposition::Retry) has.
    ///
    /// `first_seen` is when the event came to the node.
    pub fn next(
        &self,
        attempt: u32,
        draw: u64,
        now: Timestamp,
        first_seen: Timestamp,
        retry_after: Option<Duration>,
    ) -> Next {
        if attempt >= self.0.attempts_max.get() {
            return Next::GiveUp(DeadLetterReason::Attempts { attempts: attempt });
        }
        let bound = u128::from(millis(self.backoff(attempt))) + 1;
        let jittered =
            u64::try_from((bound * u128::from(draw)) >> 64).expect("it is below a bound of 64 bits");
        let at = now
            .saturating_add(retry_after.unwrap_or_default())
            .saturating_add(Duration::from_millis(jittered));
        if at.since(first_seen) > self.0.age_max {
            return Next::GiveUp(DeadLetterReason::Age { age_max: self.0.age_max });
        }
        Next::At(at)
    }
}
