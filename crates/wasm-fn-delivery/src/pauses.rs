//! The interface through which triggers and rollouts are paused.

use std::{future::Future, pin::Pin};

use wasm_fn_core::VersionNo;
use wasm_fn_events::TriggerId;

/// Pauses triggers and rollouts, where that is decided.
pub trait Pauses: Send + Sync + 'static {
    /// Pauses the schedule `trigger`, because that many of its runs failed one after the other.
    ///
    /// # Errors
    /// Why it was not paused.
    fn pause<'a>(&'a self, trigger: &'a TriggerId, failures: u32) -> Pausing<'a>;

    /// Pauses the rollout whose `canary` has failed a run without effects of the schedule `trigger`, for this
    /// `reason`. Does nothing if it is paused.
    ///
    /// # Errors
    /// Why it was not paused.
    fn pause_rollout<'a>(&'a self, trigger: &'a TriggerId, canary: VersionNo, reason: String) -> Pausing<'a>;
}

/// A future of a [`Pauses`].
pub type Pausing<'a> = Pin<Box<dyn Future<Output = Result<(), String>> + Send + 'a>>;
