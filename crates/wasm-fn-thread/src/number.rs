//! Numbers of threads.

use std::{
    cell::Cell,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

/// Threads that have a number.
static THREADS: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// This thread's number; 0 until it is first asked for.
    static NUMBER: Cell<u64> = const { Cell::new(0) };
}

/// The number of the calling thread. No other thread of this process has, had, or will have it.
pub fn thread_number() -> u64 {
    let number = NUMBER.get();
    if number > 0 {
        return number;
    }
    let number = THREADS.fetch_add(1, Relaxed) + 1;
    NUMBER.set(number);
    number
}
