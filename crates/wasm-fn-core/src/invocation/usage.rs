//! The resources that one invocation used.

use std::time::Duration;

/// The resources that one invocation used, whether it succeeded or not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Time in the queue, before the invocation ran.
    pub queue_wait: Duration,
    /// Largest size of the linear memory, in bytes.
    pub memory_peak_bytes: u64,
    /// Whether the guest asked for memory or state that the node did not have. In that case no failure is
    /// charged to the version.
    pub starved: bool,
}
