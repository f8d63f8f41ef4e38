//! What the tasks of an inbox have in common: what it is made of, and how a change is made.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::{
    sync::{Notify, oneshot, watch},
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use wasm_fn_store::{
    ChangeOutcome, Delivery, EmbeddedInbox, Finish, InboxChange, InboxError, InboxLimits, LogPlace, Receipt,
    ShardHolder, StoreError,
};

use super::{
    holdings::Holdings,
    message,
    news::News,
    queue::{Queue, Queued},
    sent::Sent,
    shards::{self, shard_of},
};
use crate::{Components, Contact, ContactState, Leases, contact::rfc3339, link::Link, names::Names};

/// Bytes of a message that are left for what is around the body of an event.
const FRAME_BYTES: u64 = 16 << 10;

pub(crate) struct SharedInboxOptions {
    pub(crate) replica: EmbeddedInbox,
    /// Where the replica is.
    pub(crate) folder: PathBuf,
    pub(crate) limits: InboxLimits,
    /// Whether it takes events.
    pub(crate) takes: bool,
    /// What tells this process from all others.
    pub(crate) process: String,
    pub(crate) link: Link,
    pub(crate) contact: Contact,
    pub(crate) leases: Leases,
    pub(crate) components: Components,
    pub(crate) names: Names,
    pub(crate) lease: Duration,
    pub(crate) stop: CancellationToken,
}

pub(super) struct Inner {
    pub(super) options: SharedInboxOptions,
    pub(super) queue: Queue,
    pub(super) sent: Sent,
    pub(super) news: News,
    /// How far the log was applied.
    pub(super) place: watch::Sender<LogPlace>,
    /// The number of the connection over which the log was found to go on from there; 0 if none.
    pub(super) checked: watch::Sender<u64>,
    /// Why the log is not applied, for people.
    fault: Mutex<Option<StoreError>>,
    /// The size of the log.
    pub(super) log_bytes: watch::Sender<u64>,
    pub(super) holdings: Holdings,
    /// What is in flight here, until its end is applied.
    flights: Mutex<HashMap<Receipt, Flight>>,
    /// Rings when there may be more to take although nothing was applied.
    pub(super) rang: Notify,
}

/// An event in flight.
#[derive(Clone, Debug)]
pub(super) struct Flight {
    pub(super) trigger: Arc<str>,
    pub(super) attempt: u32,
    pub(super) holder: ShardHolder,
}

impl Inner {
    pub(super) fn new(options: SharedInboxOptions, place: LogPlace) -> Self {
        Self {
            options,
            queue: Queue::new(),
            sent: Sent::default(),
            news: News::new(),
            place: watch::channel(place).0,
            checked: watch::channel(0).0,
            fault: Mutex::default(),
            log_bytes: watch::channel(0).0,
            holdings: Holdings::new(),
            flights: Mutex::default(),
            rang: Notify::new(),
        }
    }

    pub(super) fn place(&self) -> LogPlace {
        *self.place.borrow()
    }

    pub(super) fn flights(&self) -> MutexGuard<'_, HashMap<Receipt, Flight>> {
        // Nothing panics while holding the lock.
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn fail(&self, error: StoreError) {
        let mut fault = self.fault.lock().unwrap_or_else(PoisonError::into_inner);
        let text = error.to_string();
        if fault.as_ref().map(ToString::to_string) != Some(text) {
            tracing::error!(%error, "inbox does not go on");
        }
        *fault = Some(error);
    }

    /// The log is applied again.
    pub(super) fn mend(&self) {
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Refuses what would come to nothing.
    pub(super) fn ready(&self) -> Result<(), InboxError> {
        if let Some(error) = &*self.fault.lock().unwrap_or_else(PoisonError::into_inner) {
            return Err(InboxError::Store(again(error, &self.options.names)));
        }
        match self.options.contact.state() {
            ContactState::In => Ok(()),
            ContactState::Out { since_ms, reason } => {
                Err(InboxError::Store(StoreError::OutOfTouch { since: rfc3339(since_ms), reason }))
            }
        }
    }

    /// Makes a change, unless the node is out of touch.
    pub(super) async fn change(&self, change: InboxChange) -> Result<ChangeOutcome, InboxError> {
        self.ready()?;
        self.submit(change, None).await
    }

    /// Makes a change, which may end a delivery.
    pub(super) async fn submit(
        &self,
        change: InboxChange,
        ends: Option<(Receipt, Delivery)>,
    ) -> Result<ChangeOutcome, InboxError> {
        let unknown = |reason: &str| InboxError::Store(StoreError::Unknown { reason: reason.to_owned() });
        let made = async {
            let _room = self.queue.room(&change).await;
            let (reply, replied) = oneshot::channel();
            self.queue.push(Queued { change, ends, reply: Some(reply), _room });
            replied.await.unwrap_or_else(|_| Err(unknown("the inbox was released")))
        };
        match timeout(self.options.lease, made).await {
            Ok(made) => made,
            Err(_) => Err(unknown("the broker did not take it in time")),
        }
    }

    /// Checks that a change fits into a message.
    pub(super) fn fits(&self, change: &InboxChange) -> Result<(), InboxError> {
        let Some(session) = self.options.link.session() else { return Ok(()) };
        let limit = (session.payload_max() as u64).saturating_sub(FRAME_BYTES);
        let found = message::size(change) as u64;
        if found > limit {
            return Err(InboxError::TooLarge { what: "event for a cluster", found, limit });
        }
        Ok(())
    }

    /// Who this process is to `trigger`; `None` if another process takes its events.
    pub(super) fn holder_of(&self, trigger: &str) -> Option<ShardHolder> {
        let shard = shard_of(trigger);
        let (fence, _) = self.holdings.of(shard)?;
        Some(ShardHolder { shard, process: self.options.process.clone(), fence })
    }

    /// Whether events of `trigger` may be taken now. It looks at the clock.
    pub(super) fn may_take(&self, trigger: &str) -> bool {
        let shard = shard_of(trigger);
        let Some((fence, true)) = self.holdings.of(shard) else { return false };
        self.options.leases.held(&shards::lease_of(shard)).is_some_and(|lease| lease.fence == fence)
    }

    pub(super) fn end_of(&self, receipt: Receipt, finish: Finish) -> Option<(InboxChange, Delivery)> {
        let Flight { trigger, attempt, holder } = self.flights().get(&receipt)?.clone();
        let delivery = self.options.replica.delivery(receipt)?;
        let (trigger, position) = (trigger.to_string(), delivery.position());
        Some((InboxChange::Finish { trigger, position, attempt, holder, finish }, delivery))
    }
}

/// The same error for another change.
fn again(error: &StoreError, names: &Names) -> StoreError {
    match error {
        StoreError::Diverged { revision, reason } => {
            StoreError::Diverged { revision: *revision, reason: reason.clone() }
        }
        error => StoreError::Database { path: names.events.as_ref().into(), reason: error.to_string() },
    }
}

/// The time, for what the node does. Nothing depends on that it is the same on another node.
#[expect(clippy::disallowed_methods, reason = "an entry of the log says when it was made")]
pub(super) fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
