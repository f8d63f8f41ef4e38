//! The merged times of a schedule, one after the other.

use super::ScheduleTime;
use crate::Timestamp;

/// Times after a moment, in order and without doubles. Each step asks only the rules whose time it was.
pub(super) struct Ticks<'a> {
    /// Each rule with its next time.
    heads: Vec<(&'a ScheduleTime, Option<Timestamp>)>,
}

impl<'a> Ticks<'a> {
    pub(super) fn new(times: &'a [ScheduleTime], after: Timestamp) -> Self {
        Self { heads: times.iter().map(|time| (time, time.next_after(after))).collect() }
    }
}

impl Iterator for Ticks<'_> {
    type Item = Timestamp;

    fn next(&mut self) -> Option<Timestamp> {
        let next = self.heads.iter().filter_map(|(_, next)| *next).min()?;
        for (time, head) in self.heads.iter_mut().filter(|(_, head)| *head == Some(next)) {
            *head = time.next_after(next);
        }
        Some(next)
    }
}
