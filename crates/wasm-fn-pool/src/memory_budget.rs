//! The memory that all guests of the node share, and how much of it one version may take.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use crate::share;

/// Limits the memory of all guests together.
#[derive(Debug)]
pub struct MemoryBudget {
    max_bytes: u64,
    // Invariant: the sum of what the shares hold, at most `max_bytes`.
    used_bytes: AtomicU64,
}

/// The part of a [`MemoryBudget`] that one version holds.
#[derive(Debug)]
pub struct MemoryShare {
    budget: Arc<MemoryBudget>,
    used_bytes: AtomicU64,
}

impl MemoryBudget {
    /// A budget of `max_bytes`.
    pub fn new(max_bytes: u64) -> Self {
        Self { max_bytes, used_bytes: AtomicU64::new(0) }
    }

    /// A new share, which holds nothing.
    pub fn share(self: &Arc<Self>) -> MemoryShare {
        MemoryShare { budget: Arc::clone(self), used_bytes: AtomicU64::new(0) }
    }

    /// Most bytes that all shares may hold together.
    pub fn max_bytes(&self) -> u64 {
        self.max_bytes
    }

    /// Bytes that all shares hold.
    pub fn used_bytes(&self) -> u64 {
        self.used_bytes.load(Relaxed)
    }
}

impl MemoryShare {
    /// Reserves `bytes`. Returns `false`, and reserves nothing, when the budget has less left or the version
    /// would hold more than its fair share.
    #[must_use = "reserved memory must be released"]
    pub fn try_reserve(&self, bytes: u64) -> bool {
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

    /// Returns `bytes` that were reserved.
    pub fn release(&self, bytes: u64) {
        self.used_bytes.fetch_sub(bytes, Relaxed);
        self.budget.used_bytes.fetch_sub(bytes, Relaxed);
    }

    /// Bytes that this share holds.
    pub fn used_bytes(&self) -> u64 {
        self.used_bytes.load(Relaxed)
    }
}

#[cfg(test)]
mod tests;
