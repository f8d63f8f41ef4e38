//! What is free, in a part for each thread: what a thread put there last is still in its processor's cache.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
};

use crate::stay;

/// Most parts of a shelf: more threads share them.
const PARTS_MAX: usize = 16;

/// What is free.
#[derive(Debug)]
pub(crate) struct Shelf<T> {
    parts: Box<[Mutex<VecDeque<T>>]>,
}

impl<T> Shelf<T> {
    /// An empty one.
    pub(crate) fn new() -> Self {
        let threads = thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self { parts: (0..threads.min(PARTS_MAX)).map(|_| Mutex::default()).collect() }
    }

    /// The number of this thread's part.
    fn own(&self) -> usize {
        usize::try_from(stay::thread() % self.parts.len() as u64).unwrap_or(0)
    }

    fn part(&self, at: usize) -> MutexGuard<'_, VecDeque<T>> {
        self.parts[at % self.parts.len()].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What this thread put back last, or else what another did.
    pub(crate) fn take(&self) -> Option<T> {
        let own = self.own();
        (own..own + self.parts.len()).find_map(|at| self.part(at).pop_back())
    }

    /// Puts `free` back, for this thread first.
    pub(crate) fn put(&self, free: T) {
        self.part(self.own()).push_back(free);
    }

    /// Does `work` with all that are free now, those that waited longest first, one at a time: the others can be taken
    /// meanwhile.
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
mod tests;
