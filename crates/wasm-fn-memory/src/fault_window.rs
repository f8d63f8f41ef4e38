//! Tells whether a guest can have made pages the process's own while it had a memory.
//!
//! A page becomes the process's own when a thread faults on it, and the kernel counts the faults of each
//! thread, whatever they are for. So for a guest that never left the thread on which it got its memory, an
//! unchanged count proves that it made no page the process's own.

use std::{cell::Cell, io, mem::MaybeUninit};

use wasm_fn_thread::thread_number;

use crate::{
    area::{Area, page_bytes},
    kernel::Addresses as _,
    thread_affinity::moves,
    vouching::Counts,
};

thread_local! {
    /// This thread's faults when they were last counted.
    static FAULTS: Cell<Option<u64>> = const { Cell::new(None) };
    /// Whether that count holds for all windows that end now.
    static COUNTED: Cell<bool> = const { Cell::new(false) };
}

/// Runs `work`, which gives up memories of this thread while no guest runs here. The thread's faults are
/// counted once for all of them.
pub fn restore_batched<R>(work: impl FnOnce() -> R) -> R {
    /// Ends the shared count, also when `work` unwinds.
    struct Ended;
    impl Drop for Ended {
        fn drop(&mut self) {
            COUNTED.set(false);
        }
    }
    let _ended = Ended;
    FAULTS.set(faults());
    COUNTED.set(true);
    work()
}

/// The time during which a guest has a memory.
#[derive(Debug)]
pub(crate) struct FaultWindow(Counts);

impl FaultWindow {
    /// Begins on this thread.
    pub(crate) fn begin() -> Self {
        // While a count is shared, it is that of a later end: what this guest faults before would not show.
        let is_shared = COUNTED.get();
        debug_assert!(!is_shared, "no instance is made while others are taken down together");
        // The count may be old. Faults since then count as the guest's, which is safe.
        let faults = if is_shared { None } else { FAULTS.get() };
        Self(Counts { thread: thread_number(), faults, moves: moves() })
    }

    /// Ends. Returns whether the guest stayed on one thread and that thread did not fault.
    pub(crate) fn end(self) -> bool {
        if !COUNTED.get() {
            FAULTS.set(faults());
        }
        self.0.vouch(Counts { thread: thread_number(), faults: FAULTS.get(), moves: moves() })
    }
}

/// Whether the kernel counts faults. A system that only resembles Linux may report none.
///
/// # Errors
/// No addresses are left to try it with.
pub(crate) fn faults_are_counted() -> io::Result<bool> {
    let area = Area::reserve(page_bytes())?;
    let page = area.start()..area.start() + page_bytes();
    area.open(&page)?;
    let before = faults();
    area.zero(&page);
    Ok(faults() > before)
}

/// How often this thread has faulted; `None` when the kernel does not say.
fn faults() -> Option<u64> {
    let mut usage = MaybeUninit::<libc::rusage>::uninit();
    // SAFETY: the kernel fills what it is given.
    #[expect(unsafe_code, reason = "the count of one thread has no safe interface")]
    let usage = unsafe {
        if libc::getrusage(libc::RUSAGE_THREAD, usage.as_mut_ptr()) != 0 {
            return None;
        }
        usage.assume_init()
    };
    // Neither is negative.
    Some(usage.ru_minflt.cast_unsigned().wrapping_add(usage.ru_majflt.cast_unsigned()))
}

#[cfg(test)]
mod tests;
