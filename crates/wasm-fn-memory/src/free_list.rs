//! A free list with a part for each thread: an item that a thread put back last is still in its processor's
//! caches.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
};

use wasm_fn_thread::thread_number;

/// Most parts of a list; more threads than this share them.
const PARTS_MAX: usize = 16;

/// Items that are free.
#[derive(Debug)]
pub(crate) struct FreeList<T> {
    parts: Box<[Mutex<VecDeque<T>>]>,
}

impl<T> FreeList<T> {
    /// An empty list.
    pub(crate) fn new() -> Self {
        let threads = thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self { parts: (0..threads.min(PARTS_MAX)).map(|_| Mutex::default()).collect() }
    }

    /// The index of this thread's part.
    fn own(&self) -> usize {
        usize::try_from(thread_number() % self.parts.len() as u64).unwrap_or(0)
    }

    fn part(&self, at: usize) -> MutexGuard<'_, VecDeque<T>> {
        self.parts[at % self.parts.len()].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the item that this thread put back last, else one of another thread.
    pub(crate) fn take(&self) -> Option<T> {
        let own = self.own();
        (own..own + self.parts.len()).find_map(|at| self.part(at).pop_back())
    }

    /// Puts `free` back into this thread's part.
    pub(crate) fn put(&self, free: T) {
        self.part(self.own()).push_back(free);
    }

    /// Calls `work` with each item that is free now, the one that waited longest first. Other items can be
    /// taken meanwhile.
    pub(crate) fn for_each(&self, mut work: impl FnMut(&mut T)) {
        for at in 0..self.parts.len() {
            let waiting = self.part(at).len();
            for _ in 0..waiting {
                let Some(mut free) = self.part(at).pop_front() else { break };
                work(&mut free);
                self.part(at).push_back(free);
            }
        }
    }
}

#[cfg(test)]
#[path = "free_list/tests.rs"]
mod tests;
