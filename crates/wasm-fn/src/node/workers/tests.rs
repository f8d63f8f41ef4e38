//! All idle workers are visited.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::*;

#[test]
fn work_is_done_once_on_each_of_idle_workers() {
    static DONE: AtomicUsize = AtomicUsize::new(0);
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.worker_threads(4).enable_time().build().unwrap().block_on(on_each(|| {
        DONE.fetch_add(1, Relaxed);
        flush_thread_cache();
    }));
    assert_eq!(DONE.load(Relaxed), 4);
}
