//! Traps, with fingerprints that tell them apart.

use std::sync::Arc;

/// A trap of a guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trap {
    /// 64-bit hash of the kind of trap and of the functions in its backtrace. The same trap has the same
    /// fingerprint in two builds if both carry function names; without names, only the kind of trap counts.
    pub fingerprint: u64,
    /// The trap and its backtrace, one line for each frame, in at most 4 KiB.
    pub backtrace: Arc<str>,
}
