//! Where guests live: addresses for linear memories and stacks, clean for every guest.
//!
//! This crate owns every address that a guest can touch, what lies there when an instance begins, and the knowledge
//! which pages are the process's own. It knows nothing of functions, requests or time.
//!
//! An instance finds the bytes that its module's data say: they are mapped from an [`Image`], privately, and the rest
//! is zero. What it writes makes pages the process's own. When it is gone, those are restored where they are, by
//! copying, and the memory waits for the next instance of the same image. Copying a page costs a fraction of what
//! it costs to give it back to the kernel and to fault it in again.
//!
//! Which pages those are, the kernel tells when it is asked to look through the memory. But a page becomes the
//! process's own in a page fault and nowhere else, and the kernel counts the faults of every thread. So it is asked only
//! when a thread that ran the guest has faulted since the memory was found clean: a guest that does what the guest
//! before it did causes no faults, and its memory is restored without a look.
//!
//! Invariants: nothing that one guest wrote is there for the next, whatever thread it ran on; what a guest may not
//! touch traps; addresses are never given to two.

mod area;
mod creator;
mod image;
mod memories;
mod pages;
mod shelf;
mod slot;
mod stacks;
mod stay;

pub use area::page_bytes;
pub use creator::EXHAUSTED;
pub use image::{Image, ImageError};
pub use memories::{Memories, MemoriesOptions};
pub use pages::can_look;
pub use stacks::{NoStack, Stacks};
pub use stay::{Whereabouts, thread, together};
