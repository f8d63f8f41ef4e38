//! The two sides of a comparison.

/// Whose request it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// The version under test.
    Canary,
    /// The version it is compared with.
    Stable,
}
