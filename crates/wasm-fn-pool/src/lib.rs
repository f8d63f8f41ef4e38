//! Policy of instances: which one serves, how many wait ready, who may start one, who must queue,
//! who computes next.
//!
//! [`plan`] says how many fit a machine. [`Slots`] bound the instances of the node, a [`Budget`] their
//! memory, a [`Pool`] keeps those of one version ready, a [`Gate`] bounds how many requests of a function
//! run and wait, and a [`Lane`] has those that compute for long take turns. What an instance is, and how it
//! is made, is the caller's business: the pool says when.
//!
//! Invariants: no clock (time since an arbitrary start is an argument), no thread, no random source, no
//! knowledge of WebAssembly. Instances and waiters are never dropped or woken while a lock is held.
//! Everything kept here is bounded by an option.

mod budget;
mod gate;
mod lane;
mod plan;
mod pool;
mod share;
mod sizing;
mod slots;

use std::sync::{Mutex, MutexGuard, PoisonError};

pub use budget::{Budget, BudgetPart};
pub use gate::{Gate, Ticket, Wait, Wake};
pub use lane::{Burst, Lane};
pub use plan::{Machine, PlanError, PlanOptions, PoolPlan, Scarce, SlotCost, bytes as show_bytes, plan};
pub use pool::{Checkout, Pool, PoolOptions};
pub use share::most as share_max;
pub use slots::{Slots, StartPermit};

/// Locks; nothing here panics while it holds a lock, so a poisoned one is as good as any.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
