//! Why a component is left as it is.

use wasm_encoder::reencode;

/// Why a component was not fused. It can be used as it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotFused {
    /// The bytes are no valid component.
    #[error("not a valid component: {reason}")]
    Invalid {
        /// Where and why.
        reason: String,
    },
    /// There are few core instances already.
    #[error("found {found} core instances, expected at least 3")]
    Few {
        /// How many.
        found: usize,
    },
    /// It is made in a way that is not understood here.
    #[error("found {found}, expected {expected}")]
    Shape {
        /// What there is.
        found: &'static str,
        /// What there should be.
        expected: &'static str,
    },
    /// What was made of it is not valid.
    #[error("expected a valid component when it is fused, found one that is not: {reason}")]
    Wrong {
        /// Where and why.
        reason: String,
    },
}

impl NotFused {
    /// For an index that points nowhere, which validation has ruled out.
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
