//! The sides of a rollout's comparison.

/// The side that served a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// The version under test.
    Canary,
    /// The version that it is compared with.
    Stable,
    /// The same version, but on a handle that is as fresh as the canary's and has as many users.
    Baseline,
}
