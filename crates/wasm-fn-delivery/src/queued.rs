//! Deliveries of messages that a broker keeps: the same policy, counts and dead letters as those of the
//! inbox, which does not keep them meanwhile.

mod limit;

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, header::HeaderValue};
use tokio_util::sync::CancellationToken;
use wasm_fn_events::{CloudEvent, Timestamp, TriggerId};
use wasm_fn_store::{DeadEvent, EventKey, EventState, Finish, Inbox, InboxError, Put};

use self::limit::AdaptiveLimit;
use crate::{
    deliver::{Deliver, Destination, Ended, Recipient},
    dispatcher::{Answered, settle},
    event_request::EventRequest,
    runner::Events,
    stats::QueueStats,
    triggers::trigger_key,
};

/// Bytes that a message may carry: more would fit in no inbox.
pub const MESSAGE_BYTES_MAX: usize = 1 << 20;

/// The bound of the first wait after the node could not deliver. It doubles with each.
const OF_NODE_PAUSE: Duration = Duration::from_millis(100);

/// The bound of every later wait.
const OF_NODE_PAUSE_MAX: Duration = Duration::from_secs(10);

/// How long a message waits whose function has nothing deployed.
const NO_STAGE_PAUSE: Duration = Duration::from_secs(30);

/// How long to wait before a dead letter is put again that could not be.
const FULL_PAUSE: Duration = Duration::from_secs(1);

/// The header that tells how large a message was whose body a dead letter does not have.
const BYTES_HEADER: HeaderName = HeaderName::from_static("nats-bytes");

/// A message to deliver.
#[derive(Clone, Debug)]
pub struct QueuedMessage {
    /// What tells it from all others of its trigger.
    pub position: String,
    /// The event that it is.
    pub event: CloudEvent,
    /// Headers beside those of the event.
    pub headers: HeaderMap,
    /// When the broker got it.
    pub published: Timestamp,
    /// Which attempt this is, from 1.
    pub attempt: u32,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueuedEnd {
    /// The function handled it.
    Acknowledged,
    /// It is to come again after this.
    Retry(Duration),
    /// It was given up and is a dead letter, durably.
    Dead,
    /// The node could not deliver it, and stops. It is to come again after this, as the same attempt.
    Released(Duration),
}

/// Delivers the messages of one queue.
pub struct QueueDeliveries<I, D> {
    events: Arc<Events<I>>,
    deliver: Arc<D>,
    id: TriggerId,
    key: String,
    limit: Mutex<AdaptiveLimit>,
    /// Messages that wait until there is room for a dead letter.
    blocked: AtomicUsize,
    stop: CancellationToken,
}

/// A message that waits for room, as long as this lives.
struct Blocked<'a>(&'a AtomicUsize);

impl Drop for Blocked<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<I: Inbox, D: Deliver> QueueDeliveries<I, D> {
    /// Delivers the messages of the queue `id` by `deliver`, at most `concurrency_max` at a time.
    pub fn new(events: Arc<Events<I>>, deliver: Arc<D>, id: TriggerId, concurrency_max: usize) -> Self {
        let (key, limit) = (trigger_key(&id), Mutex::new(AdaptiveLimit::new(concurrency_max)));
        let (blocked, stop) = (AtomicUsize::new(0), CancellationToken::new());
        Self { events, deliver, id, key, limit, blocked, stop }
    }

    /// How many messages may be in progress: as many as the node has been able to have handled of late, and
    /// none while a dead letter waits for room.
    pub fn room(&self) -> usize {
        if self.blocked.load(Ordering::Relaxed) > 0 { 0 } else { self.limit().get() }
    }

    fn limit(&self) -> MutexGuard<'_, AdaptiveLimit> {
        // Nothing panics while holding the lock.
        self.limit.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits no longer for the node or for room: what waits is released.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Delivers `message` once, and again for as long as only the node is to blame.
    ///
    /// # Cancel safety
    /// Dropping the future cancels the invocation. A dead letter may still be put.
    pub async fn handle(&self, message: QueuedMessage) -> QueuedEnd {
        let events = &*self.events;
        if message.attempt > 1 && self.is_kept(&message).await {
            return QueuedEnd::Dead;
        }
        if message.event.data.len() > MESSAGE_BYTES_MAX {
            return self.bury_too_large(message).await;
        }
        let QueuedMessage { position, event, headers, published, attempt } = message;
        let mut pause = OF_NODE_PAUSE;
        let lag = if attempt == 1 { events.clock.now().since(published) } else { Duration::ZERO };
        loop {
            let triggers = Arc::clone(&events.triggers.borrow());
            let Some(trigger) = triggers.triggers.get(&self.id).map(|active| Arc::clone(&active.trigger))
            else {
                return QueuedEnd::Released(Duration::ZERO);
            };
            drop(triggers);
            let carrying = || {
                let mut request = EventRequest::of_event(&self.id.name, &trigger.path, event.clone());
                request.headers.extend(headers.clone());
                request
            };
            let request = carrying().attempt(Some(&self.id), attempt, None);
            let (function, stage) = (self.id.function.clone(), self.id.stage.clone());
            self.note(|queue| queue.delivered += 1);
            let (recipient, redeliver) = (Recipient::Drawn, trigger.redeliver);
            let destination = Destination { function, stage, recipient, redeliver };
            let ended = self.deliver.deliver(destination, request).await;
            let wait = match ended {
                Ended::Answered { version, status, retry_after, detail, is_canary, .. } => {
                    self.limit().succeeded();
                    let now = events.clock.now();
                    let answered = Answered { version, status, retry_after, detail, is_canary };
                    // How old a message may be is up to its stream.
                    let (finish, led) = settle(&trigger.retry, &answered, attempt, now, now);
                    events.stats.ended(&self.key, version, lag, led);
                    return match finish {
                        Finish::Dead { reason } => {
                            self.bury(position, attempt, reason, carrying().encode()).await
                        }
                        Finish::Retry { due_ms, .. } => {
                            self.note(|queue| queue.retried += 1);
                            QueuedEnd::Retry(Timestamp::from_unix_ms(due_ms).since(now))
                        }
                        Finish::Acknowledged { .. } | Finish::Released => {
                            self.note(|queue| queue.acknowledged += 1);
                            QueuedEnd::Acknowledged
                        }
                    };
                }
                Ended::OfNode { .. } => {
                    self.limit().refused();
                    events.stats.note(&self.key, |stats| stats.of_node += 1);
                    let wait = pause;
                    pause = (2 * pause).min(OF_NODE_PAUSE_MAX);
                    wait
                }
                Ended::NoSuchStage => NO_STAGE_PAUSE,
            };
            let jittered = wait.mul_f64(rand::random_range(0.5..1.0));
            tokio::select! {
                () = events.clock.pause(jittered) => {}
                () = self.stop.cancelled() => return QueuedEnd::Released(Duration::ZERO),
            }
        }
    }

    /// Whether the inbox has `message` already, or had it: then the broker did not hear of it.
    async fn is_kept(&self, message: &QueuedMessage) -> bool {
        let key = EventKey { trigger: self.key.clone(), id: message.position.clone() };
        let now = self.events.clock.now().unix_ms();
        let found = self.events.inbox.state(now, key).await;
        matches!(
            found,
            Ok(Some(
                EventState::Waiting { .. }
                    | EventState::Running { .. }
                    | EventState::Acknowledged { .. }
                    | EventState::Dead { .. }
                    | EventState::Discarded { .. }
            ))
        )
    }

    async fn bury_too_large(&self, message: QueuedMessage) -> QueuedEnd {
        let QueuedMessage { position, event, headers, attempt, .. } = message;
        let bytes = event.data.len();
        let reason =
            format!("message has {bytes} bytes, expected at most {MESSAGE_BYTES_MAX}; its body is left out");
        let path = wasm_fn_events::EventPath::of(&self.id.name);
        let event = CloudEvent { data: Bytes::new(), ..event };
        let mut request = EventRequest::of_event(&self.id.name, &path, event);
        request.headers.extend(headers);
        request.headers.insert(BYTES_HEADER, HeaderValue::from(bytes));
        self.events.stats.note(&self.key, |stats| stats.failures_in_a_row += 1);
        self.bury(position, attempt, reason, request.encode()).await
    }

    /// Keeps a message as a dead letter, as soon as there is room.
    async fn bury(&self, position: String, attempts: u32, reason: String, body: Bytes) -> QueuedEnd {
        let events = &*self.events;
        let mut blocked = None;
        let key = EventKey { trigger: self.key.clone(), id: position };
        let mut event = DeadEvent { key, attempts, reason, body };
        loop {
            match events.inbox.bury(events.clock.now().unix_ms(), event.clone()).await {
                Ok(put) => {
                    if put == Put::Accepted {
                        self.note(|queue| queue.dead += 1);
                    }
                    return QueuedEnd::Dead;
                }
                // Its headers are that large.
                Err(InboxError::TooLarge { .. }) if !event.body.is_empty() => {
                    event.body = self.bare().encode();
                    event.reason += "; headers and body are left out, since they are too large";
                }
                Err(error) => {
                    if blocked.is_none() {
                        tracing::warn!(trigger = %self.id, %error, "queue is blocked");
                        self.blocked.fetch_add(1, Ordering::Relaxed);
                        blocked = Some(Blocked(&self.blocked));
                    }
                    tokio::select! {
                        () = events.clock.pause(FULL_PAUSE) => {}
                        () = self.stop.cancelled() => return QueuedEnd::Released(FULL_PAUSE),
                    }
                }
            }
        }
    }

    /// A request without anything of a message.
    fn bare(&self) -> EventRequest {
        let path = wasm_fn_events::EventPath::of(&self.id.name);
        let target = path.as_str().parse().expect("a path in its normal form is a target");
        EventRequest { method: http::Method::POST, target, headers: HeaderMap::new(), body: Bytes::new() }
    }

    fn note(&self, change: impl FnOnce(&mut QueueStats)) {
        self.events.note_queue_of(&self.key, change);
    }
}

impl<I: Inbox> Events<I> {
    /// Changes what is known of the queue `id`.
    pub fn note_queue(&self, id: &TriggerId, change: impl FnOnce(&mut QueueStats)) {
        self.note_queue_of(&trigger_key(id), change);
    }

    fn note_queue_of(&self, key: &str, change: impl FnOnce(&mut QueueStats)) {
        self.stats.note(key, |stats| {
            change(stats.queue.get_or_insert_with(|| Box::new(QueueStats::new(self.clock.now()))));
        });
    }
}
