//! How many deliveries of a trigger may begin in a time.

use std::{fmt, num::NonZeroU32, str::FromStr};

use crate::Timestamp;

/// Most deliveries of a [`Rate`] in its unit of time.
pub const RATE_MAX: u32 = 100_000;

/// What may begin at once after a pause: what the rate has in this time, and always one delivery.
const BURST_NS: u128 = 100_000_000;

const NS_PER_MS: u128 = 1_000_000;

/// So many deliveries in a second, a minute or an hour, at most. Its text is that of `5/s`, `5/m` and `5/h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    // Invariant: at most RATE_MAX.
    count: NonZeroU32,
    per: RateUnit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RateUnit {
    Second,
    Minute,
    Hour,
}

/// A text is no [`Rate`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "rate {found:?} is not valid, expected 1 to {RATE_MAX} per second, minute or hour, such as 5/s, 5/m or 5/h"
)]
pub struct RateError {
    /// The text found.
    pub found: String,
}

/// Says when the next delivery under a [`Rate`] may begin.
///
/// This is the generic cell rate algorithm (ITU-T I.371, annex A, "virtual scheduling"): deliveries are
/// spread evenly, and after a pause as many may begin at once as the rate has in a tenth of a second. So in
/// any time there are at most as many as the rate has in it, and those.
#[derive(Clone, Copy, Debug)]
pub struct RateLimiter {
    interval_ns: u128,
    tolerance_ns: u128,
    /// When the next delivery is due by the rate: its theoretical arrival time.
    due_ns: u128,
}

impl Rate {
    /// The time from one delivery to the next, in nanoseconds.
    fn interval_ns(self) -> u128 {
        let seconds: u128 = match self.per {
            RateUnit::Second => 1,
            RateUnit::Minute => 60,
            RateUnit::Hour => 3600,
        };
        seconds * 1_000_000_000 / u128::from(self.count.get())
    }
}

impl FromStr for Rate {
    type Err = RateError;

    fn from_str(text: &str) -> Result<Self, RateError> {
        let parse = || {
            let (count, unit) = text.split_once('/')?;
            let per = match unit {
                "s" => RateUnit::Second,
                "m" => RateUnit::Minute,
                "h" => RateUnit::Hour,
                _ => return None,
            };
            // A sign or a leading zero would be a second text for the same rate.
            let count: NonZeroU32 =
                count.parse().ok().filter(|_| count.starts_with(|c| matches!(c, '1'..='9')))?;
            (count.get() <= RATE_MAX).then_some(Self { count, per })
        };
        parse().ok_or_else(|| RateError { found: text.chars().take(64).collect() })
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.per {
            RateUnit::Second => 's',
            RateUnit::Minute => 'm',
            RateUnit::Hour => 'h',
        };
        write!(f, "{}/{unit}", self.count)
    }
}

impl RateLimiter {
    /// A limiter of which nothing has begun yet.
    pub fn new(rate: Rate) -> Self {
        let interval_ns = rate.interval_ns();
        let burst = (BURST_NS / interval_ns).max(1);
        Self { interval_ns, tolerance_ns: (burst - 1) * interval_ns, due_ns: 0 }
    }

    /// Begins a delivery at `now`.
    ///
    /// # Errors
    ///
    /// It may not begin yet. The time is the earliest at which it may.
    pub fn begin(&mut self, now: Timestamp) -> Result<(), Timestamp> {
        let now_ns = u128::from(now.unix_ms()) * NS_PER_MS;
        let due_ns = if self.due_ns > now_ns + self.tolerance_ns + self.interval_ns {
            // Nothing leads that far ahead, so the clock was set back.
            now_ns
        } else {
            self.due_ns.max(now_ns)
        };
        let earliest_ns = due_ns.saturating_sub(self.tolerance_ns);
        if earliest_ns > now_ns {
            let ms = earliest_ns.div_ceil(NS_PER_MS);
            return Err(Timestamp::from_unix_ms(u64::try_from(ms).unwrap_or(u64::MAX)));
        }
        self.due_ns = due_ns + self.interval_ns;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
