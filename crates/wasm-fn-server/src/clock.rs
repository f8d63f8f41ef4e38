//! The only place in this crate that reads the clock.

use std::time::Instant;

/// The time now.
#[expect(clippy::disallowed_methods, reason = "the data plane measures latency and enforces timeouts")]
pub(crate) fn now() -> Instant {
    Instant::now()
}
