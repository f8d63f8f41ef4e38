//! Traps, told from each other.

use std::sync::Arc;

/// A trap of a guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trap {
    /// 64-bit hash of what the trap was and of the functions it came through. Two builds give the same trap
    /// the same fingerprint when they carry names of functions; without names only the kind of trap counts.
    pub fingerprint: u64,
    /// The trap and its backtrace, a line each, in at most 4 KiB.
    pub backtrace: Arc<str>,
}
