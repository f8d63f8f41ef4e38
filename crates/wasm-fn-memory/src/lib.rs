//! Where guests live: addresses for linear memories and stacks, clean for every guest.
//!
//! This crate owns every address that a guest can touch and the bytes that an instance finds there, and it
//! knows which pages are the process's own. It knows nothing of functions, requests or time.
//!
//! An [`Image`] holds the data of a module. It is mapped privately into the memory of an instance; all other
//! bytes are zero. Where the guest writes, pages become the process's own. When the guest is gone, those
//! pages are restored in place by copying, and the memory waits for the next instance of the same image.
//! Copying a page costs a fraction of giving it back to the kernel and faulting it in again.
//!
//! The kernel tells which pages those are when it is asked to scan the memory. But a page becomes the
//! process's own only in a page fault, and the kernel counts the faults of every thread. So it is asked only
//! when a thread that ran the guest has faulted since the memory was last clean. A guest that does the same
//! as the guest before it causes no faults, and its memory is restored without a scan.
//!
//! Some resets are audited: the memory is scanned although no thread has faulted, or compared with its image.
//! If one was not clean, every memory is given back to the kernel from then on.
//!
//! Invariants: nothing that one guest wrote is there for the next, whatever thread it ran on; addresses that
//! a guest may not touch trap; no two guests have the same addresses.

mod area;
mod creator;
mod fault_window;
mod free_list;
mod image;
mod kernel;
mod memories;
mod pages;
mod reset_audit;
mod slot;
mod stacks;
mod thread_affinity;
mod vouching;

pub use area::page_bytes;
pub use creator::{EXHAUSTED, NotGrown};
pub use fault_window::restore_batched;
pub use image::{Image, ImageError};
pub use memories::{Memories, MemoriesOptions, fastest_reset};
pub use reset_audit::{Isolation, MemoryReset};
pub use stacks::{NoStack, Stacks};
pub use thread_affinity::{GuestRun, NotedThread, ThreadAffinity};
