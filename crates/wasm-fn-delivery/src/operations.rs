//! What people and programs do with events: run a schedule, look at what waits, redrive and discard.

use std::{future::Future, pin::Pin, sync::Arc};

use bytes::Bytes;
use http::HeaderMap;
use wasm_fn_core::{FunctionName, StageName};
use wasm_fn_events::{Attribute, CloudEvent, Tick, Timestamp, Trigger, TriggerId, TriggerKind, ordering_key};
use wasm_fn_store::{
    DeadLetters, EventKey, EventPage, EventState, Inbox, InboxError, NewEvent, Put, StoredEvent,
    TriggerCounts,
};

use crate::{
    event_request::{EventRequest, MalformedRequest},
    runner::Events,
    scheduler,
    stats::TriggerStats,
    triggers::{ASYNC, trigger_key},
};

/// Why an operation on events was refused.
#[derive(Debug, thiserror::Error)]
pub enum EventsError {
    /// There is no such trigger.
    #[error("function `{}` has no trigger `{}` in stage `{}`", .0.function, .0.name, .0.stage)]
    NoSuchTrigger(TriggerId),
    /// The trigger is no schedule.
    #[error("trigger `{}` is a {found}, expected a schedule", .trigger.name)]
    NotSchedule {
        /// The trigger.
        trigger: TriggerId,
        /// What it is.
        found: &'static str,
    },
    /// The trigger has no ticks in the range.
    #[error("schedule `{}` has no ticks from {from} to {to}", .trigger.name)]
    NoTicks {
        /// The trigger.
        trigger: TriggerId,
        /// The beginning.
        from: Timestamp,
        /// The end.
        to: Timestamp,
    },
    /// There is no such event.
    #[error("`{}` has no event {:?}", .0.trigger, .0.id)]
    NoSuchEvent(EventKey),
    /// The event cannot be read.
    #[error(transparent)]
    Malformed(#[from] MalformedRequest),
    /// The inbox refuses, or failed.
    #[error(transparent)]
    Inbox(#[from] InboxError),
}

/// A future of an [`EventOperations`].
pub type EventOperation<'a, T> = Pin<Box<dyn Future<Output = Result<T, EventsError>> + Send + 'a>>;

/// How far a backfill came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backfilled {
    /// How many runs were put into the inbox.
    pub runs: usize,
    /// Where to go on, if there were more than one call takes.
    pub rest: Option<Timestamp>,
}

/// An event with its request.
#[derive(Clone, Debug)]
pub struct ShownEvent {
    /// What is known of it.
    pub event: StoredEvent,
    /// What is delivered.
    pub request: EventRequest,
}

/// Which list of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventList {
    /// Those that wait or are in flight.
    Waiting,
    /// The dead letters.
    Dead,
}

/// The operations, whatever the inbox.
pub trait EventOperations: Send + Sync + 'static {
    /// Has the schedule `trigger` run once, now, as any tick. Returns the id of the event.
    ///
    /// # Errors
    /// There is no such schedule; the inbox refuses.
    fn run_now<'a>(&'a self, trigger: &'a TriggerId) -> EventOperation<'a, String>;

    /// Has the schedule `trigger` run for each of its times from `from` to `to`, both included. Times that
    /// ran within the last day do not run again.
    ///
    /// # Errors
    /// There is no such schedule, or it has no times there; the inbox refuses.
    fn backfill<'a>(
        &'a self,
        trigger: &'a TriggerId,
        from: Timestamp,
        to: Timestamp,
    ) -> EventOperation<'a, Backfilled>;

    /// Makes a client's `request` durable, to be delivered to the stage. Returns the id of the event.
    ///
    /// # Errors
    /// The inbox refuses.
    fn accept<'a>(
        &'a self,
        function: &'a FunctionName,
        stage: &'a StageName,
        request: EventRequest,
    ) -> EventOperation<'a, String>;

    /// Events of `trigger`.
    ///
    /// # Errors
    /// The inbox failed.
    fn list<'a>(
        &'a self,
        trigger: &'a str,
        list: EventList,
        page: EventPage,
    ) -> EventOperation<'a, Vec<StoredEvent>>;

    /// An event that is waiting, in flight or dead.
    ///
    /// # Errors
    /// There is none; the inbox failed.
    fn show(&self, key: EventKey) -> EventOperation<'_, ShownEvent>;

    /// What became of an event.
    ///
    /// # Errors
    /// It never was there, or is no longer remembered; the inbox failed.
    fn state(&self, key: EventKey) -> EventOperation<'_, EventState>;

    /// Has dead letters of `trigger` delivered again. Returns how many.
    ///
    /// # Errors
    /// The inbox refuses, or failed. Of many, some may have been redriven.
    fn redrive<'a>(&'a self, trigger: &'a str, letters: DeadLetters) -> EventOperation<'a, u64>;

    /// Removes dead letters of `trigger` for good. Returns how many.
    ///
    /// # Errors
    /// The inbox failed. Of many, some may have been removed.
    fn discard<'a>(&'a self, trigger: &'a str, letters: DeadLetters) -> EventOperation<'a, u64>;

    /// What each trigger has in the inbox.
    ///
    /// # Errors
    /// The inbox failed.
    fn counts(&self) -> EventOperation<'_, Vec<TriggerCounts>>;

    /// What became of the events of `trigger` since the node started.
    fn stats(&self, trigger: &str) -> TriggerStats;

    /// The time by which schedules tick.
    fn now(&self) -> Timestamp;
}

impl<I: Inbox> Events<I> {
    /// Makes `event` of `trigger` durable, to be delivered to its function. One whose id came within the last
    /// day is there already.
    ///
    /// # Errors
    /// The inbox refuses.
    pub async fn receive(
        &self,
        id: &TriggerId,
        trigger: &Trigger,
        event: CloudEvent,
    ) -> Result<Put, EventsError> {
        self.receive_with(id, trigger, event, &HeaderMap::new()).await
    }

    /// The same of an event that came with these `headers`. By them it may be in order, if the function does
    /// not get the header that says so.
    ///
    /// # Errors
    /// The inbox refuses.
    pub async fn receive_with(
        &self,
        id: &TriggerId,
        trigger: &Trigger,
        event: CloudEvent,
        headers: &HeaderMap,
    ) -> Result<Put, EventsError> {
        let now = self.clock.now();
        let key = EventKey { trigger: trigger_key(id), id: event.id.as_str().to_owned() };
        let request = EventRequest::of_event(&id.name, &trigger.path, event);
        let ordered_by = trigger.ordered_by.as_ref();
        let ordering_key = ordered_by.and_then(|by| ordering_key(by, [&request.headers, headers]));
        let event = NewEvent { key, due_ms: now.unix_ms(), ordering_key, body: request.encode() };
        let put = self.put(now, vec![event], Vec::new()).await?;
        Ok(put.first().copied().unwrap_or(Put::Duplicate))
    }

    fn schedule(&self, id: &TriggerId) -> Result<Arc<Trigger>, EventsError> {
        let triggers = self.triggers.borrow();
        let active = triggers.triggers.get(id).ok_or_else(|| EventsError::NoSuchTrigger(id.clone()))?;
        match &active.trigger.kind {
            TriggerKind::Schedule(_) => Ok(Arc::clone(&active.trigger)),
            kind => Err(EventsError::NotSchedule { trigger: id.clone(), found: kind.as_str() }),
        }
    }
}

impl<I: Inbox> EventOperations for Events<I> {
    fn run_now<'a>(&'a self, trigger: &'a TriggerId) -> EventOperation<'a, String> {
        Box::pin(async move {
            let schedule = self.schedule(trigger)?;
            let now = self.clock.now();
            let id = format!("run-{now}-{:08x}", rand::random::<u32>());
            let happened = CloudEvent {
                id: id.parse::<Attribute>().expect("it is short text without control characters"),
                ..CloudEvent::tick(trigger, Tick { at: now, run_at: now })
            };
            let body = EventRequest::of_event(&trigger.name, &schedule.path, happened).encode();
            let key = EventKey { trigger: trigger_key(trigger), id: id.clone() };
            let event = NewEvent { key, due_ms: now.unix_ms(), ordering_key: None, body };
            self.put(now, vec![event], Vec::new()).await?;
            Ok(id)
        })
    }

    fn backfill<'a>(
        &'a self,
        trigger: &'a TriggerId,
        from: Timestamp,
        to: Timestamp,
    ) -> EventOperation<'a, Backfilled> {
        Box::pin(async move {
            let found = self.schedule(trigger)?;
            let TriggerKind::Schedule(schedule) = &found.kind else {
                unreachable!("the trigger is a schedule");
            };
            let backfill = schedule.backfill(from, to, wasm_fn_events::BACKFILL_MAX);
            if backfill.times.is_empty() {
                return Err(EventsError::NoTicks { trigger: trigger.clone(), from, to });
            }
            let now = self.clock.now();
            let ticks = backfill.times.iter().map(|&at| Tick { at, run_at: now });
            let events = ticks.map(|tick| scheduler::event(trigger, &found, tick)).collect();
            let put = self.put(now, events, Vec::new()).await?;
            let runs = put.iter().filter(|put| **put == Put::Accepted).count();
            Ok(Backfilled { runs, rest: backfill.rest })
        })
    }

    fn accept<'a>(
        &'a self,
        function: &'a FunctionName,
        stage: &'a StageName,
        request: EventRequest,
    ) -> EventOperation<'a, String> {
        Box::pin(async move {
            let id = format!("{:032x}", rand::random::<u128>());
            let key = EventKey { trigger: format!("{function}/{stage}/{ASYNC}"), id: id.clone() };
            let now = self.clock.now();
            let stage = (function.clone(), stage.clone());
            let ordered_by = self.triggers.borrow().asynchronous.get(&stage).cloned().flatten();
            let ordering_key = ordered_by.and_then(|by| ordering_key(&by, [&request.headers]));
            let event = NewEvent { key, due_ms: now.unix_ms(), ordering_key, body: request.encode() };
            self.put(now, vec![event], Vec::new()).await?;
            Ok(id)
        })
    }

    fn list<'a>(
        &'a self,
        trigger: &'a str,
        list: EventList,
        page: EventPage,
    ) -> EventOperation<'a, Vec<StoredEvent>> {
        Box::pin(async move {
            Ok(match list {
                EventList::Waiting => self.inbox.waiting(trigger, page).await?,
                EventList::Dead => self.inbox.dead_letters(trigger, page).await?,
            })
        })
    }

    fn show(&self, key: EventKey) -> EventOperation<'_, ShownEvent> {
        Box::pin(async move {
            let found = self.inbox.show(key.clone()).await?;
            let (event, body): (StoredEvent, Bytes) = found.ok_or(EventsError::NoSuchEvent(key))?;
            Ok(ShownEvent { event, request: EventRequest::decode(&body)? })
        })
    }

    fn state(&self, key: EventKey) -> EventOperation<'_, EventState> {
        Box::pin(async move {
            let found = self.inbox.state(self.clock.now().unix_ms(), key.clone()).await?;
            found.ok_or(EventsError::NoSuchEvent(key))
        })
    }

    fn redrive<'a>(&'a self, trigger: &'a str, letters: DeadLetters) -> EventOperation<'a, u64> {
        Box::pin(async move { Ok(self.inbox.redrive(self.clock.now().unix_ms(), trigger, letters).await?) })
    }

    fn discard<'a>(&'a self, trigger: &'a str, letters: DeadLetters) -> EventOperation<'a, u64> {
        Box::pin(async move { Ok(self.inbox.discard(self.clock.now().unix_ms(), trigger, letters).await?) })
    }

    fn counts(&self) -> EventOperation<'_, Vec<TriggerCounts>> {
        Box::pin(async move { Ok(self.inbox.counts().await?) })
    }

    fn stats(&self, trigger: &str) -> TriggerStats {
        self.stats.of(trigger)
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }
}
