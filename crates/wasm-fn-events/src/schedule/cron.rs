//! Times given by a cron expression in a time zone.
//!
//! croner reads the expression and finds matching times on the wall; this file says which moments they are.
//! Where clocks change, users of cron expect this (cron(8) of Debian, and the Open Cron Pattern Specification
//! 1.4), which croner alone does only for a single time of day:
//!
//! - An expression for *fixed times* has no star in its fields for second, minute and hour, such as
//!   `30 2 * * *` or `0 9-17 * * *`. A time that clocks skip in spring runs once, at the moment when they do,
//!   together with all others that they skip. A time that they show twice in autumn runs once, the first
//!   time.
//! - An expression with a star in one of these fields asks for an *interval*, such as `*/15 * * * *`. It goes
//!   on in real time: what clocks skip does not exist, and what they show twice runs twice.
//!
//! Temporal's schedules run a skipped time not at all and a doubled time twice, whatever the expression.

use std::{fmt, sync::Arc};

use croner::{
    Cron,
    parser::{CronParser, Seconds, Year},
};

use super::zone::{DAY, Wall, Zone, utc};
use crate::Timestamp;

/// Longest cron expression in bytes.
pub const CRON_BYTES_MAX: usize = 256;

/// The names of an expression's fields, where it has seven, and what may be in them.
const FIELDS: [(&str, &str); 7] = [
    ("second", "0 to 59"),
    ("minute", "0 to 59"),
    ("hour", "0 to 23"),
    ("day of month", "1 to 31, L or W"),
    ("month", "1 to 12 or JAN to DEC"),
    ("day of week", "0 to 7 or SUN to SAT, with # or L"),
    ("year", "1970 to 5000"),
];

/// The expressions that are a word.
const NICKNAMES: [&str; 6] = ["@yearly", "@annually", "@monthly", "@weekly", "@daily", "@hourly"];

/// The times that match a cron expression in a time zone.
///
/// 5 fields (minute, hour, day of month, month, day of week), 6 with the second before them, or 7 with the
/// year behind them. Days of month may use `L` (last) and `W` (nearest weekday), days of week `#` (nth) and
/// `L`. Where both day fields are restricted one of them suffices; a `+` before the day of week asks for
/// both. `@hourly`, `@daily`, `@weekly`, `@monthly` and `@yearly` are words for expressions.
///
/// Keep it rather than parse it again: it holds some 6 kB, shared by its clones.
#[derive(Clone)]
pub struct CronTimes {
    expression: Arc<str>,
    zone: Zone,
    cron: Arc<Cron>,
    /// Whether these are fixed times, rather than an interval.
    is_fixed: bool,
}

/// Why a text is not a cron expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CronError {
    /// The text is too long. It is not shown.
    #[error("cron expression is {bytes} bytes long, expected at most {CRON_BYTES_MAX}")]
    TooLong {
        /// Length found.
        bytes: usize,
    },
    /// It has too few or too many fields.
    #[error(
        "cron expression {expression:?} has {found} field{}, expected 5 (minute, hour, day of month, month, \
         day of week), 6 with the second before them, or 7 with the year behind them",
        if *found == 1 { "" } else { "s" }
    )]
    Fields {
        /// The expression.
        expression: String,
        /// Number of fields.
        found: usize,
    },
    /// A field is not valid.
    #[error(
        "cron expression {expression:?} has {found:?} as its {field} at column {column}: {cause}, expected \
            {expected}, with *, -, / or commas"
    )]
    Field {
        /// The expression.
        expression: String,
        /// The field's name, such as `day of month`.
        field: &'static str,
        /// The field's text.
        found: String,
        /// Where the field begins, in bytes from 1.
        column: usize,
        /// What is wrong with it.
        cause: String,
        /// What may be there.
        expected: &'static str,
    },
    /// Its fields do not go together.
    #[error("cron expression {expression:?} is not valid: {cause}")]
    Invalid {
        /// The expression.
        expression: String,
        /// What is wrong with it.
        cause: String,
    },
    /// It is a word that is not known.
    #[error("cron expression {expression:?} is not known, expected one of {}", NICKNAMES.join(", "))]
    Nickname {
        /// The expression.
        expression: String,
    },
    /// No time matches, such as 31 February.
    #[error("cron expression {expression:?} never matches a time")]
    Never {
        /// The expression.
        expression: String,
    },
}

impl CronTimes {
    /// The times that match `expression` in `zone`.
    ///
    /// # Errors
    ///
    /// [`CronError`] if it is not a cron expression, or matches no time from 1970 on.
    pub fn parse(expression: &str, zone: Zone) -> Result<Self, CronError> {
        let expression = expression.trim();
        if expression.len() > CRON_BYTES_MAX {
            return Err(CronError::TooLong { bytes: expression.len() });
        }
        let owned = || expression.to_owned();
        if expression.starts_with('@') {
            let lower = expression.to_ascii_lowercase();
            if !NICKNAMES.contains(&lower.as_str()) {
                return Err(CronError::Nickname { expression: owned() });
            }
        } else {
            check_fields(expression, |_, _| None)?;
        }
        let cron = match parser().parse(expression) {
            Ok(cron) => cron,
            Err(error) => {
                check_fields(expression, refused)?;
                return Err(CronError::Invalid { expression: owned(), cause: cause(&error.to_string()) });
            }
        };
        let is_fixed = is_fixed(expression);
        let times = Self { expression: expression.into(), zone, is_fixed, cron: Arc::new(cron) };
        match times.next_wall(-1, false) {
            Some(_) => Ok(times),
            None => Err(CronError::Never { expression: owned() }),
        }
    }

    /// The expression.
    pub fn expression(&self) -> &str {
        &self.expression
    }

    /// The time zone.
    pub fn zone(&self) -> Zone {
        self.zone
    }

    /// The first time after `after`.
    pub fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        let next = if self.is_fixed {
            self.next_fixed(after.seconds())
        } else {
            self.next_interval(after.seconds())
        };
        next.map(Timestamp::at_seconds).filter(|&next| next > after)
    }

    /// The first matching time on the wall after `wall`, or at it if `inclusive`.
    fn next_wall(&self, wall: i64, inclusive: bool) -> Option<i64> {
        // An error is the end of the calendar.
        let next = self.cron.find_next_occurrence(&utc(wall), inclusive).ok()?.timestamp();
        (next <= Timestamp::MAX.seconds()).then_some(next)
    }

    fn next_fixed(&self, after: i64) -> Option<i64> {
        let wall = self.zone.wall_at(after);
        let (mut from, mut inclusive) = match self.zone.moments(wall) {
            // All that the clocks show for the second time has had its turn.
            Wall::Twice(first, second) if after == second => (second_end(self.zone, first, second), true),
            _ => (wall, false),
        };
        loop {
            let wall = self.next_wall(from, inclusive)?;
            let (Wall::Once(at) | Wall::Twice(at, _) | Wall::Skipped(at)) = self.zone.moments(wall);
            if at > after {
                return Some(at);
            }
            (from, inclusive) = (wall, false);
        }
    }

    fn next_interval(&self, after: i64) -> Option<i64> {
        let wall = self.zone.wall_at(after);
        // Most times are near, and no clock changes before them.
        let near = self.next_wall(wall, false)? - (wall - after);
        if near - after < DAY && self.zone.wall_at(near) - near == wall - after {
            return Some(near);
        }
        let (mut from, mut inclusive) = (wall, false);
        if let Wall::Twice(first, second) = self.zone.moments(wall)
            && after == first
        {
            // The clocks will go back: what comes before that comes first.
            let back = self.zone.change(first, second);
            if near < back {
                return Some(near);
            }
            (from, inclusive) = (self.zone.wall_at(back), true);
        }
        loop {
            let wall = self.next_wall(from, inclusive)?;
            match self.zone.moments(wall) {
                Wall::Once(at) => return Some(at),
                Wall::Twice(first, second) => return Some(if first > after { first } else { second }),
                // The clocks skip it: go on where they do.
                Wall::Skipped(forward) => (from, inclusive) = (self.zone.wall_at(forward), true),
            }
        }
    }
}

/// What clocks show after the range that they show twice, of which `first` and `second` are the moments of
/// one time.
fn second_end(zone: Zone, first: i64, second: i64) -> i64 {
    let back = zone.change(first, second);
    // As if they had not gone back.
    zone.wall_at(back - 1) + 1
}

impl PartialEq for CronTimes {
    fn eq(&self, other: &Self) -> bool {
        (&self.expression, self.zone) == (&other.expression, other.zone)
    }
}

impl Eq for CronTimes {}

impl fmt::Debug for CronTimes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CronTimes").field("expression", &self.expression).field("zone", &self.zone).finish()
    }
}

fn parser() -> CronParser {
    CronParser::builder().seconds(Seconds::Optional).year(Year::Optional).build()
}

/// Whether the expression has no star in its fields for second, minute and hour.
fn is_fixed(expression: &str) -> bool {
    let count = expression.split_whitespace().count();
    // Words begin an interval only if they are about hours.
    if count == 1 {
        return !expression.eq_ignore_ascii_case("@hourly");
    }
    let times = if count == 5 { 2 } else { 3 };
    !expression.split_whitespace().take(times).any(|field| field.contains('*'))
}

/// Checks the number of fields, and what croner takes but does not mean: foreign characters, and lists with
/// an empty part. Of a field with nothing else croner finds only after a minute that it never matches. `also`
/// may refuse a field for another cause, by its index in [`FIELDS`].
fn check_fields(expression: &str, also: impl Fn(usize, &str) -> Option<String>) -> Result<(), CronError> {
    let fields: Vec<&str> = expression.split_whitespace().collect();
    let first = match fields.len() {
        5 => 1,
        6 | 7 => 0,
        found => return Err(CronError::Fields { expression: expression.to_owned(), found }),
    };
    for (&found, (index, &(field, expected))) in fields.iter().zip(FIELDS.iter().enumerate().skip(first)) {
        let cause = match foreign(index, found) {
            Some(c) => Some(format!("{c:?} has no meaning there")),
            None if found.split(',').any(str::is_empty) => Some("a part of the list is empty".to_owned()),
            None => also(index, found),
        };
        if let Some(cause) = cause {
            // Fields are parts of the expression.
            let column = found.as_ptr().addr() - expression.as_ptr().addr() + 1;
            let (expression, found) = (expression.to_owned(), found.to_owned());
            return Err(CronError::Field { expression, field, found, column, cause, expected });
        }
    }
    Ok(())
}

/// Why croner refuses a field. It does not say which one it refuses, so each is tried alone.
fn refused(index: usize, field: &str) -> Option<String> {
    let alone: Vec<_> = (0..FIELDS.len()).map(|other| if other == index { field } else { "*" }).collect();
    parser().parse(&alone.join(" ")).err().map(|error| cause(&error.to_string()))
}

/// A character that a field cannot have. croner takes names of months and days in every field.
fn foreign(index: usize, field: &str) -> Option<char> {
    let allowed = |c: char| match c {
        '0'..='9' | '*' | ',' | '-' | '/' => true,
        '?' | 'L' | 'l' | 'W' | 'w' if index == 3 => true,
        '?' | '#' | '+' if index == 5 => true,
        _ => c.is_ascii_alphabetic() && (index == 4 || index == 5),
    };
    field.chars().find(|&c| !allowed(c))
}

/// croner's message as the rest of a sentence.
fn cause(message: &str) -> String {
    let message = message.split_once(": ").map_or(message, |(_, rest)| rest).trim_end_matches('.');
    let mut chars = message.chars();
    chars.next().map(|first| first.to_ascii_lowercase()).into_iter().chain(chars).collect()
}
