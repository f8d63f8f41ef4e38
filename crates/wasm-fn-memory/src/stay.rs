//! Whether anything can have become the process's own while a guest had a memory.
//!
//! A page becomes the process's own when a thread faults on it, and the kernel counts a thread's faults, whatever
//! they are for. A guest that never left the thread on which it got its memory can be vouched for by that count alone.

use std::{
    cell::Cell,
    io,
    mem::MaybeUninit,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use crate::area::{Area, page_bytes};

/// Guests that went on on another thread than before, in this process.
static MOVES: AtomicU64 = AtomicU64::new(0);

/// Threads that were numbered.
static THREADS: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// This thread's number; 0 when it has none yet.
    static NUMBER: Cell<u64> = const { Cell::new(0) };
    /// Its faults when they were counted last.
    static FAULTS: Cell<Option<u64>> = const { Cell::new(None) };
    /// Whether they are counted once for all stays that end now.
    static COUNTED: Cell<bool> = const { Cell::new(false) };
}

/// A number that no other thread of this process has, had, or will have.
pub fn thread() -> u64 {
    let number = NUMBER.get();
    if number > 0 {
        return number;
    }
    let number = THREADS.fetch_add(1, Relaxed) + 1;
    NUMBER.set(number);
    number
}

/// Where a guest runs.
#[derive(Debug)]
pub struct Whereabouts {
    thread: AtomicU64,
}

impl Whereabouts {
    /// A guest that will run on this thread.
    #[expect(clippy::new_without_default, reason = "it is of the thread that calls it")]
    pub fn new() -> Self {
        Self { thread: AtomicU64::new(thread()) }
    }

    /// Has to be called whenever the guest begins to run or goes on, and on the thread on which it does.
    pub fn arrive(&self) {
        let here = thread();
        if self.thread.load(Relaxed) != here {
            self.thread.store(here, Relaxed);
            MOVES.fetch_add(1, Relaxed);
        }
    }
}

/// Gives up memories of this thread in `work`, during which no guest runs here: its faults are counted once for
/// all of them.
pub fn together<R>(work: impl FnOnce() -> R) -> R {
    /// What unwinds leaves nothing counted.
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

/// The time for which a guest has a memory.
#[derive(Debug)]
pub(crate) struct Stay {
    thread: u64,
    faults: Option<u64>,
    moves: u64,
}

impl Stay {
    /// It begins, on this thread.
    pub(crate) fn begin() -> Self {
        // The count may be an old one: what faulted since then counts as the guest's.
        Self { thread: thread(), faults: FAULTS.get(), moves: MOVES.load(Relaxed) }
    }

    /// It ends. Whether it was all on one thread, which did not fault.
    pub(crate) fn end(self) -> bool {
        if !COUNTED.get() {
            FAULTS.set(faults());
        }
        let faults = FAULTS.get();
        // A guest that went elsewhere and came back was handed over twice, so its move is seen here.
        faults.is_some()
            && self.faults == faults
            && self.thread == thread()
            && self.moves == MOVES.load(Relaxed)
    }
}

/// Whether the kernel counts faults. One that only looks like Linux may say that there are none.
///
/// # Errors
/// There are no addresses to try it with.
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
