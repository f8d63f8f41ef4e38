//! The inbox: events are durable here until a function has handled them, or until somebody gave them up.
//!
//! An event belongs to a *trigger* and has an id, by which it is put once. What is *waiting* is taken when it
//! is due, is then *in flight*, and ends as *acknowledged* or as a *dead letter*, unless it is retried. What
//! is in flight is known in memory only: after a crash, what is unfinished is waiting again. So an event is
//! delivered at least once.
//!
//! Events of a trigger with the same *ordering key* are delivered one at a time, in the order in which they
//! were put. One that is retried holds up the later ones; one that is dead does not.
//!
//! Nothing is dropped to make room. A full inbox refuses events. A trigger whose box of dead letters is full
//! is *blocked*: none of its events is taken until dead letters are redriven or discarded.

mod error;
mod event;
mod shared;

use std::{path::PathBuf, time::Duration};

use bytes::Bytes;
use tokio::sync::watch;

pub use self::{
    error::{InboxBound, InboxError},
    event::{
        DeadEvent, DeadLetters, EventKey, EventPage, EventState, Finish, InboxLimits, Mark, NewEvent, Put,
        Receipt, StoredEvent, Take, TakenEvent, TriggerCounts,
    },
    shared::{ChangeOutcome, InboxChange, LogPlace, ShardHolder},
};
use crate::StoreError;

/// Keeps events until they are handled. Times are in milliseconds since 1970.
pub trait Inbox: Send + Sync + 'static {
    /// Makes `events` and `marks` durable, all or none of them. Says of each event whether it was new.
    ///
    /// # Errors
    /// [`InboxError::Full`], [`InboxError::TooLarge`], [`InboxError::NotHeld`] if another process has the
    /// trigger of a mark, or the store failed. Nothing is kept.
    ///
    /// # Cancel safety
    /// If the future is dropped, the events may still be put.
    fn put(
        &self,
        now_ms: u64,
        events: Vec<NewEvent>,
        marks: Vec<Mark>,
    ) -> impl Future<Output = Result<Vec<Put>, InboxError>> + Send;

    /// The marks whose names begin with `prefix`, by name, at most `limit` of them.
    ///
    /// # Errors
    /// The store failed.
    fn marks(
        &self,
        prefix: &str,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<(String, Bytes)>, InboxError>> + Send;

    /// Takes events that are due, in turn from each trigger that may have more in flight. They are in flight
    /// until they are [finished](Self::finish). If as many come as were asked for, there may be more.
    ///
    /// # Errors
    /// The store failed. Nothing is taken.
    ///
    /// # Cancel safety
    /// If the future is dropped, what it took is in flight until the node starts again.
    fn take<A>(
        &self,
        now_ms: u64,
        take: Take<A>,
    ) -> impl Future<Output = Result<Vec<TakenEvent>, InboxError>> + Send
    where
        A: FnMut(&str, usize) -> bool + Send + 'static;

    /// When the next event becomes due that was not due at the last [`take`](Self::take). What was due then
    /// and was not taken needs no timer: it can be taken after a [change](Self::changed), or once its trigger
    /// may have more in flight.
    fn next_due_ms(&self) -> Option<u64>;

    /// Waits until there may be more to take, or something to take earlier, than at the last call. For one
    /// caller.
    fn changed(&self) -> impl Future<Output = ()> + Send;

    /// How many events of `trigger` are in flight here, and how many others wait.
    fn in_progress(&self, trigger: &str) -> (usize, usize);

    /// Whether this process alone takes events of `trigger`. The default is that of an inbox which only this
    /// process has.
    fn holds(&self, trigger: &str) -> bool {
        let _ = trigger;
        true
    }

    /// Changes whenever [`holds`](Self::holds) may tell something else than before. By default, never.
    fn holdings(&self) -> watch::Receiver<u64> {
        watch::channel(0).1
    }

    /// Waits until another process may take an event that is in flight here. By default, for ever.
    fn lost(&self, receipt: Receipt) -> impl Future<Output = ()> + Send {
        let _ = receipt;
        std::future::pending()
    }

    /// How long after an event was put it is certain that this process knows the trigger that it was put to.
    fn lag(&self) -> Duration {
        Duration::ZERO
    }

    /// Ends a delivery.
    ///
    /// An acknowledgement of an event without an ordering key is on disk within a fifth of a second; if the
    /// node crashes before, the event is delivered again. If the disk is full, it is kept in memory until
    /// there is room, and when many are, this waits. A release is in memory only. Everything else is on disk
    /// when this returns.
    ///
    /// # Errors
    /// [`InboxError::NotInFlight`]; [`InboxError::Full`] if the event is to be a dead letter and its
    /// trigger's box is full: then it waits again, and the trigger is blocked. If the store failed, the event
    /// stays in flight, and this can be called again.
    ///
    /// # Cancel safety
    /// If the future is dropped, the delivery may still be ended.
    fn finish(
        &self,
        now_ms: u64,
        receipt: Receipt,
        finish: Finish,
    ) -> impl Future<Output = Result<(), InboxError>> + Send;

    /// Puts an event that was kept elsewhere and was given up, as a dead letter. Says whether it was new.
    ///
    /// # Errors
    /// [`InboxError::Full`] if the trigger's box is full, [`InboxError::TooLarge`], or the store failed.
    /// Nothing is kept.
    ///
    /// # Cancel safety
    /// If the future is dropped, the event may still be put.
    fn bury(&self, now_ms: u64, event: DeadEvent) -> impl Future<Output = Result<Put, InboxError>> + Send;

    /// Events of `trigger` that are waiting or in flight, in the order in which they were put.
    ///
    /// # Errors
    /// The store failed.
    fn waiting(
        &self,
        trigger: &str,
        page: EventPage,
    ) -> impl Future<Output = Result<Vec<StoredEvent>, InboxError>> + Send;

    /// Dead letters of `trigger`, in the order in which they were put.
    ///
    /// # Errors
    /// The store failed.
    fn dead_letters(
        &self,
        trigger: &str,
        page: EventPage,
    ) -> impl Future<Output = Result<Vec<StoredEvent>, InboxError>> + Send;

    /// An event that is waiting, in flight or dead, with its body; `None` if there is no such event.
    ///
    /// # Errors
    /// The store failed.
    fn show(
        &self,
        key: EventKey,
    ) -> impl Future<Output = Result<Option<(StoredEvent, Bytes)>, InboxError>> + Send;

    /// What became of an event; `None` if it never was there, or is no longer remembered.
    ///
    /// # Errors
    /// The store failed.
    fn state(
        &self,
        now_ms: u64,
        key: EventKey,
    ) -> impl Future<Output = Result<Option<EventState>, InboxError>> + Send;

    /// Puts dead letters of `trigger` into the inbox again, due at once, as if they came now: behind the
    /// later events of their ordering keys, and with no attempt made. Returns how many.
    ///
    /// # Errors
    /// [`InboxError::Full`], or the store failed. Of many, some may have been redriven.
    fn redrive(
        &self,
        now_ms: u64,
        trigger: &str,
        letters: DeadLetters,
    ) -> impl Future<Output = Result<u64, InboxError>> + Send;

    /// Removes dead letters of `trigger` for good. Returns how many.
    ///
    /// # Errors
    /// The store failed. Of many, some may have been removed.
    fn discard(
        &self,
        now_ms: u64,
        trigger: &str,
        letters: DeadLetters,
    ) -> impl Future<Output = Result<u64, InboxError>> + Send;

    /// Removes a trigger that was deleted with its events, its dead letters and what is remembered of it.
    /// Events in flight can no longer be finished. What they occupy is freed in the background.
    ///
    /// `last` is [the position](TriggerCounts::last) of its last event. Nothing is removed if it has a later
    /// one. Returns whether the trigger is removed.
    ///
    /// # Errors
    /// The store failed. Nothing is removed.
    fn forget(&self, trigger: &str, last: u64) -> impl Future<Output = Result<bool, InboxError>> + Send;

    /// Counts of every trigger that was ever put to and not forgotten, by trigger.
    ///
    /// # Errors
    /// The store failed.
    fn counts(&self) -> impl Future<Output = Result<Vec<TriggerCounts>, InboxError>> + Send;

    /// Copies everything that the inbox holds at one moment into a new inbox in `folder`. Calls `begun` at
    /// that moment: what happens later is not in the copy, and need not wait for it.
    ///
    /// # Errors
    /// The store failed. The folder then holds no complete copy.
    fn copy(
        &self,
        folder: PathBuf,
        begun: impl FnOnce() + Send + 'static,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Makes everything durable, and then releases the inbox, so that another process can open it. After
    /// that, every call is refused with [`StoreError::Released`] until [`take_back`](Self::take_back). What
    /// was in flight cannot be finished, and is waiting for the other process.
    fn release(&self) -> impl Future<Output = ()> + Send;

    /// Reopens an inbox that was [released](Self::release). Another process may have changed it meanwhile.
    ///
    /// # Errors
    /// The errors of opening it. The inbox then stays released.
    fn take_back(&self) -> impl Future<Output = Result<(), StoreError>> + Send;
}
