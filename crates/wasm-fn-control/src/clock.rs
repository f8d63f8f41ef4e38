//! The one place where the control plane reads the clock.

use std::time::{SystemTime, UNIX_EPOCH};

/// The time, Unix milliseconds (UTC); 0 before 1970.
#[expect(clippy::disallowed_methods, reason = "the journal says when: this is the edge that knows")]
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
