//! The events of a node: its inbox, and the tasks that fill and empty it.

mod pacer;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use tokio::sync::{Notify, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use wasm_fn_events::{Timestamp, Trigger, TriggerId, WatchSource};
use wasm_fn_store::{Inbox, InboxError, Mark, NewEvent, Put, Receipt, TakenEvent};

use self::pacer::Pacer;
use crate::{
    clock::WallClock,
    deliver::Deliver,
    deploy::DeployEvents,
    dispatcher,
    pauses::Pauses,
    scheduler::{self, no_mark},
    stats::Stats,
    triggers::{Triggers, trigger_key},
    watcher::{self, WatchStatus},
};

/// How long to wait before triggers that are gone are looked for again, after the inbox has failed.
const PAUSE: Duration = Duration::from_secs(10);

/// The bounds of a node's deliveries.
#[derive(Clone, Debug)]
pub struct EventsOptions {
    /// Deliveries in flight at a time. They share the node with requests.
    pub in_flight_max: usize,
    /// Whether the schedules tick here.
    pub duty: watch::Receiver<Duty>,
}

/// Whether the schedules of all triggers tick on this node. In a cluster they tick on one node at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duty {
    /// Another node has them tick, if any does.
    Off,
    /// They tick here, from this time on. What was due before was another node's.
    From(Timestamp),
}

impl Duty {
    /// The duty of a node that is alone: always.
    pub fn always() -> watch::Receiver<Self> {
        watch::channel(Self::From(Timestamp::from_unix_ms(0))).1
    }
}

/// The events of a node.
pub struct Events<I> {
    pub(crate) inbox: I,
    pub(crate) clock: WallClock,
    pub(crate) options: EventsOptions,
    pub(crate) triggers: watch::Receiver<Arc<Triggers>>,
    pub(crate) pauses: Box<dyn Pauses>,
    pub(crate) deploys: Arc<dyn DeployEvents>,
    pub(crate) stats: Stats,
    pub(crate) progress: Progress,
    pub(crate) pacer: Arc<Pacer>,
    /// Notified when a delivery has ended.
    pub(crate) finished: Notify,
}

/// The tasks that tick and deliver.
pub struct EventRunner<I> {
    events: Arc<Events<I>>,
    orders: Orders,
    tasks: TaskTracker,
}

/// What is wanted of the tasks.
#[derive(Clone, Default)]
pub(crate) struct Orders {
    /// Begin nothing more.
    pub(crate) stop: CancellationToken,
    /// Break off what is in flight.
    pub(crate) cut: CancellationToken,
}

impl<I: Inbox> Events<I> {
    /// The events in `inbox`, of the triggers that `triggers` has at a time.
    pub fn new(
        inbox: I,
        clock: WallClock,
        options: EventsOptions,
        triggers: watch::Receiver<Arc<Triggers>>,
        pauses: Box<dyn Pauses>,
        deploys: Arc<dyn DeployEvents>,
    ) -> Arc<Self> {
        Arc::new(Self {
            inbox,
            clock,
            options,
            triggers,
            pauses,
            deploys,
            stats: Stats::default(),
            progress: Progress::default(),
            pacer: Arc::default(),
            finished: Notify::new(),
        })
    }

    /// Starts to tick and to deliver, on the current tokio runtime. Only one may run at a time.
    ///
    /// # Errors
    /// The inbox cannot be read.
    pub async fn start<D: Deliver>(self: &Arc<Self>, deliver: Arc<D>) -> Result<EventRunner<I>, InboxError> {
        for counts in self.inbox.counts().await? {
            self.progress.resume(&counts.trigger, counts.waiting + counts.in_flight);
        }
        let (orders, tasks) = (Orders::default(), TaskTracker::new());
        tasks.spawn(dispatcher::run(Arc::clone(self), deliver, orders.clone()));
        let until_stop = |task| orders.stop.clone().run_until_cancelled_owned(task);
        tasks.spawn(until_stop(scheduler::run(Arc::clone(self))));
        let until_stop = |task| orders.stop.clone().run_until_cancelled_owned(task);
        let looking = Arc::clone(self);
        let look = move |id: TriggerId, trigger: Arc<Trigger>| {
            let events = Arc::clone(&looking);
            async move { events.look(&id, &trigger).await }
        };
        tasks.spawn(until_stop(watcher::run(self.clock.clone(), self.triggers.clone(), look)));
        let until_stop = |task| orders.stop.clone().run_until_cancelled_owned(task);
        tasks.spawn(until_stop(forget_gone(Arc::clone(self))));
        tasks.close();
        Ok(EventRunner { events: Arc::clone(self), orders, tasks })
    }

    /// The inbox.
    pub fn inbox(&self) -> &I {
        &self.inbox
    }

    /// Looks once at the tag that `trigger` watches, and puts an event into the inbox if it has another
    /// digest than the one seen last. Returns whether the tag could be seen.
    async fn look(&self, id: &TriggerId, trigger: &Trigger) -> bool {
        let Some(watch) = watcher::source(trigger) else { return true };
        let key = trigger_key(id);
        let found = self.deploys.digest(id, watch).await;
        let now = self.clock.now();
        let digest = match found {
            Ok(digest) => digest,
            Err(reason) => {
                tracing::warn!(trigger = %id, reason, "watched artifact cannot be seen");
                self.stats.watched(&key, |status| {
                    (status.looked, status.failing) = (Some(now), Some(reason.clone()));
                });
                return false;
            }
        };
        let put = self.put_changed((id, trigger, watch), &digest, now).await;
        if let Err(error) = &put {
            tracing::warn!(trigger = %id, %error, "event of a changed artifact was not received");
        }
        self.stats.watched(&key, |status| {
            let (seen, looked) = (Some(now), Some(now));
            *status = WatchStatus { digest: Some(digest), seen, looked, failing: None };
        });
        put.is_ok()
    }

    async fn put_changed(
        &self,
        (id, trigger, watch): (&TriggerId, &Trigger, &WatchSource),
        digest: &str,
        now: Timestamp,
    ) -> Result<(), InboxError> {
        let name = format!("{}{}", watcher::MARK, trigger_key(id));
        if self.mark(&name).await?.is_some_and(|seen| seen == digest.as_bytes()) {
            return Ok(());
        }
        let event = watcher::event(id, trigger, watch, digest, now);
        let seen = Mark { name, value: Some(Bytes::copy_from_slice(digest.as_bytes())) };
        self.put(now, vec![event], vec![seen]).await.map(drop)
    }

    /// The value of the mark `name`.
    pub(crate) async fn mark(&self, name: &str) -> Result<Option<Bytes>, InboxError> {
        // It is the first of those that its name begins, if it is there.
        let found = self.inbox.marks(name, 1).await?;
        Ok(found.into_iter().find(|(found, _)| found == name).map(|(_, value)| value))
    }

    /// Puts events into the inbox, with marks.
    pub(crate) async fn put(
        &self,
        now: Timestamp,
        events: Vec<NewEvent>,
        marks: Vec<Mark>,
    ) -> Result<Vec<Put>, InboxError> {
        let keys: Vec<_> = events.iter().map(|event| event.key.trigger.clone()).collect();
        // Counted before, since they may be delivered before this returns.
        keys.iter().for_each(|key| self.progress.add(key));
        let put = self.inbox.put(now.unix_ms(), events, marks).await;
        for (at, key) in keys.iter().enumerate() {
            if !matches!(&put, Ok(puts) if puts[at] == Put::Accepted) {
                self.progress.remove(key);
            }
        }
        put
    }
}

impl<I: Inbox> EventRunner<I> {
    /// Begins nothing more, waits for what is in flight, at most `timeout`, and releases the inbox, so that
    /// another process can open it. What has not ended by then is broken off, and is delivered again by
    /// whoever opens the inbox. Returns whether all has ended.
    pub async fn stop(self, timeout: Duration) -> bool {
        self.orders.stop.cancel();
        let ended = tokio::time::timeout(timeout, self.tasks.wait()).await.is_ok();
        self.orders.cut.cancel();
        self.tasks.wait().await;
        self.events.inbox.release().await;
        ended
    }
}

/// Removes what the inbox has of triggers that are gone.
async fn forget_gone<I: Inbox>(events: Arc<Events<I>>) {
    let mut triggers = events.triggers.clone();
    loop {
        let current = Arc::clone(&triggers.borrow_and_update());
        let forgotten = forget(&events, &current).await;
        events.stats.retain(|key| current.route(key).is_some());
        events.pacer.retain(|key| current.limits(key).1.is_some());
        let again = forgotten.is_err();
        if let Err(error) = forgotten {
            tracing::warn!(%error, "events of triggers that are gone were not removed");
        }
        tokio::select! {
            () = tokio::time::sleep(PAUSE), if again => {}
            changed = triggers.changed() => if changed.is_err() { return },
        }
    }
}

async fn forget<I: Inbox>(events: &Events<I>, triggers: &Triggers) -> Result<(), InboxError> {
    for counts in events.inbox.counts().await? {
        if triggers.route(&counts.trigger).is_none() {
            tracing::info!(
                trigger = %counts.trigger,
                waiting = counts.waiting,
                dead = counts.dead,
                "events are removed with their trigger"
            );
            events.inbox.forget(&counts.trigger).await?;
            let now = events.clock.now().unix_ms();
            let prefixes = [watcher::MARK, dispatcher::MEMORY];
            let marks = prefixes.map(|prefix| format!("{prefix}{}", counts.trigger));
            let marks = marks.map(|name| Mark { name, value: None });
            let marks = std::iter::once(no_mark(&counts.trigger)).chain(marks);
            events.inbox.put(now, Vec::new(), marks.collect()).await?;
            events.progress.forget(&counts.trigger);
        }
    }
    Ok(())
}

/// What each trigger has in progress.
#[derive(Debug, Default)]
pub(crate) struct Progress(Mutex<HashMap<String, InProgress>>);

#[derive(Debug, Default)]
struct InProgress {
    /// Events that are waiting or in flight. Below 0 while one has ended that is still to be added.
    unfinished: i64,
    /// Those in flight.
    running: Vec<InFlight>,
    /// Events that came before this are broken off: a later run takes their place. Unix milliseconds.
    superseded_before_ms: u64,
}

#[derive(Debug)]
struct InFlight {
    // An event that is tried again may be taken before its delivery before has ended here.
    receipt: Receipt,
    arrived_ms: u64,
    token: CancellationToken,
}

/// An event in flight.
pub(crate) struct Running<'a> {
    progress: &'a Progress,
    key: String,
    receipt: Receipt,
    token: CancellationToken,
    superseded: bool,
}

impl Progress {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, InProgress>> {
        // Nothing panics while holding the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many events of `key` are in flight, and how many wait.
    pub(crate) fn of(&self, key: &str) -> (usize, usize) {
        self.lock().get(key).map_or((0, 0), |progress| {
            let running = progress.running.len();
            let unfinished = usize::try_from(progress.unfinished).unwrap_or(0);
            (running, unfinished.saturating_sub(running))
        })
    }

    /// Breaks off what came of `key` before `arrived_ms`, whether it runs or waits.
    pub(crate) fn supersede(&self, key: &str, arrived_ms: u64) {
        if let Some(progress) = self.lock().get_mut(key) {
            let earlier = progress.running.iter().filter(|running| running.arrived_ms < arrived_ms);
            earlier.for_each(|running| running.token.cancel());
            progress.superseded_before_ms = progress.superseded_before_ms.max(arrived_ms);
        }
    }

    fn resume(&self, key: &str, unfinished: u64) {
        let unfinished = i64::try_from(unfinished).unwrap_or(i64::MAX);
        self.lock().insert(key.to_owned(), InProgress { unfinished, ..InProgress::default() });
    }

    pub(crate) fn add(&self, key: &str) {
        self.lock().entry(key.to_owned()).or_default().unfinished += 1;
    }

    fn remove(&self, key: &str) {
        if let Some(progress) = self.lock().get_mut(key) {
            progress.unfinished -= 1;
        }
    }

    fn forget(&self, key: &str) {
        if let Some(progress) = self.lock().remove(key) {
            progress.running.iter().for_each(|running| running.token.cancel());
        }
    }

    /// Notes that `event` is in flight.
    pub(crate) fn begin(&self, event: &TakenEvent) -> Running<'_> {
        let (receipt, arrived_ms) = (event.receipt, event.arrived_ms);
        let (key, token) = (event.trigger.to_string(), CancellationToken::new());
        let mut all = self.lock();
        let progress = all.entry(key.clone()).or_default();
        let superseded = arrived_ms < progress.superseded_before_ms;
        progress.running.push(InFlight { receipt, arrived_ms, token: token.clone() });
        Running { progress: self, key, receipt, token, superseded }
    }
}

impl Running<'_> {
    /// Whether a later run has taken its place.
    pub(crate) fn is_superseded(&self) -> bool {
        self.superseded
    }

    /// Cancelled when the run is to be broken off.
    pub(crate) fn cancelled(&self) -> CancellationToken {
        self.token.clone()
    }

    /// Notes that the event is no longer in flight, and whether it `is_over`.
    pub(crate) fn end(self, is_over: bool) {
        let mut all = self.progress.lock();
        let Some(progress) = all.get_mut(&self.key) else { return };
        progress.running.retain(|running| running.receipt != self.receipt);
        if is_over {
            progress.unfinished -= 1;
        }
    }
}

#[cfg(test)]
mod tests;
