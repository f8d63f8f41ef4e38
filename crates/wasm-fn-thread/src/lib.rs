//! What belongs to a thread: its number, and the work that is gathered on it.
//!
//! Memory that a thread used last is still in its processor's caches. Code that runs for one task after the
//! other keeps them warm; code that runs between each two of them evicts what they need. So callers look for
//! what their own thread used last, by its number, and put off what can wait until the thread has no other
//! work.
//!
//! This crate decides when deferred work is done. It does not know what the work is.
//!
//! Invariants: no two threads of a process have the same number, ever; what was gathered is handed over once.

mod number;
mod task_batch;

pub use number::thread_number;
pub use task_batch::TaskBatch;
