//! The allocator of the program, and what it is told.

#![expect(unsafe_code, reason = "the allocator is told by symbols and calls of C")]

use std::ptr;

use tikv_jemallocator::Jemalloc;

// Every request allocates a little on both sides of the guest; docs/decisions/0011 has what others cost.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

/// What the allocator is told at its start: a thread of its own gives freed memory back to the system, ten
/// seconds after nobody wanted it any more.
#[unsafe(export_name = "_rjem_malloc_conf")]
static OPTIONS: &[u8; 61] = b"background_thread:true,dirty_decay_ms:10000,muzzy_decay_ms:0\0";

/// Gives up what this thread freed and keeps for its next allocations, and with it the pages that are in use
/// for nothing else. Takes some 50 µs.
pub(crate) fn flush_thread_cache() {
    // SAFETY: the name is a C string, and this command takes and returns nothing.
    let failed = unsafe {
        let (name, nothing) = (c"thread.tcache.flush", ptr::null_mut());
        tikv_jemalloc_sys::mallctl(name.as_ptr(), nothing, ptr::null_mut(), nothing, 0)
    };
    debug_assert_eq!(failed, 0, "the allocator has thread caches");
}
