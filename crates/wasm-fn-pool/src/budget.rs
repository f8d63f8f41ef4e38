//! The budget: the memory that all guests of the node share, and how much of it one version may take.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use crate::share;

/// Memory of all guests together.
#[derive(Debug)]
pub struct Budget {
    max_bytes: u64,
    // Invariant: the sum of what the parts hold, at most `max_bytes`.
    used_bytes: AtomicU64,
}

/// What one version holds of a [`Budget`].
#[derive(Debug)]
pub struct BudgetPart {
    budget: Arc<Budget>,
    used_bytes: AtomicU64,
}

impl Budget {
    /// Room for `max_bytes`.
    pub fn new(max_bytes: u64) -> Self {
        Self { max_bytes, used_bytes: AtomicU64::new(0) }
    }

    /// A part that holds nothing yet.
    pub fn part(self: &Arc<Self>) -> BudgetPart {
        BudgetPart { budget: Arc::clone(self), used_bytes: AtomicU64::new(0) }
    }

    /// Bytes that the parts may hold together.
    pub fn max_bytes(&self) -> u64 {
        self.max_bytes
    }

    /// Bytes that the parts hold.
    pub fn used_bytes(&self) -> u64 {
        self.used_bytes.load(Relaxed)
    }
}

impl BudgetPart {
    /// Takes `bytes`; false, and nothing is taken, when there is not as much left, or when the part would
    /// hold more than its fair share.
    #[must_use = "what was taken must be given back"]
    pub fn try_take(&self, bytes: u64) -> bool {
        let own = self.used_bytes.load(Relaxed);
        let more = |used: u64| {
            let after = used.checked_add(bytes).filter(|&after| after <= self.budget.max_bytes)?;
            let free = self.budget.max_bytes - after;
            (own == 0 || share::has(own.saturating_add(bytes), free)).then_some(after)
        };
        if self.budget.used_bytes.try_update(Relaxed, Relaxed, more).is_err() {
            return false;
        }
        self.used_bytes.fetch_add(bytes, Relaxed);
        true
    }

    /// Gives `bytes` back that were taken.
    pub fn give_back(&self, bytes: u64) {
        self.used_bytes.fetch_sub(bytes, Relaxed);
        self.budget.used_bytes.fetch_sub(bytes, Relaxed);
    }

    /// Bytes that this part holds.
    pub fn used_bytes(&self) -> u64 {
        self.used_bytes.load(Relaxed)
    }
}

#[cfg(test)]
mod tests;
