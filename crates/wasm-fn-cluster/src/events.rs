//! The inbox that the nodes of a cluster have in common.
//!
//! There is one log of changes on the broker, and each node applies all of them to an inbox of its own, in
//! the order of the log. So all have the same, and a change is made when the node that wants it has applied
//! it: what it led to is known then, such as that the event was there before. Nodes send several changes in
//! one message when many come at a time.
//!
//! Events are taken from the node's own inbox. Each trigger is in a shard, and only the holder of the
//! shard's lease takes its events, so that concurrency, rate and order are those of a node that is alone.
//! What is in flight is known to the holder only. If it dies, the events wait again for the next one.

mod follower;
mod holder;
mod holdings;
mod inner;
mod message;
mod news;
mod queue;
mod sender;
mod sent;
mod shards;
mod snapshot;

use std::{
    collections::BTreeSet,
    fmt,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use tokio::{sync::watch, task::JoinSet, time::timeout};
use tokio_util::sync::{CancellationToken, DropGuard};
use wasm_fn_store::{
    ChangeOutcome, DeadEvent, DeadLetters, EventKey, EventPage, EventState, Finish, Inbox, InboxChange,
    InboxError, Mark, NewEvent, Put, Receipt, StoreError, StoredEvent, Take, TakenEvent, TriggerCounts,
};

pub(crate) use self::{inner::SharedInboxOptions, snapshot::begin_with};
use self::{
    inner::{Flight, Inner},
    queue::Queued,
};

/// Letters that are redriven or discarded by their ids with one change.
const LETTERS_MAX: usize = 256;

/// For how long an inbox that is released waits for what is on its way.
const RELEASE_WAIT: Duration = Duration::from_secs(3);

/// The inbox that the nodes of a cluster have in common. Clones are the same inbox.
#[derive(Clone)]
pub struct SharedInbox {
    inner: Arc<Inner>,
    tasks: Arc<Mutex<Option<Tasks>>>,
    // The tasks have the inner inbox, too, and end with this.
    _end: Arc<DropGuard>,
}

struct Tasks {
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl fmt::Debug for SharedInbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedInbox").field("place", &*self.inner.place.borrow()).finish_non_exhaustive()
    }
}

impl SharedInbox {
    /// Follows the log, on the current tokio runtime, from where the replica ends.
    pub(crate) async fn start(options: SharedInboxOptions) -> Result<Self, StoreError> {
        let place = options.replica.applied().await?;
        let stop = options.stop.clone();
        let inner = Arc::new(Inner::new(options, place));
        let inbox = Self { inner, tasks: Arc::default(), _end: Arc::new(stop.drop_guard()) };
        inbox.begin();
        Ok(inbox)
    }

    fn begin(&self) {
        let mut running = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        if running.is_some() {
            return;
        }
        let (inner, stop, mut tasks) = (&self.inner, self.inner.options.stop.child_token(), JoinSet::new());
        tasks.spawn(follower::run(Arc::clone(inner), stop.clone()));
        tasks.spawn(sender::run(Arc::clone(inner), stop.clone()));
        if inner.options.takes {
            tasks.spawn(holder::run(Arc::clone(inner), stop.clone()));
            tasks.spawn(snapshot::run(Arc::clone(inner), stop.clone()));
        }
        *running = Some(Tasks { stop, tasks });
    }

    /// Waits until everything is applied that the log has had since it was connected to.
    pub async fn caught_up(&self) {
        let mut checked = self.inner.checked.subscribe();
        // The sender is in the inbox.
        let _ = checked.wait_for(|checked| *checked > 0).await;
        let mut place = self.inner.place.subscribe();
        let target = self.inner.news.target();
        let _ = place.wait_for(|place| place.sequence >= target).await;
    }

    /// Redrives or discards `letters`, one part after the other.
    async fn dispose(
        &self,
        trigger: &str,
        letters: DeadLetters,
        is_redriven: bool,
    ) -> Result<u64, InboxError> {
        let last = self.inner.options.replica.last().await?;
        let mut parts: Vec<_> = match letters {
            DeadLetters::All => vec![DeadLetters::All],
            DeadLetters::Ids(ids) => {
                ids.chunks(LETTERS_MAX).rev().map(|ids| DeadLetters::Ids(ids.to_vec())).collect()
            }
        };
        let mut count = 0;
        while let Some(letters) = parts.pop() {
            let change = InboxChange::Dispose { trigger: trigger.to_owned(), letters, last, is_redriven };
            if let ChangeOutcome::Disposed(disposed) = self.inner.change(change).await? {
                let (some, rest) = disposed?;
                count += some;
                parts.extend(rest);
            }
        }
        Ok(count)
    }
}

/// When an event is due that is due at once: no clock of another node has to agree.
const AT_ONCE: u64 = 0;

/// An event as it is shown.
fn shown(event: StoredEvent) -> StoredEvent {
    let state = match event.state {
        EventState::Waiting { due_ms: AT_ONCE, attempts, reason } => {
            EventState::Waiting { due_ms: event.arrived_ms, attempts, reason }
        }
        state => state,
    };
    StoredEvent { state, ..event }
}

impl Inbox for SharedInbox {
    async fn put(
        &self,
        now_ms: u64,
        mut events: Vec<NewEvent>,
        marks: Vec<Mark>,
    ) -> Result<Vec<Put>, InboxError> {
        let inner = &self.inner;
        let triggers: BTreeSet<&str> = marks.iter().map(|mark| &*mark.trigger).collect();
        let holders = triggers.into_iter().map(|trigger| inner.holder_of(trigger).ok_or(InboxError::NotHeld));
        let mut holders = holders.collect::<Result<Vec<_>, _>>()?;
        holders.sort_by_key(|holder| holder.shard);
        holders.dedup_by_key(|holder| holder.shard);
        if marks.is_empty() {
            for event in events.iter_mut().filter(|event| event.due_ms <= now_ms) {
                event.due_ms = AT_ONCE;
            }
        }
        let change = InboxChange::Put { events, marks, holders };
        inner.fits(&change)?;
        match inner.change(change).await? {
            ChangeOutcome::Put(put) => put,
            _ => Err(InboxError::NotHeld),
        }
    }

    async fn marks(&self, prefix: &str, limit: usize) -> Result<Vec<(String, Bytes)>, InboxError> {
        self.inner.options.replica.marks(prefix, limit).await
    }

    async fn take<A>(&self, now_ms: u64, take: Take<A>) -> Result<Vec<TakenEvent>, InboxError>
    where
        A: FnMut(&str, usize) -> bool + Send + 'static,
    {
        let inner = Arc::clone(&self.inner);
        let Take { events_max, bytes_max, mut admit } = take;
        let admit =
            move |trigger: &str, in_flight: usize| inner.may_take(trigger) && admit(trigger, in_flight);
        let replica = &self.inner.options.replica;
        let taken = replica.take(now_ms, Take { events_max, bytes_max, admit }).await?;
        let mut events = Vec::with_capacity(taken.len());
        for event in taken {
            let Some(holder) = self.inner.holder_of(&event.trigger) else {
                // It was lost just now.
                replica.finish(now_ms, event.receipt, Finish::Released).await?;
                continue;
            };
            let flight = Flight { trigger: Arc::clone(&event.trigger), attempt: event.attempt, holder };
            self.inner.flights().insert(event.receipt, flight);
            let due_ms = if event.due_ms == AT_ONCE { event.arrived_ms } else { event.due_ms };
            events.push(TakenEvent { due_ms, ..event });
        }
        Ok(events)
    }

    fn next_due_ms(&self) -> Option<u64> {
        self.inner.options.replica.next_due_ms()
    }

    async fn changed(&self) {
        tokio::select! {
            () = self.inner.options.replica.changed() => {}
            () = self.inner.rang.notified() => {}
        }
    }

    fn in_progress(&self, trigger: &str) -> (usize, usize) {
        self.inner.options.replica.in_progress(trigger)
    }

    fn holds(&self, trigger: &str) -> bool {
        self.inner.holder_of(trigger).is_some()
    }

    fn holdings(&self) -> watch::Receiver<u64> {
        self.inner.holdings.watch()
    }

    async fn lost(&self, receipt: Receipt) {
        let Some(Flight { holder, .. }) = self.inner.flights().get(&receipt).cloned() else { return };
        let mut holdings = self.inner.holdings.watch();
        loop {
            holdings.mark_unchanged();
            if self.inner.holdings.of(holder.shard).is_none_or(|(fence, _)| fence != holder.fence) {
                return;
            }
            if holdings.changed().await.is_err() {
                return;
            }
        }
    }

    fn lag(&self) -> Duration {
        2 * self.inner.options.lease
    }

    async fn finish(&self, now_ms: u64, receipt: Receipt, finish: Finish) -> Result<(), InboxError> {
        let inner = &self.inner;
        if finish == Finish::Released {
            inner.flights().remove(&receipt);
            return inner.options.replica.finish(now_ms, receipt, finish).await;
        }
        let may_wait = matches!(finish, Finish::Acknowledged { .. });
        let (change, delivery) = inner.end_of(receipt, finish).ok_or(InboxError::NotInFlight)?;
        if may_wait && !delivery.is_ordered() {
            let _room = inner.queue.room(&change).await;
            inner.options.replica.detach(&delivery);
            let ends = Some((receipt, delivery));
            inner.queue.defer(Queued { change, ends, reply: None, _room });
            return Ok(());
        }
        match inner.submit(change, Some((receipt, delivery))).await? {
            ChangeOutcome::Finished(finished) => finished,
            _ => Err(InboxError::NotInFlight),
        }
    }

    async fn bury(&self, _: u64, event: DeadEvent) -> Result<Put, InboxError> {
        let change = InboxChange::Bury(event);
        self.inner.fits(&change)?;
        match self.inner.change(change).await? {
            ChangeOutcome::Buried(put) => put,
            _ => Err(InboxError::NotHeld),
        }
    }

    async fn waiting(&self, trigger: &str, page: EventPage) -> Result<Vec<StoredEvent>, InboxError> {
        let events = self.inner.options.replica.waiting(trigger, page).await?;
        Ok(events.into_iter().map(shown).collect())
    }

    async fn dead_letters(&self, trigger: &str, page: EventPage) -> Result<Vec<StoredEvent>, InboxError> {
        self.inner.options.replica.dead_letters(trigger, page).await
    }

    async fn show(&self, key: EventKey) -> Result<Option<(StoredEvent, Bytes)>, InboxError> {
        let found = self.inner.options.replica.show(key).await?;
        Ok(found.map(|(event, body)| (shown(event), body)))
    }

    async fn state(&self, now_ms: u64, key: EventKey) -> Result<Option<EventState>, InboxError> {
        if let Some((event, _)) = self.show(key.clone()).await? {
            return Ok(Some(event.state));
        }
        self.inner.options.replica.state(now_ms, key).await
    }

    async fn redrive(&self, _: u64, trigger: &str, letters: DeadLetters) -> Result<u64, InboxError> {
        self.dispose(trigger, letters, true).await
    }

    async fn discard(&self, _: u64, trigger: &str, letters: DeadLetters) -> Result<u64, InboxError> {
        self.dispose(trigger, letters, false).await
    }

    async fn forget(&self, trigger: &str, last: u64) -> Result<bool, InboxError> {
        let change = InboxChange::Forget { trigger: trigger.to_owned(), last };
        Ok(matches!(self.inner.change(change).await?, ChangeOutcome::Forgotten(true)))
    }

    async fn counts(&self) -> Result<Vec<TriggerCounts>, InboxError> {
        self.inner.options.replica.counts().await
    }

    async fn copy(&self, folder: PathBuf, begun: impl FnOnce() + Send + 'static) -> Result<(), StoreError> {
        self.inner.options.replica.copy(folder, begun).await
    }

    async fn release(&self) {
        let inner = &self.inner;
        let tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Tasks { stop, mut tasks }) = tasks {
            // What has ended is not to be handled again only because nobody heard of it.
            inner.queue.hurry();
            let _ = timeout(RELEASE_WAIT, inner.queue.idle()).await;
            stop.cancel();
            while tasks.join_next().await.is_some() {}
        }
        inner.checked.send_replace(0);
        inner.holdings.clear();
        inner.queue.clear();
        inner.sent.clear();
        inner.flights().clear();
        inner.options.replica.release().await;
    }

    async fn take_back(&self) -> Result<(), StoreError> {
        let inner = &self.inner;
        inner.options.replica.take_back().await?;
        inner.place.send_replace(inner.options.replica.applied().await?);
        inner.news.reset();
        self.begin();
        Ok(())
    }
}
