//! The fair share: how much of what all versions share one of them may hold.
//!
//! Whoever holds something may take more as long as it does not hold more than seven times what is
//! free (the dynamic threshold of A. K. Choudhury and E. L. Hahne, "Dynamic queue length thresholds for
//! shared-memory packet switches", 1998). One version alone gets seven eighths; `n` greedy ones get
//! `7 / (7n + 1)` each; and there is always something free for one that holds nothing. Nobody needs to
//! know how many there are.

/// How many times what is free one may hold.
const TIMES_FREE: u64 = 7;

/// Places of which an eighth is at least one.
pub(crate) const PLACES_MIN: u32 = 8;

/// Whether one that holds `own` is within its share while `free` is left.
pub(crate) fn has(own: u64, free: u64) -> bool {
    own <= free.saturating_mul(TIMES_FREE)
}

/// The most of `all` that one may hold while nobody else holds anything; at least 1.
pub fn most(all: u32) -> u32 {
    (all - all / PLACES_MIN).max(1)
}

#[cfg(test)]
mod tests;
