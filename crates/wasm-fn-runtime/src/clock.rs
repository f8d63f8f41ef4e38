//! The only place in this crate that reads clocks.

#![expect(clippy::disallowed_methods, reason = "limits, deadlines and logs need real time")]

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// The time now.
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Milliseconds since the Unix epoch.
pub(crate) fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
