//! The slots of a node: which are free, and which image each holds.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use crate::{
    area::{Area, page_bytes},
    fault_window::{self, FaultWindow},
    image::Image,
    pages::PageMap,
    slot::{Cleaner, Slot},
};

/// How many memories there can be, and how large.
#[derive(Clone, Copy, Debug)]
pub struct MemoriesOptions {
    /// Memories at once.
    pub slots: usize,
    /// Addresses of each, bytes: the most it can grow to. Whole pages.
    pub slot_bytes: usize,
    /// Guard before and behind each, which nobody may touch, bytes. Whole pages.
    pub guard_bytes: usize,
    /// Most memory that a free slot keeps for its next guest, bytes.
    pub keep_bytes: usize,
}

/// All memories of a node.
#[derive(Debug)]
pub struct Memories {
    options: MemoriesOptions,
    pub(crate) cleaner: Cleaner,
    unused: Mutex<Unused>,
    // Adding an image removes dead entries.
    images: Mutex<Images>,
}

/// Slots without an image.
#[derive(Debug, Default)]
struct Unused {
    /// Slots from here on were never used.
    next: usize,
    cleared: Vec<Slot>,
}

#[derive(Debug, Default)]
struct Images {
    known: Vec<Weak<Image>>,
    /// Where the search for a free slot continues.
    cursor: usize,
    /// When this many images are known, dead entries are removed.
    prune_at: usize,
}

impl Memories {
    /// Reserves the addresses.
    ///
    /// # Errors
    /// The process has too few left.
    pub fn new(options: MemoriesOptions) -> io::Result<Arc<Self>> {
        let MemoriesOptions { slots, slot_bytes, guard_bytes, keep_bytes } = options;
        let stride = slot_bytes + guard_bytes;
        let bytes = slots.checked_mul(stride).and_then(|bytes| bytes.checked_add(guard_bytes));
        let area = Area::reserve(bytes.ok_or(io::ErrorKind::OutOfMemory)?)?;
        let page_bytes = page_bytes();
        let (page_map, pages_max) = (PageMap::open().ok(), keep_bytes / page_bytes);
        let faults_are_counted = fault_window::faults_are_counted()?;
        let cleaner = Cleaner { area, page_bytes, pages_max, page_map, faults_are_counted };
        Ok(Arc::new(Self { options, cleaner, unused: Mutex::default(), images: Mutex::default() }))
    }

    /// Most bytes that one memory can grow to.
    pub fn bytes_max(&self) -> usize {
        self.options.slot_bytes
    }

    /// Whether a memory has this many addresses, and a guard of this size behind them.
    pub(crate) fn fits(&self, reserved_bytes: Option<usize>, guard_bytes: usize) -> bool {
        reserved_bytes.unwrap_or(0) <= self.options.slot_bytes && guard_bytes <= self.options.guard_bytes
    }

    pub(crate) fn register(&self, image: &Arc<Image>) {
        let mut images = lock(&self.images);
        if images.known.len() >= images.prune_at {
            images.known.retain(|image| image.strong_count() > 0);
            images.prune_at = 2 * images.known.len() + 16;
        }
        images.known.push(Arc::downgrade(image));
    }

    /// Takes a clean slot with `image` and `bytes` open; `None` when all are in use.
    pub(crate) fn take(&self, image: &Image, bytes: usize) -> io::Result<Option<Slot>> {
        let area = &self.cleaner.area;
        let (mut slot, mapped) = match image.free.take() {
            Some(slot) => (slot, Ok(())),
            None => match self.take_unused().or_else(|| self.take_from_another()) {
                Some(mut slot) => {
                    let mapped = slot.map_image(area, image.content.as_ref());
                    (slot, mapped)
                }
                None => return Ok(None),
            },
        };
        match mapped.and_then(|()| slot.fit(area, bytes)) {
            Ok(()) => Ok(Some(slot)),
            Err(error) => {
                self.discard(slot);
                Err(error)
            }
        }
    }

    fn take_unused(&self) -> Option<Slot> {
        let mut unused = lock(&self.unused);
        if let Some(slot) = unused.cleared.pop() {
            return Some(slot);
        }
        if unused.next == self.options.slots {
            return None;
        }
        let MemoriesOptions { slot_bytes, guard_bytes, .. } = self.options;
        let offset = guard_bytes + unused.next * (slot_bytes + guard_bytes);
        unused.next += 1;
        Some(Slot::new(self.cleaner.area.start() + offset))
    }

    /// Takes a free slot from another image, and unmaps that image.
    fn take_from_another(&self) -> Option<Slot> {
        let mut images = lock(&self.images);
        let count = images.known.len();
        for _ in 0..count {
            images.cursor = (images.cursor + 1) % count;
            let Some(image) = images.known[images.cursor].upgrade() else { continue };
            let Some(mut slot) = image.free.take() else { continue };
            // Dropping the last reference to an image locks `unused`, which is not held here.
            if self.unmap_image(&mut slot) {
                return Some(slot);
            }
        }
        None
    }

    /// Takes `slot` of `image` back from a guest that is gone.
    pub(crate) fn put(&self, image: &Image, mut slot: Slot, window: FaultWindow) {
        let known = self.cleaner.faults_are_counted && window.end();
        match slot.clean(&self.cleaner, image.content.as_ref(), known) {
            Ok(()) => image.free.put(slot),
            Err(error) => {
                tracing::warn!(%error, "a memory is not reset in place");
                self.discard(slot);
            }
        }
    }

    /// Takes a slot back, whatever it holds.
    pub(crate) fn discard(&self, mut slot: Slot) {
        if self.unmap_image(&mut slot) {
            lock(&self.unused).cleared.push(slot);
        }
    }

    /// Returns `false` when the content of `slot` is still there. Nobody may use the slot then.
    fn unmap_image(&self, slot: &mut Slot) -> bool {
        let unmapped = slot.unmap_image(&self.cleaner.area);
        unmapped.inspect_err(|error| tracing::warn!(%error, "a memory is lost: it is not cleared")).is_ok()
    }

    /// Gives all memory of free slots back to the system. Returns how many slots had some.
    pub fn decommit(&self) -> usize {
        let images: Vec<_> = lock(&self.images).known.iter().filter_map(Weak::upgrade).collect();
        let mut slots = 0;
        for image in images {
            image.free.for_each(|slot| match slot.decommit(&self.cleaner.area) {
                Ok(had) => slots += usize::from(had),
                Err(error) => tracing::warn!(%error, "free memory is not given back"),
            });
        }
        slots
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
