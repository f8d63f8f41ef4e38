//! Slots: how many instances the node holds at once.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

/// The node's room for instances.
#[derive(Debug)]
pub struct Slots {
    max: usize,
    // Invariant: the number of permits alive, at most `max`.
    used: AtomicUsize,
}

/// The right to have one instance alive.
///
/// Keep it with the instance: its slot is free again when it is dropped, whether the instance served,
/// failed to start, or was never made.
#[must_use = "a dropped permit gives its slot back"]
#[derive(Debug)]
pub struct StartPermit {
    slots: Arc<Slots>,
    /// Instances of the pool that gave it; shared with that pool.
    live: Arc<AtomicUsize>,
}

impl Slots {
    /// Room for `max` instances.
    pub fn new(max: usize) -> Self {
        Self { max, used: AtomicUsize::new(0) }
    }

    /// Takes a slot, for an instance that belongs to no pool; `None` when every slot is taken.
    pub fn try_take(self: &Arc<Self>) -> Option<StartPermit> {
        self.try_take_for(&Arc::default(), usize::MAX, 0)
    }

    /// Takes a slot for one more of `live`, unless `live_max` are alive or no more than `spared` slots
    /// are free.
    pub(crate) fn try_take_for(
        self: &Arc<Self>,
        live: &Arc<AtomicUsize>,
        live_max: usize,
        spared: usize,
    ) -> Option<StartPermit> {
        let below = |max: usize| move |count: usize| (count < max).then(|| count + 1);
        live.try_update(Relaxed, Relaxed, below(live_max)).ok()?;
        let end = self.max.saturating_sub(spared);
        if self.used.try_update(Relaxed, Relaxed, below(end)).is_err() {
            live.fetch_sub(1, Relaxed);
            return None;
        }
        Some(StartPermit { slots: Arc::clone(self), live: Arc::clone(live) })
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

impl Drop for StartPermit {
    fn drop(&mut self) {
        self.live.fetch_sub(1, Relaxed);
        self.slots.used.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests;
