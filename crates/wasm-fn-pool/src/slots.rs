//! Limits how many instances the node holds at once.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

/// The slots of the node, one for each instance.
#[derive(Debug)]
pub struct Slots {
    max: usize,
    // Invariant: the number of permits alive, at most `max`.
    used: AtomicUsize,
}

/// The right to have one instance alive.
///
/// Keep it with the instance. Dropping it frees the slot, whether the instance served, failed to start, or
/// was never made.
#[must_use = "dropping a permit frees its slot"]
#[derive(Debug)]
pub struct StartPermit(Arc<Live>);

/// Counts the instances of one pool that are alive.
#[derive(Debug)]
pub(crate) struct Live {
    slots: Arc<Slots>,
    // Invariant: the number of its permits alive.
    count: AtomicUsize,
}

impl Slots {
    /// Slots for `max` instances.
    pub fn new(max: usize) -> Self {
        Self { max, used: AtomicUsize::new(0) }
    }

    /// Takes a slot, for an instance that belongs to no pool; `None` when every slot is taken.
    pub fn try_take(self: &Arc<Self>) -> Option<StartPermit> {
        Arc::new(Live::new(Arc::clone(self))).try_take(usize::MAX, 0)
    }

    /// Most instances at once.
    pub fn max(&self) -> usize {
        self.max
    }

    /// Instances alive, or about to be.
    pub fn used(&self) -> usize {
        self.used.load(Relaxed)
    }
}

impl Live {
    /// A count of zero, of instances that use `slots`.
    pub(crate) fn new(slots: Arc<Slots>) -> Self {
        Self { slots, count: AtomicUsize::new(0) }
    }

    /// Takes a slot for one more, unless `live_max` are alive or no more than `spared` slots are free.
    pub(crate) fn try_take(self: &Arc<Self>, live_max: usize, spared: usize) -> Option<StartPermit> {
        let below = |max: usize| move |count: usize| (count < max).then(|| count + 1);
        self.count.try_update(Relaxed, Relaxed, below(live_max)).ok()?;
        let end = self.slots.max.saturating_sub(spared);
        if self.slots.used.try_update(Relaxed, Relaxed, below(end)).is_err() {
            self.count.fetch_sub(1, Relaxed);
            return None;
        }
        Some(StartPermit(Arc::clone(self)))
    }

    /// The slots that this pool shares with others.
    pub(crate) fn slots(&self) -> &Slots {
        &self.slots
    }

    /// How many instances are alive.
    pub(crate) fn count(&self) -> usize {
        self.count.load(Relaxed)
    }
}

impl Drop for StartPermit {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, Relaxed);
        self.0.slots.used.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests;
