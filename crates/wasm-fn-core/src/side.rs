//! The sides of a comparison.

/// Whose request it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// The version under test.
    Canary,
    /// The version it is compared with.
    Stable,
    /// That version too, by a handle that is as fresh as the canary's and has as many users.
    Baseline,
}
