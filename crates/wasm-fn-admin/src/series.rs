//! Numbers over time: the last hour of every version, and the whole life of rollouts, within bounds.
//!
//! One task reads the tallies, which requests write anyway. Nothing here is on the way of a request. What it
//! keeps takes at most 32 MiB for traffic ([`traffic`]) and about 8 MiB for rollouts ([`rollouts`]), whatever
//! the number of functions; and half a KiB for each version that has had requests in the last hour.

pub(crate) mod rollouts;
pub(crate) mod traffic;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use tokio::time::MissedTickBehavior;
use wasm_fn_control::{Control, host::Host};
use wasm_fn_store::Store;

use self::{rollouts::Rollouts, traffic::Traffic};

/// How often rollouts are looked at.
const TICK: Duration = Duration::from_secs(1);

/// How long a step of the traffic is, milliseconds.
pub(crate) const STEP_MS: u64 = 10_000;

/// Numbers over time.
#[derive(Default)]
pub(crate) struct Series {
    traffic: Mutex<Traffic>,
    rollouts: Mutex<Rollouts>,
}

impl Series {
    /// What versions did.
    pub(crate) fn traffic(&self) -> MutexGuard<'_, Traffic> {
        // Nothing panics while holding the lock.
        self.traffic.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How rollouts went.
    pub(crate) fn rollouts(&self) -> MutexGuard<'_, Rollouts> {
        // Nothing panics while holding the lock.
        self.rollouts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads what is new at `control`.
    pub(crate) fn read<H: Host, S: Store>(&self, control: &Control<H, S>) {
        let now_ms = control.now().0;
        rollouts::read(&mut self.rollouts(), control, now_ms);
        let mut traffic = self.traffic();
        if traffic.is_due(now_ms) {
            traffic.read(&control.tables().load_full(), now_ms);
            let state = control.state();
            traffic.retain(|function| state.function(function).is_ok());
        }
    }
}

/// Reads the numbers of `control` into `series` until either is gone.
pub(crate) async fn keep<H: Host, S: Store>(series: Weak<Series>, control: Weak<Control<H, S>>) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let (Some(series), Some(control)) = (series.upgrade(), control.upgrade()) else { return };
        // Reading ten thousand busy versions takes tens of milliseconds.
        let read = tokio::task::spawn_blocking(move || series.read(&control));
        if let Err(error) = read.await {
            tracing::error!(%error, "numbers over time were not read");
        }
    }
}

/// Begins to keep numbers of `control`.
pub(crate) fn start<H: Host, S: Store>(control: &Arc<Control<H, S>>) -> Arc<Series> {
    let series = Arc::new(Series::default());
    tokio::spawn(keep(Arc::downgrade(&series), Arc::downgrade(control)));
    series
}

#[cfg(test)]
mod tests;
