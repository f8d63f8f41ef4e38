//! The only place in this crate that reads the clock.

use std::time::{Instant, SystemTime};

/// The time now.
#[expect(clippy::disallowed_methods, reason = "files are looked at now and then")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// A moment on both clocks, by which times of one are told in the other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Anchor {
    instant: Instant,
    wall: SystemTime,
}

impl Anchor {
    /// The moment now.
    #[expect(clippy::disallowed_methods, reason = "telemetry tells when things happened")]
    pub(crate) fn now() -> Self {
        Self { instant: Instant::now(), wall: SystemTime::now() }
    }

    /// The time of day at `instant`.
    pub(crate) fn wall(self, instant: Instant) -> SystemTime {
        match self.instant.checked_duration_since(instant) {
            Some(ago) => self.wall - ago,
            None => self.wall + instant.duration_since(self.instant),
        }
    }

    /// The time of day at the anchor.
    pub(crate) fn time(self) -> SystemTime {
        self.wall
    }
}
