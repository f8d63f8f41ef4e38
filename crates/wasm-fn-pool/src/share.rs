//! The fair share: how much of a shared resource one version may hold.
//!
//! A version that holds some may take more as long as it holds at most seven times what is free (the dynamic
//! threshold of A. K. Choudhury and E. L. Hahne, "Dynamic queue length thresholds for shared-memory packet
//! switches", 1998). One version alone gets seven eighths; `n` greedy ones get `7 / (7n + 1)` each. Some is
//! always free for a version that holds nothing, and nobody needs to know how many versions there are.

/// A version may hold this many times what is free.
const TIMES_FREE: u64 = 7;

/// Fewest places of which an eighth is a whole place.
pub(crate) const PLACES_MIN: u32 = 8;

/// Whether a version that holds `own` is within its share while `free` is left.
pub(crate) fn has(own: u64, free: u64) -> bool {
    own <= free.saturating_mul(TIMES_FREE)
}

/// The most of `all` that a version may hold while no other holds any; at least 1.
pub fn max(all: u32) -> u32 {
    (all - all / PLACES_MIN).max(1)
}

#[cfg(test)]
mod tests;
