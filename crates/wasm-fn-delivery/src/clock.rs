//! The time of events: that of the wall, since schedules name it.

use std::time::Duration;

use tokio::sync::watch;
use wasm_fn_events::Timestamp;

/// Longest sleep. A clock that was set, or a machine that slept, is noticed after that.
const SLEEP_MAX: Duration = Duration::from_secs(10);

/// Tells the time, and waits for it.
#[derive(Clone, Debug)]
pub struct WallClock(Source);

#[derive(Clone, Debug)]
enum Source {
    Wall(fn() -> Timestamp),
    Told(watch::Receiver<Timestamp>),
}

impl WallClock {
    /// The clock on the wall, which `now` reads.
    pub fn wall(now: fn() -> Timestamp) -> Self {
        Self(Source::Wall(now))
    }

    /// A clock that shows what it is told.
    pub fn told(time: watch::Receiver<Timestamp>) -> Self {
        Self(Source::Told(time))
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Source::Wall(now) => now(),
            Source::Told(time) => *time.borrow(),
        }
    }

    /// Sleeps until it may be `until`: at most ten seconds at a time, since the clock may be set. Sleeps
    /// forever without a time.
    pub(crate) async fn sleep(&self, until: Option<Timestamp>) {
        let Some(until) = until else { return std::future::pending().await };
        match &self.0 {
            Source::Wall(now) => tokio::time::sleep(until.since(now()).min(SLEEP_MAX)).await,
            Source::Told(time) => {
                // Nobody tells the time any more: it stands still.
                if time.clone().wait_for(|now| *now >= until).await.is_err() {
                    std::future::pending().await
                }
            }
        }
    }

    /// Sleeps for `wait`.
    pub(crate) async fn pause(&self, wait: Duration) {
        let until = self.now().saturating_add(wait);
        while self.now() < until {
            self.sleep(Some(until)).await;
        }
    }
}
