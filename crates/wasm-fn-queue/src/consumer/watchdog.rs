//! Notices a broker that has messages and delivers none, although it answers. Pure.

use std::time::Duration;

/// For how long a broker may have messages, and be asked for them, and deliver none.
const STUCK_AFTER: Duration = Duration::from_secs(15);

/// What is compared with what the broker says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Look {
    /// Messages that came in all.
    pub(crate) came: u64,
    /// Messages that are asked for.
    pub(crate) outstanding: usize,
    /// Messages that the broker has for this consumer.
    pub(crate) pending: u64,
    /// Whether the broker delivers nothing before some are settled.
    pub(crate) is_at_limit: bool,
}

/// Notices that nothing comes. `T` is time.
#[derive(Debug)]
pub(crate) struct Watchdog<T> {
    came: u64,
    /// Since when nothing came that should have.
    since: Option<T>,
}

impl<T: Copy> Watchdog<T> {
    pub(crate) fn new() -> Self {
        Self { came: 0, since: None }
    }

    /// Notes what there is at `now`. Returns whether the broker delivers nothing for too long. `elapsed`
    /// tells how long ago a time is.
    pub(crate) fn look(&mut self, look: Look, now: T, elapsed: impl Fn(T) -> Duration) -> bool {
        let should_come = look.outstanding > 0 && look.pending > 0 && !look.is_at_limit;
        if !should_come || look.came != self.came {
            (self.came, self.since) = (look.came, None);
            return false;
        }
        let since = *self.since.get_or_insert(now);
        elapsed(since) >= STUCK_AFTER
    }
}

#[cfg(test)]
mod tests;
