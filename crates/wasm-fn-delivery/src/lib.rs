//! Has functions handle events: puts the ticks of schedules and the changes of watched tags into the inbox,
//! takes what is due out of it, has the data plane deliver it or what it is about deployed, and decides what
//! becomes of it.
//!
//! Messages of a queue stay with their broker, and are delivered past the inbox.
//!
//! Invariants: an event leaves the inbox only when a function has acknowledged it, when it has become a dead
//! letter, or when a person discards it. What the node is to blame for spends no attempt. It does not know
//! how a version is chosen, how one is deployed, nor where
//! triggers are decided.

mod clock;
mod deliver;
mod deploy;
mod event_request;
mod triggers;

mod dispatcher;
mod operations;
mod pauses;
mod queued;
mod runner;
mod scheduler;
mod stats;
mod watcher;

pub use clock::WallClock;
pub use deliver::{Deliver, Destination, Ended, Recipient};
pub use deploy::{DeployEnd, DeployEvents, DeployFuture, DeployOutcome, DeployingEvent};
pub use event_request::{EventRequest, MalformedRequest};
pub use operations::{Backfilled, EventList, EventOperation, EventOperations, EventsError, ShownEvent};
pub use pauses::{Pauses, Pausing};
pub use queued::{MESSAGE_BYTES_MAX, QueueDeliveries, QueuedEnd, QueuedMessage};
pub use runner::{EventRunner, Events, EventsOptions};
pub use stats::{CanaryRuns, DeployStats, QueueStanding, QueueStats, TriggerStats, VersionStats};
pub use triggers::{ASYNC, ActiveTrigger, Triggers, trigger_key};
pub use watcher::WatchStatus;

#[cfg(test)]
mod tests;
