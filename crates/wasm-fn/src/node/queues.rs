//! Queues: takes messages from brokers for the triggers that want them, and has them delivered.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::watch, task::JoinHandle};
use tokio_util::task::TaskTracker;
use wasm_fn_control::SecretId;
use wasm_fn_delivery::{
    Deliver, EventOperations as _, Events, QueueDeliveries, QueueStanding, QueuedEnd, QueuedMessage, Triggers,
};
use wasm_fn_events::{QueueMessage, QueueSource, StreamName, Trigger, TriggerId, TriggerKind};
use wasm_fn_queue::{
    BrokerCredentials, GetCredentials, QueueConsumer, QueueHandler, QueueOptions, QueueReport, Settled,
};
use wasm_fn_runtime::EgressOptions;
use wasm_fn_secrets::SecretValue;

use super::cluster::NodeInbox;

/// For how long deliveries of a queue that was paused may go on.
const PAUSE_WAIT: Duration = Duration::from_secs(60);

/// For how long deliveries of a queue that was removed may.
const REMOVE_WAIT: Duration = Duration::from_secs(1);

/// The newest value of a secret, if it has one.
pub(super) type SecretOf = Arc<dyn Fn(&SecretId) -> Result<Option<SecretValue>, String> + Send + Sync>;

/// What the queues of a node need.
pub(super) struct QueueParts<D> {
    pub(super) events: Arc<Events<NodeInbox>>,
    pub(super) deliver: Arc<D>,
    pub(super) secret: SecretOf,
    pub(super) triggers: watch::Receiver<Arc<Triggers>>,
    /// Whom connections trust, and where they may lead.
    pub(super) egress: EgressOptions,
}

/// The queues from which messages are taken. Without any, nothing connects to anywhere.
pub(super) struct Queues<D> {
    running: Arc<Mutex<BTreeMap<TriggerId, Running<D>>>>,
    following: JoinHandle<()>,
    /// Those that are ending.
    ending: TaskTracker,
}

/// A queue from which messages are taken.
struct Running<D> {
    trigger: Arc<Trigger>,
    consumer: QueueConsumer,
    deliveries: Arc<QueueDeliveries<NodeInbox, D>>,
}

/// Has the messages of one queue delivered.
struct Handler<D> {
    deliveries: Arc<QueueDeliveries<NodeInbox, D>>,
    events: Arc<Events<NodeInbox>>,
    id: TriggerId,
    stream: StreamName,
}

type Ending = BTreeMap<TriggerId, JoinHandle<()>>;

impl<D: Deliver> Queues<D> {
    /// Takes messages for the triggers that there are at a time.
    pub(super) fn start(parts: QueueParts<D>) -> Self {
        let (running, ending) = (Arc::<Mutex<BTreeMap<_, _>>>::default(), TaskTracker::new());
        let follow = follow(parts, Arc::clone(&running), ending.clone());
        Self { running, following: tokio::spawn(follow), ending }
    }

    /// Takes nothing more, and waits for what is in progress, at most `timeout`. What has not ended by then
    /// is broken off, and comes again. Returns whether all has ended.
    pub(super) async fn stop(self, timeout: Duration) -> bool {
        self.following.abort();
        // It may be at work on the map until then.
        let _ = self.following.await;
        let running = std::mem::take(&mut *lock(&self.running));
        let stopping = running.into_values().map(async |queue: Running<D>| {
            queue.deliveries.stop();
            queue.consumer.stop(timeout).await
        });
        let ended = futures_util::future::join_all(stopping).await;
        self.ending.close();
        let all = tokio::time::timeout(timeout, self.ending.wait()).await.is_ok();
        all && ended.into_iter().all(|ended| ended)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while holding the lock.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The queues among `triggers` that are not paused.
fn wanted(triggers: &Triggers) -> BTreeMap<TriggerId, (Arc<Trigger>, QueueSource)> {
    let queues = triggers.triggers.iter().filter_map(|(id, active)| match &active.trigger.kind {
        TriggerKind::Queue(source) if active.trigger.paused.is_none() => {
            Some((id.clone(), (Arc::clone(&active.trigger), source.clone())))
        }
        _ => None,
    });
    queues.collect()
}

/// Starts and ends what takes messages, as triggers come and go.
async fn follow<D: Deliver>(
    parts: QueueParts<D>,
    running: Arc<Mutex<BTreeMap<TriggerId, Running<D>>>>,
    tracker: TaskTracker,
) {
    let mut triggers = parts.triggers.clone();
    let mut ending = Ending::new();
    loop {
        let current = Arc::clone(&triggers.borrow_and_update());
        let mut wanted = wanted(&current);
        let gone: Vec<_> = {
            let mut running = lock(&running);
            let is_wanted = |id: &TriggerId, queue: &Running<D>| {
                wanted.get(id).is_some_and(|(trigger, _)| Arc::ptr_eq(trigger, &queue.trigger))
            };
            let gone: Vec<_> = running
                .iter()
                .filter(|(id, queue)| !is_wanted(id, queue))
                .map(|(id, _)| id.clone())
                .collect();
            gone.into_iter().filter_map(|id| running.remove_entry(&id)).collect()
        };
        for (id, queue) in gone {
            // A trigger that was paused is another of the same name, and keeps its place at the broker.
            let is_removed = !current.triggers.contains_key(&id);
            let task = tracker.spawn(end(queue, is_removed));
            ending.insert(id, task);
        }
        wanted.retain(|id, _| !lock(&running).contains_key(id));
        for (id, (trigger, source)) in wanted {
            // One of the same name has the same consumer at the broker.
            if let Some(before) = ending.remove(&id) {
                let _ = before.await;
            }
            let queue = begin(&parts, &id, trigger, source);
            if let Entry::Vacant(place) = lock(&running).entry(id) {
                place.insert(queue);
            }
        }
        ending.retain(|_, task| !task.is_finished());
        if triggers.changed().await.is_err() {
            return;
        }
    }
}

async fn end<D: Deliver>(queue: Running<D>, is_removed: bool) {
    let Running { consumer, deliveries, .. } = queue;
    deliveries.stop();
    if is_removed {
        consumer.remove(REMOVE_WAIT).await
    } else {
        consumer.stop(PAUSE_WAIT).await
    };
}

fn begin<D: Deliver>(
    parts: &QueueParts<D>,
    id: &TriggerId,
    trigger: Arc<Trigger>,
    source: QueueSource,
) -> Running<D> {
    let QueueParts { events, deliver, secret, egress, .. } = parts;
    let concurrency_max = usize::try_from(trigger.concurrency_max.get()).unwrap_or(usize::MAX);
    let deliveries =
        QueueDeliveries::new(Arc::clone(events), Arc::clone(deliver), id.clone(), concurrency_max);
    let deliveries = Arc::new(deliveries);
    events.note_queue(id, |queue| queue.stand(QueueStanding::Connecting, events.now()));
    let handler = Handler {
        deliveries: Arc::clone(&deliveries),
        events: Arc::clone(events),
        id: id.clone(),
        stream: source.stream().clone(),
    };
    let tls = egress.client_config();
    let egress = egress.clone();
    let TriggerId { function, stage, name } = id;
    let options = QueueOptions {
        credentials: credentials(secret, id, &source),
        source,
        // Names have dashes and no underscores, so that no two triggers have the same.
        consumer: format!("wasm-fn_{function}_{stage}_{name}"),
        description: format!("trigger {name} of {function} in {stage}"),
        concurrency_max,
        tls,
        addresses: Arc::new(move |address| egress.judge_broker(address)),
    };
    Running { trigger, consumer: QueueConsumer::start(options, Arc::new(handler)), deliveries }
}

/// The newest value of the secret with the credentials of `source`.
fn credentials(secret_of: &SecretOf, id: &TriggerId, source: &QueueSource) -> GetCredentials {
    let Some(name) = source.credentials().cloned() else { return Arc::new(|| Ok(None)) };
    let TriggerId { function, stage, .. } = id.clone();
    let (secret_of, secret) = (Arc::clone(secret_of), SecretId { function, stage, name });
    Arc::new(move || {
        let name = &secret.name;
        let value = secret_of(&secret)?;
        let value = value.ok_or_else(|| format!("secret {name} has no value"))?;
        let credentials = BrokerCredentials::parse(value.expose());
        credentials.map(Some).map_err(|error| format!("secret {name}: {error}"))
    })
}

impl<D: Deliver> QueueHandler for Handler<D> {
    fn room(&self) -> usize {
        self.deliveries.room()
    }

    async fn handle(&self, message: QueueMessage, attempt: u32) -> Settled {
        let queued = QueuedMessage {
            position: message.position(&self.stream),
            event: message.event(&self.stream),
            headers: message.headers(&self.stream),
            published: message.published,
            attempt,
        };
        drop(message);
        match self.deliveries.handle(queued).await {
            QueuedEnd::Acknowledged => Settled::Acknowledged,
            QueuedEnd::Retry(after) => Settled::Retry { after },
            QueuedEnd::Dead => Settled::Dead,
            QueuedEnd::Released(after) => Settled::Released { after },
        }
    }

    fn report(&self, report: QueueReport) {
        let now = self.events.now();
        self.events.note_queue(&self.id, |queue| match report {
            QueueReport::Connected => queue.stand(QueueStanding::Connected, now),
            QueueReport::Failed { reason } => queue.stand(QueueStanding::Failing { reason }, now),
            QueueReport::Backlog { pending, unsettled } => {
                (queue.pending, queue.unsettled) = (Some(pending), Some(unsettled));
            }
            QueueReport::Repeated => queue.repeated += 1,
        });
    }
}
