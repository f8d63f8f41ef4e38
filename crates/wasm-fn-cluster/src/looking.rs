//! Looks at the clock again and again, for what ends by time although nothing arrives.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

/// How often.
const TICK: Duration = Duration::from_millis(50);

/// Calls `look`, on the current tokio runtime, until `stop`.
pub(crate) fn until(stop: CancellationToken, look: impl Fn() + Send + 'static) {
    tokio::spawn(async move {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                _ = ticks.tick() => {}
            }
            look();
        }
    });
}
