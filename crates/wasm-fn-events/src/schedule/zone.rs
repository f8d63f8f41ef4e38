//! Time zones: what clocks on the wall show at a moment, and at which moments they show a time.
//!
//! Times on the wall are seconds since the Unix epoch as if the wall's clock showed UTC, so that they add and
//! compare like moments.

use std::{fmt, str::FromStr};

use chrono::{DateTime, MappedLocalTime, NaiveDateTime, Offset as _, TimeZone as _};
use chrono_tz::{TZ_VARIANTS, Tz};

/// A time zone by its name in the IANA database, such as `Europe/Berlin`. Its rules are part of the program.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Zone(Tz);

/// A name is not that of a time zone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no time zone {found:?}{}", suggestion.map_or_else(
    || ", expected a name of the IANA database such as Europe/Berlin".to_owned(),
    |name| format!(", did you mean {name}?"),
))]
pub struct ZoneError {
    /// The name found, at most its first 64 characters.
    pub found: String,
    /// A name that is much like it.
    pub suggestion: Option<&'static str>,
}

/// The moments at which the clocks of a zone show one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wall {
    /// At this moment.
    Once(i64),
    /// At both, because the clocks went back between them.
    Twice(i64, i64),
    /// At none, because the clocks went forward past it. They did so at this moment.
    Skipped(i64),
}

/// Seconds of a day. No zone is further from UTC, and none changes its clocks twice in one.
pub(super) const DAY: i64 = 24 * 3600;

impl Zone {
    /// Coordinated Universal Time.
    pub const UTC: Self = Self(Tz::UTC);

    /// The name in the IANA database.
    pub fn name(self) -> &'static str {
        self.0.name()
    }

    /// Seconds by which the clocks are ahead of UTC at `moment`.
    fn offset(self, moment: i64) -> i64 {
        if self.0 == Tz::UTC {
            return 0;
        }
        self.0.offset_from_utc_datetime(&naive(moment)).fix().local_minus_utc().into()
    }

    /// What the clocks show at `moment`.
    pub(super) fn wall_at(self, moment: i64) -> i64 {
        moment + self.offset(moment)
    }

    /// When the clocks show `wall`.
    pub(super) fn moments(self, wall: i64) -> Wall {
        if self.0 == Tz::UTC {
            return Wall::Once(wall);
        }
        let moment = |ahead: i32| wall - i64::from(ahead);
        match self.0.offset_from_local_datetime(&naive(wall)).map(|offset| offset.fix().local_minus_utc()) {
            MappedLocalTime::Single(ahead) => Wall::Once(moment(ahead)),
            MappedLocalTime::Ambiguous(a, b) => {
                Wall::Twice(moment(a).min(moment(b)), moment(a).max(moment(b)))
            }
            MappedLocalTime::None => Wall::Skipped(self.change(wall - 2 * DAY, wall + 2 * DAY)),
        }
    }

    /// The first moment after `from` whose clocks do not go as at `from`, where those at `to` do not.
    pub(super) fn change(self, from: i64, to: i64) -> i64 {
        let ahead = self.offset(from);
        let (mut before, mut after) = (from, to);
        while after - before > 1 {
            let middle = before + (after - before) / 2;
            if self.offset(middle) == ahead { before = middle } else { after = middle }
        }
        after
    }
}

/// The time that a clock on UTC shows at `seconds`.
fn naive(seconds: i64) -> NaiveDateTime {
    utc(seconds).naive_utc()
}

/// The moment at `seconds`, for libraries.
pub(super) fn utc(seconds: i64) -> DateTime<chrono::Utc> {
    DateTime::from_timestamp_secs(seconds).expect("times lie between 1969 and 10000, and chrono's go further")
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Zone {
    type Err = ZoneError;

    fn from_str(name: &str) -> Result<Self, ZoneError> {
        name.parse().map(Self).map_err(|_| {
            let found: String = name.chars().take(64).collect();
            let suggestion = suggestion(&found);
            ZoneError { found, suggestion }
        })
    }
}

/// The zone whose name differs from `name` in case only, or else whose city is `name`, or else whose name has
/// one or two other letters.
fn suggestion(name: &str) -> Option<&'static str> {
    let names = || TZ_VARIANTS.iter().map(|zone| zone.name());
    let plain = name.replace(' ', "_");
    let same = |other: &str| other.eq_ignore_ascii_case(&plain);
    let city = |other: &&str| other.rsplit('/').next().is_some_and(same);
    let near =
        || names().map(|other| (distance(&plain, other), other)).min().filter(|&(edits, _)| edits <= 2);
    let exact = names().find(|other| same(other)).or_else(|| names().find(city));
    exact.or_else(|| near().map(|(_, other)| other))
}

/// Letters to insert, remove or replace to get from `a` to `b`, whatever their case.
fn distance(a: &str, b: &str) -> usize {
    let (a, b) = (a.to_ascii_lowercase(), b.to_ascii_lowercase());
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
