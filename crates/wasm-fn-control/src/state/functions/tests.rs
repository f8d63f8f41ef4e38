//! What other tests ask of the functions: whether the indexes are right, and how many functions were looked
//! at.

use std::cell::Cell;

use super::*;

thread_local! {
    static LOOKED_AT: Cell<usize> = const { Cell::new(0) };
}

/// Notes that a walk over functions has come to one.
pub(super) fn look() {
    LOOKED_AT.set(LOOKED_AT.get() + 1);
}

/// How many functions walks on this thread have come to since the last call.
pub(crate) fn looked_at() -> usize {
    LOOKED_AT.take()
}

impl Functions {
    /// Checks that the indexes are those of the functions.
    pub(crate) fn check_indexes(&self) {
        let anew: Self = self.by_name.iter().map(|(name, found)| (name.clone(), Arc::clone(found))).collect();
        assert_eq!(self.claimants, anew.claimants);
        assert_eq!(self.by_revision, anew.by_revision);
        assert_eq!((&self.with_triggers, self.triggers), (&anew.with_triggers, anew.triggers));
    }
}
