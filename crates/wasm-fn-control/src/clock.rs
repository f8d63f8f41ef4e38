//! The only place where the control plane reads the clock.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;
use wasm_fn_rollout::Time;

/// The system clock at one moment, advanced by the monotonic clock. A step of the system clock therefore does
/// not shorten a rollout.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    unix_ms: u64,
    at: Instant,
}

/// The monotonic clock, which the data plane also reads.
pub(crate) fn instant() -> std::time::Instant {
    Instant::now().into_std()
}

impl Clock {
    /// A clock set to the system clock; 0 before 1970.
    #[expect(clippy::disallowed_methods, reason = "the journal says when: this is the edge that knows")]
    pub fn system() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self::showing(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    /// A clock that now shows `unix_ms`.
    pub fn showing(unix_ms: u64) -> Self {
        Self { unix_ms, at: Instant::now() }
    }

    /// The time, Unix milliseconds (UTC).
    pub(crate) fn now_ms(&self) -> u64 {
        let since = u64::try_from(self.at.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.unix_ms.saturating_add(since)
    }

    /// The time as rollouts use it.
    pub(crate) fn now(&self) -> Time {
        Time(self.now_ms())
    }

    /// The instant of `time`, at most an hour from now.
    pub(crate) fn instant(&self, time: Time) -> Instant {
        let wait = time.since(self.now()).min(Duration::from_secs(3600));
        Instant::now() + wait
    }
}
