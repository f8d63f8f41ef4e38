//! Decides which instance serves a request, how many wait ready, who may start one, who must queue, and who
//! computes next.
//!
//! [`plan`] calculates how many instances fit a machine. [`Slots`] limit the instances of the node, a
//! [`MemoryBudget`] their memory. A [`Pool`] keeps instances of one version ready. A [`ConcurrencyLimit`]
//! limits how many requests of a function run and wait. In a [`RunQueue`], guests that compute for long take
//! turns. The caller makes instances; the pool says when.
//!
//! Invariants: no clock (time since an arbitrary start is an argument), no thread, no random source, no
//! knowledge of WebAssembly. Instances and waiters are never dropped or woken while a lock is held. An option
//! bounds everything that is kept here.

mod capacity;
mod concurrency_limit;
mod memory_budget;
mod pool;
mod run_queue;
mod share;
mod sizing;
mod slots;

use std::sync::{Mutex, MutexGuard, PoisonError};

pub use capacity::{CapacityError, Machine, PlanOptions, PoolPlan, Scarce, SlotCost, plan};
pub use concurrency_limit::{ConcurrencyLimit, QueueTicket, Wait, Wake};
pub use memory_budget::{MemoryBudget, MemoryShare};
pub use pool::{Checkout, Pool, PoolOptions};
pub use run_queue::{Burst, RunQueue};
pub use share::max as share_max;
pub use slots::{Slots, StartPermit};

/// Locks `mutex`. Nothing here panics while it holds a lock, so a poisoned one is as good as any.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
