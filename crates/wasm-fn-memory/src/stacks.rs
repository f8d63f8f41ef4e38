//! Stacks for guests, each with a guard page below it.

#![expect(unsafe_code, reason = "the engine trusts its stack creator")]

use std::{
    io,
    ops::Range,
    ptr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use wasmtime::{StackCreator, StackMemory};

use crate::{
    area::{Area, page_bytes},
    free_list::FreeList,
    kernel::Addresses as _,
};

/// All stacks of a node.
#[derive(Debug)]
pub struct Stacks {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    area: Area,
    count: usize,
    stack_bytes: usize,
    guard_bytes: usize,
    /// Stacks from here on were never used.
    next: AtomicUsize,
    /// First addresses of free stacks.
    free: FreeList<usize>,
}

/// All stacks are in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no stack is free for another call")]
pub struct NoStack;

impl Stacks {
    /// Reserves addresses for `count` stacks of `stack_bytes`, whole pages.
    ///
    /// # Errors
    /// The process has too few left.
    pub fn new(count: usize, stack_bytes: usize) -> io::Result<Arc<Self>> {
        let guard_bytes = page_bytes();
        let bytes = count.checked_mul(stack_bytes + guard_bytes).ok_or(io::ErrorKind::OutOfMemory)?;
        let area = Area::reserve(bytes)?;
        let (next, free) = (AtomicUsize::new(0), FreeList::new());
        Ok(Arc::new(Self { shared: Arc::new(Shared { area, count, stack_bytes, guard_bytes, next, free }) }))
    }

    /// The addresses of the stack that is used first, for tests that look at it.
    #[cfg(test)]
    pub(crate) fn first(&self) -> Range<usize> {
        let start = self.shared.area.start() + self.shared.guard_bytes;
        start..start + self.shared.stack_bytes
    }

    #[cfg(test)]
    pub(crate) fn area(&self) -> &Area {
        &self.shared.area
    }

    /// Gives all memory of free stacks back to the system.
    ///
    /// # Errors
    /// The error of the system. The stacks remain usable.
    pub fn decommit(&self) -> io::Result<()> {
        let shared = &self.shared;
        let mut given = Ok(());
        shared.free.for_each(|&mut start| {
            if let Err(error) = shared.area.decommit(&(start..start + shared.stack_bytes)) {
                given = Err(error);
            }
        });
        given
    }
}

// SAFETY: a stack is whole pages, holds zeros or the remains of an earlier stack, belongs to nobody else
// while it lives, and has a page below it that is never opened.
unsafe impl StackCreator for Stacks {
    fn new_stack(&self, size: usize, zeroed: bool) -> wasmtime::Result<Box<dyn StackMemory>> {
        let shared = &self.shared;
        if size > shared.stack_bytes || zeroed {
            let found = shared.stack_bytes;
            return Err(wasmtime::format_err!(
                "a stack of {size} bytes, expected {found} at most and not zeroed"
            ));
        }
        let start = match shared.free.take() {
            Some(start) => start,
            None => shared.open_next()?,
        };
        Ok(Box::new(Stack { start, shared: shared.clone() }))
    }
}

impl Shared {
    fn open_next(&self) -> wasmtime::Result<usize> {
        let next = self.next.fetch_update(Relaxed, Relaxed, |next| (next < self.count).then_some(next + 1));
        let next = next.map_err(|_| NoStack)?;
        let start = self.area.start() + next * (self.guard_bytes + self.stack_bytes) + self.guard_bytes;
        self.area.open(&(start..start + self.stack_bytes))?;
        Ok(start)
    }
}

struct Stack {
    start: usize,
    shared: Arc<Shared>,
}

// SAFETY: see `StackCreator` above.
unsafe impl StackMemory for Stack {
    fn top(&self) -> *mut u8 {
        ptr::with_exposed_provenance_mut(self.start + self.shared.stack_bytes)
    }

    fn range(&self) -> Range<usize> {
        self.start..self.start + self.shared.stack_bytes
    }

    fn guard_range(&self) -> Range<*mut u8> {
        let at = ptr::with_exposed_provenance_mut;
        at(self.start - self.shared.guard_bytes)..at(self.start)
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        self.shared.free.put(self.start);
    }
}

#[cfg(test)]
mod tests;
