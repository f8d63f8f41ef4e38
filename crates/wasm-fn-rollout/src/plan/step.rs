//! The steps of a canary, as they are written.

use std::{fmt, str::FromStr};

use wasm_fn_core::{CohortName, NameError, Weight, WeightError};

/// Who is on the canary in a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A share of everybody: `10%`.
    Share(Weight),
    /// The users of a cohort, `beta`, or a part of them, `10% of beta`; and nobody else by chance.
    Cohort {
        /// The cohort's name.
        name: CohortName,
        /// The part of it.
        share: Weight,
    },
}

/// Why a text is not a step.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StepError {
    /// It is neither a share nor a name.
    #[error("{0:?} is not a step, expected a share such as 10%, the name of a cohort, or 10% of NAME")]
    Malformed(String),
    /// Its share.
    #[error(transparent)]
    Share(#[from] WeightError),
    /// Its cohort.
    #[error(transparent)]
    Cohort(#[from] NameError),
}

impl Step {
    /// The part of what it is about, of everybody or of a cohort.
    pub fn share(&self) -> Weight {
        let (Self::Share(share) | Self::Cohort { share, .. }) = self;
        *share
    }

    /// The cohort that it is about.
    pub fn cohort(&self) -> Option<&CohortName> {
        match self {
            Self::Share(_) => None,
            Self::Cohort { name, .. } => Some(name),
        }
    }
}

impl From<Weight> for Step {
    fn from(share: Weight) -> Self {
        Self::Share(share)
    }
}

impl FromStr for Step {
    type Err = StepError;

    fn from_str(text: &str) -> Result<Self, StepError> {
        let mut words = text.split_ascii_whitespace();
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some(share), Some("of"), Some(name), None) => {
                Ok(Self::Cohort { share: share.parse()?, name: name.parse()? })
            }
            (Some(share), None, ..) if share.starts_with(|c: char| c.is_ascii_digit()) => {
                Ok(Self::Share(share.parse()?))
            }
            (Some(name), None, ..) if name.starts_with(char::is_alphabetic) => {
                Ok(Self::Cohort { share: Weight::FULL, name: name.parse()? })
            }
            _ => Err(StepError::Malformed(text.to_owned())),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Share(share) => share.fmt(f),
            Self::Cohort { name, share: Weight::FULL } => name.fmt(f),
            Self::Cohort { name, share } => write!(f, "{share} of {name}"),
        }
    }
}

#[cfg(test)]
mod tests;
