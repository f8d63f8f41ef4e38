//! What one invocation used.

use std::time::Duration;

/// What one invocation used, whether it succeeded or not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Time spent waiting for a place among the running invocations.
    pub queue_wait: Duration,
    /// Largest linear memory, bytes.
    pub memory_peak_bytes: u64,
    /// Whether the guest asked for memory that the node did not have. Then no failure is charged to the
    /// version.
    pub starved: bool,
}
