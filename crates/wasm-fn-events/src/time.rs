//! Moments, and the texts that protocols write for them.

use std::{fmt, str::FromStr, time::Duration};

use chrono::{DateTime, SecondsFormat, Utc};

/// A moment: milliseconds since the Unix epoch, UTC, from 1970 to the end of the year 9999.
///
/// Its text is that of RFC 3339, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

/// A text is not a moment as RFC 3339 writes it, from 1970 to 9999.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{found:?} is no time, expected one like 2026-11-30T12:00:00Z, from 1970 to 9999")]
pub struct TimestampError {
    /// The rejected text.
    pub found: String,
}

impl Timestamp {
    /// The beginning of 1970.
    pub const MIN: Self = Self(0);

    /// The last millisecond of the year 9999, the last that RFC 3339 can write.
    pub const MAX: Self = Self(253_402_300_799_999);

    /// The moment `ms` milliseconds after the Unix epoch; [`MAX`](Self::MAX) if it is later.
    pub const fn from_unix_ms(ms: u64) -> Self {
        Self(if ms < Self::MAX.0 { ms } else { Self::MAX.0 })
    }

    /// The moment `seconds` after the Unix epoch; [`MAX`](Self::MAX) if it is later.
    pub const fn from_unix_seconds(seconds: u64) -> Self {
        Self::from_unix_ms(seconds.saturating_mul(1000))
    }

    /// Milliseconds since the Unix epoch.
    pub const fn unix_ms(self) -> u64 {
        self.0
    }

    /// Whole seconds since the Unix epoch.
    pub(crate) fn seconds(self) -> i64 {
        i64::try_from(self.0 / 1000).expect("the year 9999 fits")
    }

    /// The moment at whole seconds, moved into the range.
    pub(crate) fn at_seconds(seconds: i64) -> Self {
        Self::from_unix_seconds(u64::try_from(seconds).unwrap_or(0))
    }

    /// The moment `wait` later, in whole milliseconds, at most [`MAX`](Self::MAX).
    #[must_use]
    pub fn saturating_add(self, wait: Duration) -> Self {
        Self::from_unix_ms(self.0.saturating_add(millis(wait)))
    }

    /// The moment `wait` earlier, in whole milliseconds, at least [`MIN`](Self::MIN).
    #[must_use]
    pub fn saturating_sub(self, wait: Duration) -> Self {
        Self(self.0.saturating_sub(millis(wait)))
    }

    /// How long after `earlier` this is; zero if it is before.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// The moment of an HTTP date (RFC 9110, section 5.6.7), in any of its three formats.
    pub(crate) fn from_http_date(text: &str) -> Option<Self> {
        let since = httpdate::parse_http_date(text).ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
        Some(Self::from_unix_ms(millis(since)))
    }

    fn date_time(self) -> DateTime<Utc> {
        let ms = i64::try_from(self.0).expect("the year 9999 fits");
        DateTime::from_timestamp_millis(ms).expect("the years 1970 to 9999 are chrono's")
    }
}

/// Whole milliseconds of `duration`.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.date_time().to_rfc3339_opts(SecondsFormat::AutoSi, true))
    }
}

impl FromStr for Timestamp {
    type Err = TimestampError;

    fn from_str(text: &str) -> Result<Self, TimestampError> {
        let parsed = DateTime::parse_from_rfc3339(text).ok();
        let ms = parsed.and_then(|time| u64::try_from(time.timestamp_millis()).ok());
        match ms.filter(|&ms| ms <= Self::MAX.0) {
            Some(ms) => Ok(Self(ms)),
            None => Err(TimestampError { found: text.chars().take(64).collect() }),
        }
    }
}

#[cfg(test)]
mod tests;
