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
use wasm_fn_store::{Inbox, InboxError, Mark, NewEvent, Put, Receipt, TakenEvent, TriggerCounts};

use self::pacer::Pacer;
use crate::{
    clock::WallClock,
    deliver::Deliver,
    deploy::DeployEvents,
    dispatcher,
    pauses::Pauses,
    scheduler,
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
    pub fn start<D: Deliver>(self: &Arc<Self>, deliver: Arc<D>) -> EventRunner<I> {
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
        let (holding, holdings) = (Arc::clone(self), self.inbox.holdings());
        let holds = move |id: &TriggerId| holding.inbox.holds(&trigger_key(id));
        let watching = (self.triggers.clone(), holdings, holds);
        tasks.spawn(until_stop(watcher::run(self.clock.clone(), watching, look)));
        let until_stop = |task| orders.stop.clone().run_until_cancelled_owned(task);
        tasks.spawn(until_stop(forget_gone(Arc::clone(self))));
        tasks.close();
        EventRunner { events: Arc::clone(self), orders, tasks }
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
        let value = Some(Bytes::copy_from_slice(digest.as_bytes()));
        let seen = Mark { trigger: trigger_key(id), name, value };
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
        self.inbox.put(now.unix_ms(), events, marks).await
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
    let (mut triggers, mut holdings) = (events.triggers.clone(), events.inbox.holdings());
    loop {
        let current = Arc::clone(&triggers.borrow_and_update());
        holdings.mark_unchanged();
        let forgotten = forget(&events).await;
        events.stats.retain(|key| current.route(key).is_some());
        events.pacer.retain(|key| current.limits(key).1.is_some());
        let again = forgotten.as_ref().map_or(true, |all| !all);
        if let Err(error) = forgotten {
            tracing::warn!(%error, "events of triggers that are gone were not removed");
        }
        tokio::select! {
            () = tokio::time::sleep(PAUSE), if again => {}
            changed = triggers.changed() => if changed.is_err() { return },
            // Without a sender, nothing is ever held that was not.
            Ok(()) = holdings.changed() => {}
        }
    }
}

/// Returns whether all are removed that are gone.
async fn forget<I: Inbox>(events: &Events<I>) -> Result<bool, InboxError> {
    let is_gone = |key: &str| events.inbox.holds(key) && events.triggers.borrow().route(key).is_none();
    let counts = events.inbox.counts().await?;
    let gone: Vec<_> = counts.into_iter().filter(|counts| is_gone(&counts.trigger)).collect();
    if gone.is_empty() {
        return Ok(true);
    }
    // Another node may have put to a trigger that is only not known here yet.
    tokio::time::sleep(events.inbox.lag()).await;
    let mut all = true;
    for TriggerCounts { trigger, waiting, dead, last, .. } in gone {
        if !is_gone(&trigger) {
            continue;
        }
        if !events.inbox.forget(&trigger, last).await? {
            all = false;
            continue;
        }
        tracing::info!(%trigger, waiting, dead, "events are removed with their trigger");
        let now = events.clock.now();
        let marks = [scheduler::MARK, watcher::MARK, dispatcher::MEMORY];
        let mark =
            |prefix| Mark { trigger: trigger.to_string(), name: format!("{prefix}{trigger}"), value: None };
        events.put(now, Vec::new(), marks.map(mark).into()).await?;
        events.progress.forget(&trigger);
    }
    Ok(all)
}

/// What each trigger has in flight, to be broken off.
#[derive(Debug, Default)]
pub(crate) struct Progress(Mutex<HashMap<String, InProgress>>);

#[derive(Debug, Default)]
struct InProgress {
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

    /// Breaks off what came of `key` before `arrived_ms`, whether it runs or waits.
    pub(crate) fn supersede(&self, key: &str, arrived_ms: u64) {
        // What waits may be taken later.
        let mut all = self.lock();
        let progress = all.entry(key.to_owned()).or_default();
        {
            let earlier = progress.running.iter().filter(|running| running.arrived_ms < arrived_ms);
            earlier.for_each(|running| running.token.cancel());
            progress.superseded_before_ms = progress.superseded_before_ms.max(arrived_ms);
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

    /// Notes that the event is no longer in flight.
    pub(crate) fn end(self) {
        if let Some(progress) = self.progress.lock().get_mut(&self.key) {
            progress.running.retain(|running| running.receipt != self.receipt);
        }
    }
}
