//! When events that a canary failed to handle go to another version.

/// When an event that a canary failed to handle goes to the version that the canary is to replace, at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Redelivery {
    /// Whatever the canary did before it failed. Deliveries are repeated anyway when they fail.
    Always,
    /// Only if the canary had no effect.
    EffectFree,
}
