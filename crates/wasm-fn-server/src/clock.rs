//! The only place in this crate that reads the clock.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The time now.
#[expect(clippy::disallowed_methods, reason = "the data plane measures latency and enforces timeouts")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// The time since the Unix epoch.
#[expect(clippy::disallowed_methods, reason = "metrics tell when a request ended")]
pub(crate) fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
