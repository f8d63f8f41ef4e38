//! Version numbers, and the ways in which users name a version.

use std::{fmt, num::NonZeroU32, str::FromStr};

/// The number of an immutable build of a function: `v1`, `v2`, …. Numbers are never reused; there may be
/// gaps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VersionNo(NonZeroU32);

impl VersionNo {
    /// The number of a function's first version.
    pub const FIRST: Self = Self(NonZeroU32::MIN);

    /// The version with `number`; `None` for 0.
    pub fn new(number: u32) -> Option<Self> {
        NonZeroU32::new(number).map(Self)
    }

    /// The plain number.
    pub fn number(self) -> u32 {
        self.0.get()
    }

    /// The next number; `None` if the numbers are used up.
    pub fn next(self) -> Option<Self> {
        self.0.checked_add(1).map(Self)
    }
}

/// A text that is not a version number.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a version number, expected v1, v2, …")]
pub struct VersionNoError(String);

impl FromStr for VersionNo {
    type Err = VersionNoError;

    fn from_str(text: &str) -> Result<Self, VersionNoError> {
        text.strip_prefix('v')
            .filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()) && !digits.starts_with('0'))
            .and_then(|digits| digits.parse().ok())
            .map(Self)
            .ok_or_else(|| VersionNoError(text.to_owned()))
    }
}

impl fmt::Display for VersionNo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("v{}", self.0))
    }
}

/// A version as users name it: by number, or by its current role in a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VersionRef {
    /// `v42`.
    No(VersionNo),
    /// The version that the stage falls back on.
    Stable,
    /// The version that a rollout moves to.
    Canary,
    /// The version that was stable before the current one.
    Previous,
    /// The version with the highest number.
    Latest,
}

/// A text that does not name a version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} does not name a version, expected v1, v2, …, stable, canary, previous or latest")]
pub struct VersionRefError(String);

impl FromStr for VersionRef {
    type Err = VersionRefError;

    fn from_str(text: &str) -> Result<Self, VersionRefError> {
        match text {
            "stable" => Ok(Self::Stable),
            "canary" => Ok(Self::Canary),
            "previous" => Ok(Self::Previous),
            "latest" => Ok(Self::Latest),
            _ => text.parse().map(Self::No).map_err(|VersionNoError(text)| VersionRefError(text)),
        }
    }
}

impl fmt::Display for VersionRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::No(no) => no.fmt(f),
            Self::Stable => f.pad("stable"),
            Self::Canary => f.pad("canary"),
            Self::Previous => f.pad("previous"),
            Self::Latest => f.pad("latest"),
        }
    }
}

#[cfg(test)]
mod tests;
