//! What the engine asks for memories.

#![expect(unsafe_code, reason = "the engine trusts whoever makes its memories")]

use std::{ptr, sync::Arc};

use wasmtime::{LinearMemory, MemoryCreator, MemoryType, format_err};

use crate::{image::Image, memories::Memories, slot::Slot, stay::Stay};

/// What the error says when all slots are in use.
pub const EXHAUSTED: &str = "no memory is free for another instance";

// SAFETY: a slot has as many addresses as it says, and behind them those of the guard, which are never opened; it is
// nobody else's while the memory lives; and what is in it is what the module's data say, and zero where they say nothing.
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
            Ok(Some(slot)) => {
                Ok(Box::new(Linear { slot: Some(slot), bytes: minimum, image, stay: Some(Stay::begin()) }))
            }
            Ok(None) => Err(EXHAUSTED.to_owned()),
            Err(error) => Err(format!("no memory: {error}")),
        }
    }
}

/// One guest's memory.
struct Linear {
    // Invariant: `None` only while it is dropped, as is the stay.
    slot: Option<Slot>,
    bytes: usize,
    image: Arc<Image>,
    stay: Option<Stay>,
}

// SAFETY: see `MemoryCreator` above; the slot stays where it is, and what is behind `bytes` in its last page is the guest's
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
            return Err(format_err!("a memory of {bytes} bytes, expected {} at most", memories.bytes_max()));
        }
        slot.expect("it is not dropped").grow(&memories.cleaner.area, bytes)?;
        self.bytes = bytes;
        Ok(())
    }

    fn as_ptr(&self) -> *mut u8 {
        ptr::with_exposed_provenance_mut(self.slot.as_ref().expect("it is not dropped").start())
    }
}

impl Drop for Linear {
    fn drop(&mut self) {
        if let (Some(slot), Some(stay)) = (self.slot.take(), self.stay.take()) {
            self.image.memories.put(&self.image, slot, stay);
        }
    }
}
