//! When an event that a canary failed to handle goes to stable at once.

use std::{fmt, str::FromStr};

/// When an event that a canary failed to handle goes to stable at once, in the same delivery.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Redeliver {
    /// Whatever the canary did before it failed.
    #[default]
    Always,
    /// If the canary had no effect. If it had one, the event is delivered again later, as after a failure of
    /// stable, and draws its version anew.
    EffectFree,
}

/// A word is no [`Redeliver`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{found:?} is not known, expected always or effect-free")]
pub struct RedeliverError {
    /// The word found, shortened.
    pub found: String,
}

impl Redeliver {
    /// The word on the command line and in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::EffectFree => "effect-free",
        }
    }
}

impl fmt::Display for Redeliver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Redeliver {
    type Err = RedeliverError;

    fn from_str(word: &str) -> Result<Self, RedeliverError> {
        let found = [Self::Always, Self::EffectFree].into_iter().find(|value| value.as_str() == word);
        found.ok_or_else(|| RedeliverError { found: word.chars().take(64).collect() })
    }
}
