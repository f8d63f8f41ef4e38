//! The slots of a node: which are free, and whose they become.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use crate::{
    area::{Area, page_bytes},
    image::Image,
    pages::PageMap,
    slot::{Cleaner, Slot},
    stay::{self, Stay},
};

/// How many memories there can be, and how large.
#[derive(Clone, Copy, Debug)]
pub struct MemoriesOptions {
    /// Memories at once.
    pub slots: usize,
    /// Addresses of each, bytes: what it can grow to at most. Whole pages.
    pub slot_bytes: usize,
    /// Addresses before and behind each that nobody may touch, bytes. Whole pages.
    pub guard_bytes: usize,
    /// Memory that a free slot keeps for its next guest at most, bytes.
    pub keep_bytes: usize,
}

/// All memories of a node.
#[derive(Debug)]
pub struct Memories {
    options: MemoriesOptions,
    pub(crate) cleaner: Cleaner,
    unused: Mutex<Unused>,
    // Dead entries are taken out when an image is added.
    images: Mutex<Images>,
}

/// Slots that have no image.
#[derive(Debug, Default)]
struct Unused {
    /// Those from here on were never used.
    next: usize,
    cleared: Vec<Slot>,
}

#[derive(Debug, Default)]
struct Images {
    known: Vec<Weak<Image>>,
    /// Where the search for a free slot goes on.
    cursor: usize,
    /// How many are known when the dead are taken out next.
    prune_at: usize,
}

impl Memories {
    /// Reserves the addresses.
    ///
    /// # Errors
    /// The process has not as many.
    pub fn new(options: MemoriesOptions) -> io::Result<Arc<Self>> {
        let MemoriesOptions { slots, slot_bytes, guard_bytes, keep_bytes } = options;
        let stride = slot_bytes + guard_bytes;
        let bytes = slots.checked_mul(stride).and_then(|bytes| bytes.checked_add(guard_bytes));
        let area = Area::reserve(bytes.ok_or(io::ErrorKind::OutOfMemory)?)?;
        let page_bytes = page_bytes();
        let (page_map, pages_max) = (PageMap::open().ok(), keep_bytes / page_bytes);
        let faults_are_counted = stay::faults_are_counted()?;
        let cleaner = Cleaner { area, page_bytes, pages_max, page_map, faults_are_counted };
        Ok(Arc::new(Self { options, cleaner, unused: Mutex::default(), images: Mutex::default() }))
    }

    /// What one memory can grow to at most, bytes.
    pub fn bytes_max(&self) -> usize {
        self.options.slot_bytes
    }

    /// Whether a memory has as many addresses, and as many behind them that trap.
    pub(crate) fn fits(&self, reserved_bytes: Option<usize>, guard_bytes: usize) -> bool {
        reserved_bytes.unwrap_or(0) <= self.options.slot_bytes && guard_bytes <= self.options.guard_bytes
    }

    pub(crate) fn know(&self, image: &Arc<Image>) {
        let mut images = lock(&self.images);
        if images.known.len() >= images.prune_at {
            images.known.retain(|image| image.strong_count() > 0);
            images.prune_at = 2 * images.known.len() + 16;
        }
        images.known.push(Arc::downgrade(image));
    }

    /// A clean slot with `image`, in which `bytes` are open; `None` when all are in use.
    pub(crate) fn take(&self, image: &Image, bytes: usize) -> io::Result<Option<Slot>> {
        let area = &self.cleaner.area;
        let (mut slot, dressed) = match image.free.take() {
            Some(slot) => (slot, Ok(())),
            None => match self.take_unused().or_else(|| self.take_from_another()) {
                Some(mut slot) => {
                    let dressed = slot.dress(area, image.content.as_ref());
                    (slot, dressed)
                }
                None => return Ok(None),
            },
        };
        match dressed.and_then(|()| slot.fit(area, bytes)) {
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

    /// A free slot of another image, without it.
    fn take_from_another(&self) -> Option<Slot> {
        let mut images = lock(&self.images);
        let count = images.known.len();
        for _ in 0..count {
            images.cursor = (images.cursor + 1) % count;
            let Some(image) = images.known[images.cursor].upgrade() else { continue };
            let Some(mut slot) = image.free.take() else { continue };
            // Whoever drops the last reference to an image takes the lock of what is unused, which is not held here.
            if self.undress(&mut slot) {
                return Some(slot);
            }
        }
        None
    }

    /// Takes back `slot` of `image` from a guest that is gone.
    pub(crate) fn put(&self, image: &Image, mut slot: Slot, stay: Stay) {
        let known = self.cleaner.faults_are_counted && stay.end();
        match slot.clean(&self.cleaner, image.content.as_ref(), known) {
            Ok(()) => image.free.put(slot),
            Err(error) => {
                tracing::warn!(%error, "a memory is not reset in place");
                self.discard(slot);
            }
        }
    }

    /// Takes back a slot without regard to what is in it.
    pub(crate) fn discard(&self, mut slot: Slot) {
        if self.undress(&mut slot) {
            lock(&self.unused).cleared.push(slot);
        }
    }

    /// False when what was in `slot` is still there: then nobody gets it any more.
    fn undress(&self, slot: &mut Slot) -> bool {
        let undressed = slot.undress(&self.cleaner.area);
        undressed.inspect_err(|error| tracing::warn!(%error, "a memory is lost: it is not cleared")).is_ok()
    }

    /// Lets the system have all memory of free slots; how many had some.
    pub fn give_back(&self) -> usize {
        let images: Vec<_> = lock(&self.images).known.iter().filter_map(Weak::upgrade).collect();
        let mut slots = 0;
        for image in images {
            image.free.for_each(|slot| match slot.give_back(&self.cleaner.area) {
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
