//! Schedules: at which times a trigger ticks, which of them are due, and what happens where runs overlap.
//!
//! Temporal's schedules are the model (temporal.api.schedule.v1): a schedule has several times, which are
//! merged; it catches up on ticks that it could not run in time, within a window; and a policy says what to
//! do while an earlier run is still in progress.
//!
//! A tick's *time* is what its expression says, and names it for good. It *runs* at that time plus its
//! jitter, which never reaches the time of the next tick, so ticks run in their order.

mod cron;
mod interval;
mod overlap;
mod ticks;
mod zone;

use std::{num::NonZeroU32, time::Duration};

use crate::{Timestamp, TriggerId, time::millis};
use ticks::Ticks;

pub use cron::{CRON_BYTES_MAX, CronError, CronTimes};
pub use interval::{INTERVAL_MAX, INTERVAL_MIN, Interval, IntervalError};
pub use overlap::{OVERLAPS, Overlap, OverlapDecision, OverlapError, RUNS_MAX};
pub use zone::{Zone, ZoneError};

/// Most cron expressions and intervals in one schedule.
pub const TIMES_MAX: usize = 16;

/// Longest jitter.
pub const JITTER_MAX: Duration = Duration::from_secs(3600);

/// The catch-up window of a schedule that does not say one.
pub const CATCH_UP_DEFAULT: Duration = Duration::from_secs(60);

/// Shortest catch-up window: a shorter one would drop ticks whenever a node is busy or restarts.
pub const CATCH_UP_MIN: Duration = Duration::from_secs(10);

/// Longest catch-up window.
pub const CATCH_UP_MAX: Duration = Duration::from_secs(365 * 24 * 3600);

/// Ticks that [`Schedule::due`] returns at once.
pub const DUE_MAX: usize = 100;

/// Missed ticks that [`Schedule::due`] counts, if it cannot compute their number.
pub const MISSED_COUNTED_MAX: u64 = 100;

/// Ticks that [`Schedule::backfill`] returns at once.
pub const BACKFILL_MAX: usize = 1000;

/// Ticks that run on a canary as well.
pub const CANARY_RUNS_MAX: u32 = 1000;

/// Times that [`Schedule::next_times`] returns.
pub const NEXT_TIMES_MAX: usize = 100;

/// At which times a trigger ticks. Holding one proves that its settings are within their bounds.
///
/// To find the next tick costs 0.3 µs of CPU for each cron expression that ticks every second, up to 2 µs for
/// one that ticks once a day, and 0.02 µs for each interval. [`due`](Self::due) does it twice for a tick, so
/// ten thousand schedules that tick every second take some 0.7 % of a core, and 0.1 % as intervals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule(ScheduleOptions);

/// The settings of a [`Schedule`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScheduleOptions {
    /// When it ticks: 1 to [`TIMES_MAX`], merged. What several of them have at the same time is one tick.
    pub times: Vec<ScheduleTime>,
    /// What happens to a tick while an earlier run is in progress.
    pub overlap: Overlap,
    /// How late a tick may run, if the node could not run it in time: [`CATCH_UP_MIN`] to [`CATCH_UP_MAX`].
    /// Ticks that are later are missed: they are counted and do not run.
    pub catch_up: Duration,
    /// Ticks run up to this much later than their times, each by an amount of its own: up to [`JITTER_MAX`].
    pub jitter: Duration,
    /// The trigger is paused after this many failed runs one after the other.
    pub pause_on_failure: Option<NonZeroU32>,
    /// So many ticks run on each canary as well, without effects, and on stable: up to [`CANARY_RUNS_MAX`].
    pub canary_runs: u32,
    /// There are no ticks before this time.
    pub start: Option<Timestamp>,
    /// There are no ticks after this time.
    pub end: Option<Timestamp>,
}

/// One rule by which a schedule ticks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScheduleTime {
    /// At the times that match a cron expression.
    Cron(CronTimes),
    /// At equal distances.
    Every(Interval),
}

/// Why settings are no [`Schedule`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// It has no times.
    #[error("schedule has no times, expected at least one cron expression or interval")]
    NoTimes,
    /// It has too many times.
    #[error("schedule has {found} cron expressions and intervals, expected at most {TIMES_MAX}")]
    TooManyTimes {
        /// Number found.
        found: usize,
    },
    /// The catch-up window is out of its bounds.
    #[error("a catch-up window of {} s is out of bounds, expected {} s to {} s",
        found.as_secs(), CATCH_UP_MIN.as_secs(), CATCH_UP_MAX.as_secs())]
    CatchUp {
        /// The window found.
        found: Duration,
    },
    /// The jitter is too long.
    #[error("a jitter of {} s is too long, expected at most {} s", found.as_secs(), JITTER_MAX.as_secs())]
    Jitter {
        /// The jitter found.
        found: Duration,
    },
    /// It has too many runs on a canary.
    #[error("{found} runs on a canary are too many, expected at most {CANARY_RUNS_MAX}")]
    CanaryRuns {
        /// Number found.
        found: u32,
    },
    /// It ends before it starts.
    #[error("schedule ends at {end}, before it starts at {start}")]
    Order {
        /// Its start.
        start: Timestamp,
        /// Its end.
        end: Timestamp,
    },
}

/// One tick of a schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tick {
    /// Its time, by which it is known.
    pub at: Timestamp,
    /// When it runs: its time plus its jitter.
    pub run_at: Timestamp,
}

/// The ticks that are due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// Those to run, in order; at most [`DUE_MAX`].
    pub ticks: Vec<Tick>,
    /// Those that the catch-up window has left behind.
    pub missed: Missed,
    /// Up to where ticks have now been handled: the `since` of the next call.
    pub until: Timestamp,
    /// Whether more ticks are due; call again with `until` to get them.
    pub has_more: bool,
    /// The first tick that is not in `ticks`: when to look again.
    pub next: Option<Tick>,
}

/// How many ticks were missed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Missed {
    /// Their number, or a lower bound of it.
    pub count: u64,
    /// Whether there were more than `count`.
    pub has_more: bool,
}

/// The times of a range, to run them later than they were.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backfill {
    /// The times, in order.
    pub times: Vec<Timestamp>,
    /// The first time in the range that did not fit.
    pub rest: Option<Timestamp>,
}

impl ScheduleTime {
    /// The first time after `after`.
    pub fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Cron(cron) => cron.next_after(after),
            Self::Every(interval) => interval.next_after(after),
        }
    }
}

impl Schedule {
    /// The schedule with these settings.
    ///
    /// # Errors
    ///
    /// [`ScheduleError`] if one is out of its bounds.
    pub fn new(options: ScheduleOptions) -> Result<Self, ScheduleError> {
        let found = options.times.len();
        if found == 0 {
            return Err(ScheduleError::NoTimes);
        }
        if found > TIMES_MAX {
            return Err(ScheduleError::TooManyTimes { found });
        }
        if !(CATCH_UP_MIN..=CATCH_UP_MAX).contains(&options.catch_up) {
            return Err(ScheduleError::CatchUp { found: options.catch_up });
        }
        if options.jitter > JITTER_MAX {
            return Err(ScheduleError::Jitter { found: options.jitter });
        }
        if options.canary_runs > CANARY_RUNS_MAX {
            return Err(ScheduleError::CanaryRuns { found: options.canary_runs });
        }
        if let (Some(start), Some(end)) = (options.start, options.end)
            && end < start
        {
            return Err(ScheduleError::Order { start, end });
        }
        Ok(Self(options))
    }

    /// The settings.
    pub fn options(&self) -> &ScheduleOptions {
        &self.0
    }

    /// The time of the first tick after `after`, without jitter.
    pub fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        let after = self.not_before_start(after);
        let next = self.0.times.iter().filter_map(|time| time.next_after(after)).min()?;
        self.0.end.is_none_or(|end| next <= end).then_some(next)
    }

    /// The first tick whose time is after `after`, as `trigger` runs it.
    pub fn next_tick(&self, trigger: &TriggerId, after: Timestamp) -> Option<Tick> {
        self.next_after(after).map(|at| self.tick(trigger, at, || self.next_after(at)))
    }

    /// The times of the first `count` ticks after `now`, at most [`NEXT_TIMES_MAX`], without jitter.
    pub fn next_times(&self, count: usize, now: Timestamp) -> Vec<Timestamp> {
        self.ticks(now).take(count.min(NEXT_TIMES_MAX)).collect()
    }

    /// The ticks that `trigger` has to run at `now`, of those whose time is after `since`.
    ///
    /// `since` is the time up to which ticks were handled: that at which the schedule was made or resumed, or
    /// [`Due::until`]. The work is bounded however long ago that is. If it is after `now`, as when the clock
    /// was set back, nothing is due: no tick runs twice.
    pub fn due(&self, trigger: &TriggerId, since: Timestamp, now: Timestamp) -> Due {
        // What should have run before this is missed.
        let horizon = now.saturating_sub(self.0.catch_up);
        // Up to here that is so whatever the jitter.
        let missed_until = horizon.saturating_sub(self.0.jitter).saturating_sub(Duration::from_millis(1));
        let (ticks, missed) = (Vec::new(), Missed::default());
        let mut due = Due { ticks, missed, until: since, has_more: false, next: None };
        if missed_until > since {
            due.missed = self.missed(since, missed_until);
            due.until = missed_until;
        }
        let mut ticks = self.ticks(due.until).peekable();
        while let Some(at) = ticks.next() {
            let tick = self.tick(trigger, at, || ticks.peek().copied());
            let is_due = tick.run_at <= now;
            if !is_due || due.ticks.len() == DUE_MAX {
                (due.has_more, due.next) = (is_due, Some(tick));
                break;
            }
            due.until = at;
            if tick.run_at < horizon {
                due.missed.count += 1;
            } else {
                due.ticks.push(tick);
            }
        }
        due
    }

    /// The times from `from` to `to`, both included, at most `max` and at most [`BACKFILL_MAX`] of them.
    pub fn backfill(&self, from: Timestamp, to: Timestamp, max: usize) -> Backfill {
        let before = from.saturating_sub(Duration::from_millis(1));
        let mut ticks = self.ticks(before).take_while(|&at| at <= to);
        let times = ticks.by_ref().take(max.min(BACKFILL_MAX)).collect();
        Backfill { times, rest: ticks.next() }
    }

    /// Whether the trigger is paused now that this many runs failed one after the other.
    pub fn pauses_after(&self, failures: u32) -> bool {
        self.0.pause_on_failure.is_some_and(|max| failures >= max.get())
    }

    /// How many ticks there are after `since`, to `until` included.
    fn missed(&self, since: Timestamp, until: Timestamp) -> Missed {
        let since = self.not_before_start(since);
        let until = self.0.end.map_or(until, |end| end.min(until));
        if let [ScheduleTime::Every(interval)] = self.0.times[..] {
            let count = interval.count_to(until).saturating_sub(interval.count_to(since));
            return Missed { count, has_more: false };
        }
        let counted = self.ticks(since).take_while(|&at| at <= until).take(1 + counted_max()).count();
        let has_more = counted > counted_max();
        Missed { count: u64::try_from(counted.min(counted_max())).expect("it is small"), has_more }
    }

    /// The times of ticks after `after`.
    fn ticks(&self, after: Timestamp) -> impl Iterator<Item = Timestamp> {
        let end = self.0.end.unwrap_or(Timestamp::MAX);
        Ticks::new(&self.0.times, self.not_before_start(after)).take_while(move |&at| at <= end)
    }

    /// `after`, or what is just before the start.
    fn not_before_start(&self, after: Timestamp) -> Timestamp {
        let start = self.0.start.map(|start| start.saturating_sub(Duration::from_millis(1)));
        start.map_or(after, |start| start.max(after))
    }

    /// The tick at `at`, where `next` is the time of the one behind it.
    fn tick(&self, trigger: &TriggerId, at: Timestamp, next: impl FnOnce() -> Option<Timestamp>) -> Tick {
        if self.0.jitter.is_zero() {
            return Tick { at, run_at: at };
        }
        let bound = next().map_or(self.0.jitter, |next| next.since(at).min(self.0.jitter));
        let part = (u128::from(millis(bound)) * u128::from(trigger.hash_of(at))) >> 64;
        let part = u64::try_from(part).expect("it is below the bound");
        Tick { at, run_at: at.saturating_add(Duration::from_millis(part)) }
    }
}

fn counted_max() -> usize {
    usize::try_from(MISSED_COUNTED_MAX).expect("it is small")
}

#[cfg(test)]
mod tests;
