//! The slots of a node: which are free, and which image each holds.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak, mpsc},
    thread,
};

use crate::{
    area::{Area, page_bytes},
    fault_window::{self, FaultWindow},
    image::Image,
    pages::PageMap,
    reset_audit::{Audit, Isolation, MemoryReset},
    slot::{Cleaner, Cleaning, Slot},
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
    /// How memories are reset. If the kernel cannot do that, the next safer way is taken.
    pub reset: MemoryReset,
    /// One reset in this many is audited, on average; none if it is 0.
    pub audit_one_in: u32,
}

/// Memories with more bytes than this are compared with their image on a thread of their own: reading 16 MiB
/// takes some milliseconds.
const COMPARED_HERE_BYTES: usize = 16 << 20;

/// All memories of a node.
#[derive(Debug)]
pub struct Memories {
    options: MemoriesOptions,
    pub(crate) cleaner: Cleaner,
    audit: Audit,
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
        let MemoriesOptions { slots, slot_bytes, guard_bytes, keep_bytes, reset, audit_one_in } = options;
        let stride = slot_bytes + guard_bytes;
        let bytes = slots.checked_mul(stride).and_then(|bytes| bytes.checked_add(guard_bytes));
        let area = Area::reserve(bytes.ok_or(io::ErrorKind::OutOfMemory)?)?;
        let page_bytes = page_bytes();
        let (page_map, pages_max) = (PageMap::open().ok(), keep_bytes / page_bytes);
        let audit = Audit::new(reset.min(offered_reset(page_map.is_some())?), audit_one_in);
        let cleaner = Cleaner { area, page_bytes, pages_max, page_map };
        let (unused, images) = (Mutex::default(), Mutex::default());
        Ok(Arc::new(Self { options, cleaner, audit, unused, images }))
    }

    /// How memories are reset, and what audits of that have found.
    pub fn isolation(&self) -> Isolation {
        self.audit.report()
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
            // What is known to be clean may not be, after a fault.
            Some(mut slot) if self.audit.has_failed() && !slot.is_discarded() => {
                let mapped = slot.unmap_image(area).and_then(|()| slot.map_image(area, image.initial()));
                (slot, mapped)
            }
            Some(slot) => (slot, Ok(())),
            None => match self.take_unused().or_else(|| self.take_from_another()) {
                Some(mut slot) => {
                    let mapped = slot.map_image(area, image.initial());
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
    pub(crate) fn put(image: &Arc<Image>, slot: Slot, window: FaultWindow) {
        let this = &image.memories;
        let how = match this.audit.reset() {
            MemoryReset::Discard => Cleaning::Discard,
            MemoryReset::Scan => Cleaning::Scan,
            MemoryReset::Counted if window.end() => Cleaning::Known,
            MemoryReset::Counted => Cleaning::Scan,
        };
        this.put_after(image, slot, how);
    }

    fn put_after(&self, image: &Arc<Image>, mut slot: Slot, how: Cleaning) {
        if how == Cleaning::Known && self.audit.scans() {
            match slot.unknown_page(&self.cleaner) {
                Ok(None) => {}
                Ok(Some(at)) => return self.lose(slot, at, "a page that no fault was counted for"),
                Err(error) => return self.clear(slot, &error),
            }
        }
        match slot.clean(&self.cleaner, image.initial(), how) {
            Ok(()) if self.audit.compares() => self.put_compared(image, slot),
            Ok(()) => image.free.put(slot),
            Err(error) => self.clear(slot, &error),
        }
    }

    /// Compares a clean slot with `image` before anybody gets it.
    fn put_compared(&self, image: &Arc<Image>, slot: Slot) {
        let compare = |image: &Image, slot: Slot| {
            let this = &image.memories;
            match slot.difference(&this.cleaner.area, image.initial()) {
                Ok(None) => image.free.put(slot),
                Ok(Some(at)) => this.lose(slot, at, "a byte that is not its image's"),
                Err(error) => this.clear(slot, &error),
            }
        };
        if slot.compared_bytes() <= COMPARED_HERE_BYTES {
            return compare(image, slot);
        }
        let (sender, slots) = mpsc::sync_channel(1);
        let elsewhere = image.clone();
        let work = move || slots.into_iter().for_each(|slot| compare(&elsewhere, slot));
        match thread::Builder::new().name("audit".to_owned()).spawn(work) {
            // It can only be received.
            Ok(_) => drop(sender.send(slot)),
            Err(_) => compare(image, slot),
        }
    }

    /// Takes `slot`, which was not clean, out of use. From now on every memory is discarded.
    fn lose(&self, mut slot: Slot, at: usize, found: &str) {
        self.audit.fail();
        tracing::error!(
            offset = at,
            "isolation fault: the memory of a guest had {found} after its reset; from now on every memory is \
             given back to the kernel after each guest"
        );
        // Nobody gets its bytes. Its addresses are lost.
        self.unmap_image(&mut slot);
    }

    /// Discards a slot that cannot be reset in place.
    fn clear(&self, slot: Slot, error: &io::Error) {
        tracing::warn!(%error, "a memory is not reset in place");
        self.discard(slot);
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

/// The fastest way to reset memories that this kernel offers.
///
/// # Errors
/// No addresses are left to try it with.
pub fn fastest_reset() -> io::Result<MemoryReset> {
    offered_reset(PageMap::open().is_ok())
}

fn offered_reset(can_scan: bool) -> io::Result<MemoryReset> {
    Ok(match (can_scan, fault_window::faults_are_counted()?) {
        (false, _) => MemoryReset::Discard,
        (true, false) => MemoryReset::Scan,
        (true, true) => MemoryReset::Counted,
    })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
