//! What a guest did that cannot be undone.

use std::sync::{
    Arc,
    atomic::{
        AtomicU8,
        Ordering::{AcqRel, Acquire},
    },
};

const NONE: u8 = 0;
const MADE: u8 = 1;
const FORBIDDEN: u8 = 2;

/// Whether a run of a request had an effect beyond its answer; shared with whatever runs the guest.
///
/// Either an effect is made first, and the request never runs again; or effects are forbidden first, for the
/// request runs again, and the guest that still has one in mind is refused it.
#[derive(Clone, Debug, Default)]
pub struct Effects(Arc<AtomicU8>);

impl Effects {
    /// Notes an effect just before it is made, and says whether it may be made.
    #[must_use = "a forbidden effect must not be made"]
    pub fn begin(&self) -> bool {
        match self.0.compare_exchange(NONE, MADE, AcqRel, Acquire) {
            Ok(_) => true,
            Err(found) => found == MADE,
        }
    }

    /// Forbids every effect from now on; `false` when one was made.
    pub(crate) fn forbid(&self) -> bool {
        self.0.compare_exchange(NONE, FORBIDDEN, AcqRel, Acquire) != Err(MADE)
    }
}

#[cfg(test)]
mod tests;
