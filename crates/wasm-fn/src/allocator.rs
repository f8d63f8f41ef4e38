//! The program's allocator and its options.

#![expect(unsafe_code, reason = "the allocator is configured and called through C symbols")]

use std::ptr;

use tikv_jemallocator::Jemalloc;

// Every request allocates a little on both sides of the guest; decision 11 has the cost of other
// allocators.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

/// Options that the allocator reads when it starts: a background thread returns freed memory to the system
/// after ten seconds without use.
#[unsafe(export_name = "_rjem_malloc_conf")]
static OPTIONS: &[u8; 61] = b"background_thread:true,dirty_decay_ms:10000,muzzy_decay_ms:0\0";

/// Flushes this thread's cache of freed memory, which frees the pages that hold nothing else. Takes about
/// 50 µs.
pub(crate) fn flush_thread_cache() {
    // SAFETY: the name is a C string, and this command takes and returns nothing.
    let failed = unsafe {
        let (name, nothing) = (c"thread.tcache.flush", ptr::null_mut());
        tikv_jemalloc_sys::mallctl(name.as_ptr(), nothing, ptr::null_mut(), nothing, 0)
    };
    debug_assert_eq!(failed, 0, "the allocator has thread caches");
}
