//! Effects of a guest that cannot be undone.

use std::sync::{
    Arc,
    atomic::{
        AtomicU8,
        Ordering::{AcqRel, Acquire, Release},
    },
};

const NONE: u8 = 0;
const MADE: u8 = 1;
const FORBIDDEN: u8 = 2;
const REFUSED: u8 = 3;

/// Records whether a run of a request had an effect beyond its response. Shared with whatever runs the guest.
///
/// Either an effect comes first, and the request never runs again; or effects are forbidden first because the
/// request runs again, and the guest can have none any more.
#[derive(Clone, Debug, Default)]
pub struct EffectGuard(Arc<AtomicU8>);

impl EffectGuard {
    /// A guard that forbids every effect from the beginning.
    pub(crate) fn forbidding() -> Self {
        Self(Arc::new(AtomicU8::new(FORBIDDEN)))
    }

    /// Records an effect just before it happens. Returns whether it may happen.
    #[must_use = "a forbidden effect must not happen"]
    pub fn begin(&self) -> bool {
        match self.0.compare_exchange(NONE, MADE, AcqRel, Acquire) {
            Ok(_) => true,
            Err(MADE) => true,
            Err(_) => {
                self.0.store(REFUSED, Release);
                false
            }
        }
    }

    /// Whether an effect was refused: what the guest did after that says nothing about it.
    pub(crate) fn has_refused(&self) -> bool {
        self.0.load(Acquire) == REFUSED
    }

    /// Forbids every effect from now on. Returns `false` when one has happened already.
    pub(crate) fn forbid(&self) -> bool {
        self.0.compare_exchange(NONE, FORBIDDEN, AcqRel, Acquire) != Err(MADE)
    }
}

#[cfg(test)]
mod tests;
