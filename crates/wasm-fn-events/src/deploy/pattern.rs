//! Names of branches and tags, with stars.

use std::{fmt, str::FromStr};

/// Longest pattern in bytes.
pub const PATTERN_BYTES_MAX: usize = 256;

/// A branch or tag such as `main`, or several, such as `release/*`: a star stands for any characters, also
/// none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefPattern(String);

/// Why a text is no pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RefPatternError {
    /// It is empty or too long.
    #[error("pattern is {bytes} bytes long, expected 1 to {PATTERN_BYTES_MAX}")]
    Length {
        /// Length found.
        bytes: usize,
    },
    /// It has a character that no name has (git-check-ref-format).
    #[error("pattern has {found:?} at byte {at}, which no branch or tag has")]
    Character {
        /// The character.
        found: char,
        /// Its byte offset.
        at: usize,
    },
    /// It is a whole reference.
    #[error("pattern {found:?} begins with refs/, expected the short name, such as main")]
    Whole {
        /// The text found.
        found: String,
    },
}

impl RefPattern {
    /// Whether the whole of `name` is as the pattern says.
    pub fn matches(&self, name: &str) -> bool {
        let mut parts = self.0.split('*');
        let first = parts.next().unwrap_or_default();
        let Some(mut rest) = name.strip_prefix(first) else { return false };
        let Some(last) = parts.next_back() else { return rest.is_empty() };
        // Each part at its first place leaves the most for those behind it.
        for part in parts {
            let Some(at) = rest.find(part) else { return false };
            rest = &rest[at + part.len()..];
        }
        rest.ends_with(last)
    }

    /// `main or release/*`.
    pub(super) fn list(patterns: &[Self]) -> String {
        let texts: Vec<_> = patterns.iter().map(Self::as_str).collect();
        texts.join(" or ")
    }

    /// The pattern as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RefPattern {
    type Err = RefPatternError;

    fn from_str(text: &str) -> Result<Self, RefPatternError> {
        if !(1..=PATTERN_BYTES_MAX).contains(&text.len()) {
            return Err(RefPatternError::Length { bytes: text.len() });
        }
        let unfit = |c: char| c.is_control() || " ~^:?[\\".contains(c);
        if let Some((at, found)) = text.char_indices().find(|&(_, c)| unfit(c)) {
            return Err(RefPatternError::Character { found, at });
        }
        if text.starts_with("refs/") {
            return Err(RefPatternError::Whole { found: text.to_owned() });
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for RefPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}
