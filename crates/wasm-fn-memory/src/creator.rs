//! Makes memories for the engine.

#![expect(unsafe_code, reason = "the engine trusts its memory creator")]

use std::{io, ptr, sync::Arc};

use wasmtime::{LinearMemory, MemoryCreator, MemoryType};

use crate::{fault_window::FaultWindow, image::Image, memories::Memories, slot::Slot};

/// The error message when all slots are in use.
pub const EXHAUSTED: &str = "no memory is free for another instance";

/// Why a memory does not grow, although it was allowed to.
#[derive(Debug, thiserror::Error)]
pub enum NotGrown {
    /// There are no addresses for it.
    #[error("memory of {bytes} bytes, expected {bytes_max} at most")]
    TooLarge {
        /// What it was to grow to.
        bytes: usize,
        /// What it can grow to.
        bytes_max: usize,
    },
    /// The system refuses.
    #[error("memory is not opened")]
    Refused(#[source] io::Error),
}

// SAFETY: a slot has as many addresses as it says, followed by the guard, which is never opened. No other
// memory uses it while this one lives. It holds the module's data, and zeros elsewhere.
unsafe impl MemoryCreator for Memories {
    fn new_memory(
        &self,
        _ty: MemoryType,
        minimum: usize,
        _maximum: Option<usize>,
        reserved_bytes: Option<usize>,
        guard_bytes: usize,
    ) -> Result<Box<dyn LinearMemory>, String> {
        let image = Image::current().ok_or("a memory outside of an instance")?;
        if !self.fits(reserved_bytes, guard_bytes) || !ptr::eq(self, Arc::as_ptr(&image.memories)) {
            return Err("memories are smaller than the engine thinks".to_owned());
        }
        if minimum > self.bytes_max() {
            return Err(format!("a memory of {minimum} bytes, expected {} at most", self.bytes_max()));
        }
        let image = image.of_memory(minimum);
        match self.take(&image, minimum) {
            Ok(Some(slot)) => Ok(Box::new(Linear {
                slot: Some(slot),
                bytes: minimum,
                image,
                window: Some(FaultWindow::begin()),
            })),
            Ok(None) => Err(EXHAUSTED.to_owned()),
            Err(error) => {
                tracing::warn!(%error, "the system has no memory for another instance");
                Err(EXHAUSTED.to_owned())
            }
        }
    }
}

/// The memory of one guest.
struct Linear {
    // Invariant: `slot` and `window` are `None` only while this is dropped.
    slot: Option<Slot>,
    bytes: usize,
    image: Arc<Image>,
    window: Option<FaultWindow>,
}

// SAFETY: see `MemoryCreator` above. The slot never moves, and the rest of its last page belongs to the guest
// as well.
unsafe impl LinearMemory for Linear {
    fn byte_size(&self) -> usize {
        self.bytes
    }

    fn byte_capacity(&self) -> usize {
        self.image.memories.bytes_max()
    }

    fn grow_to(&mut self, bytes: usize) -> wasmtime::Result<()> {
        let (memories, slot) = (&self.image.memories, self.slot.as_mut());
        if bytes > memories.bytes_max() {
            return Err(NotGrown::TooLarge { bytes, bytes_max: memories.bytes_max() }.into());
        }
        let grown = slot.expect("it is not dropped").grow(&memories.cleaner.area, bytes);
        grown.map_err(NotGrown::Refused)?;
        self.bytes = bytes;
        Ok(())
    }

    fn as_ptr(&self) -> *mut u8 {
        ptr::with_exposed_provenance_mut(self.slot.as_ref().expect("it is not dropped").start())
    }
}

impl Drop for Linear {
    fn drop(&mut self) {
        if let (Some(slot), Some(window)) = (self.slot.take(), self.window.take()) {
            Memories::put(&self.image, slot, window);
        }
    }
}
