//! Why a component is not fused.

use wasm_encoder::reencode;

/// Why a component is not fused. It can still be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotFused {
    /// The bytes are not a valid component.
    #[error("not a valid component: {reason}")]
    Invalid {
        /// Where and why.
        reason: String,
    },
    /// There are too few core instances.
    #[error("found {found} core instances, expected at least 3")]
    Few {
        /// How many.
        found: usize,
    },
    /// It has a structure that is not supported.
    #[error("found {found}, expected {expected}")]
    Shape {
        /// What was found.
        found: &'static str,
        /// What was expected.
        expected: &'static str,
    },
    /// The result is not valid.
    #[error("expected a valid component when it is fused, found one that is not: {reason}")]
    Wrong {
        /// Where and why.
        reason: String,
    },
}

impl NotFused {
    /// An index out of range, which validation rules out.
    pub(crate) const NOWHERE: Self =
        Self::Shape { found: "an index of nothing", expected: "one of what is defined before" };

    pub(crate) fn shape<T>(found: &'static str, expected: &'static str) -> Result<T, Self> {
        Err(Self::Shape { found, expected })
    }
}

impl From<wasmparser::Error> for NotFused {
    fn from(error: wasmparser::Error) -> Self {
        Self::Invalid { reason: error.to_string() }
    }
}

impl From<reencode::Error<Self>> for NotFused {
    fn from(error: reencode::Error<Self>) -> Self {
        match error {
            reencode::Error::UserError(error) => error,
            reencode::Error::ParseError(error) => error.into(),
            other => Self::Invalid { reason: other.to_string() },
        }
    }
}

/// Converts an error of re-encoding without changes, which cannot have an error of its own.
pub(crate) fn roundtrip(error: reencode::Error) -> NotFused {
    NotFused::Invalid { reason: error.to_string() }
}
