//! One connection's messages: asks for them, has them handled, and tells the broker what became of them.

use std::{pin::Pin, sync::Arc, time::Duration};

use async_nats::{
    Message, Subscriber,
    jetstream::{self, consumer},
};
use bytes::Bytes;
use futures_util::{FutureExt as _, StreamExt as _};
use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval},
};
use wasm_fn_events::{QueueMessage, Timestamp};

use super::{
    ACK_WAIT, QueueOptions, Worker,
    deliveries::{Arrival, MessageKey, acknowledgement},
    ordered,
    pulls::{Pulls, SILENCE_MAX, Status},
    watchdog::{Look, Watchdog},
};
use crate::{BrokerError, QueueHandler, QueueReport, Settled, broker::Broker};

/// A question to the broker about the consumer that is not answered yet.
type Looking = Pin<Box<dyn Future<Output = Result<consumer::Info, BrokerError>> + Send>>;

/// How often it is looked which messages are still in progress, and whether there is room again.
const TICK: Duration = Duration::from_secs(1);

/// Ticks between two looks at what the broker says of the consumer.
const LOOK_EVERY: u32 = 5;

/// Messages, or ends of deliveries, that are taken one after the other before everything else is looked at.
const IN_A_ROW_MAX: usize = 64;

/// How soon a message comes again whose handler failed to end.
const LOST_WAIT: Duration = Duration::from_secs(30);

/// A connection over which messages can come.
pub(super) struct Opened {
    broker: Broker,
    /// Where the messages come.
    inbox: String,
    subscriber: Subscriber,
    /// Where they are asked for.
    next: String,
    ack_pending_max: usize,
}

/// What is known while messages come.
struct Session {
    opened: Opened,
    jetstream: jetstream::Context,
    pulls: Pulls,
    watchdog: Watchdog<Instant>,
    came: u64,
    /// When anything came from the subscription.
    heard: Instant,
    looking: Option<Looking>,
}

/// Tells what became of a message, also if its handler panics.
struct End {
    key: MessageKey,
    ends: mpsc::Sender<(MessageKey, Settled)>,
    settled: Settled,
}

impl Drop for End {
    fn drop(&mut self) {
        // There is room for every message in progress.
        let _ = self.ends.try_send((self.key, self.settled));
    }
}

impl Opened {
    pub(super) async fn new(
        mut broker: Broker,
        info: consumer::Info,
        options: &QueueOptions,
        ack_pending_max: usize,
    ) -> Result<Self, BrokerError> {
        let (stream, name) = (options.source.stream(), &options.consumer);
        let (inbox, subscriber) = broker.inbox().await?;
        // A message without a number is in no stream, so that this tells only whether it is permitted. The
        // broker answers the question behind it after that.
        let nothing = format!("$JS.ACK.{stream}.{name}.1.0.0.0.0");
        broker.publish(nothing, None, Bytes::from_static(b"+WPI")).await?;
        broker.info(&options.source, name).await?;
        let next = format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{name}");
        tracing::debug!(consumer = name, pending = info.num_pending, "consumer is there");
        Ok(Self { broker, inbox, subscriber, next, ack_pending_max })
    }
}

impl<H: QueueHandler> Worker<H> {
    /// Takes messages until the connection is lost, or the task is to stop.
    pub(super) async fn take(&mut self, opened: Opened) -> Result<(), BrokerError> {
        let mut session = Session {
            jetstream: opened.broker.jetstream(),
            opened,
            pulls: Pulls::default(),
            watchdog: Watchdog::new(),
            came: 0,
            heard: Instant::now(),
            looking: None,
        };
        for key in self.deliveries.untold() {
            self.tell(&mut session, key).await?;
        }
        let (mut tick, mut ticks) = (interval(TICK), 0_u32);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut orders = self.orders.clone();
        loop {
            self.ask(&mut session).await?;
            let Session { opened, looking, .. } = &mut session;
            // Everything that the broker sends is polled, always: a client that is not polled hangs for good
            // when its server restarts.
            tokio::select! {
                biased;
                error = opened.broker.lost() => return Err(error),
                () = ordered(&mut orders) => break,
                looked = looked(looking) => {
                    session.looking = None;
                    self.look(&mut session, looked?)?;
                }
                Some(first) = self.ended.recv() => {
                    self.settle(&mut session, first).await?;
                    for _ in 1..IN_A_ROW_MAX {
                        let Ok(next) = self.ended.try_recv() else { break };
                        self.settle(&mut session, next).await?;
                    }
                }
                message = opened.subscriber.next() => {
                    self.came(&mut session, message.ok_or(BrokerError::Disconnected)?).await?;
                    for _ in 1..IN_A_ROW_MAX {
                        let next = session.opened.subscriber.next().now_or_never();
                        let Some(message) = next else { break };
                        self.came(&mut session, message.ok_or(BrokerError::Disconnected)?).await?;
                    }
                }
                _ = tick.tick() => {
                    ticks = ticks.wrapping_add(1);
                    self.still(&mut session).await?;
                    if session.pulls.outstanding() > 0 && session.heard.elapsed() > SILENCE_MAX {
                        return Err(BrokerError::Silent);
                    }
                    if ticks.is_multiple_of(LOOK_EVERY) && session.looking.is_none() {
                        let QueueOptions { source, consumer, .. } = &self.options;
                        session.looking = Some(Box::pin(session.opened.broker.look(source, consumer)));
                    }
                }
            }
        }
        self.finish(session).await
    }

    /// Asks for as many messages as there is room for.
    async fn ask(&self, session: &mut Session) -> Result<(), BrokerError> {
        let room = self.handler.room().min(self.options.concurrency_max);
        let wanted = session.pulls.wanted(room, self.deliveries.len());
        if wanted == 0 {
            return Ok(());
        }
        if session.pulls.outstanding() == 0 {
            session.heard = Instant::now();
        }
        let payload = session.pulls.ask(wanted);
        let Opened { broker, inbox, next, .. } = &session.opened;
        broker.publish(next.clone(), Some(inbox.clone()), payload.into()).await
    }

    /// Has `message` handled, unless it is a word of the broker's.
    async fn came(&mut self, session: &mut Session, message: Message) -> Result<(), BrokerError> {
        session.heard = Instant::now();
        if let Some(status) = message.status {
            let missing = message.headers.as_ref().and_then(|headers| {
                headers.get("Nats-Pending-Messages").and_then(|count| count.as_str().parse().ok())
            });
            match Status::read(status.as_u16(), message.description.as_deref().unwrap_or(""), missing) {
                Status::Heartbeat => {}
                Status::Over { missing } => session.pulls.over(missing),
                Status::Gone => return Err(BrokerError::Gone),
            }
            return Ok(());
        }
        session.came += 1;
        session.pulls.came();
        let message = jetstream::Message { message, context: session.jetstream.clone() };
        let (key, delivered) = match message.info() {
            Ok(info) => {
                let published_ns = info.published.unix_timestamp_nanos();
                let key = MessageKey { sequence: info.stream_sequence, published_ns };
                (key, u64::try_from(info.delivered).unwrap_or(1))
            }
            // It came to an inbox that nobody else knows.
            Err(error) => {
                tracing::debug!(%error, "something that is no message of a stream is ignored");
                return Ok(());
            }
        };
        let reply = message.reply.as_ref().map(ToString::to_string).unwrap_or_default();
        match self.deliveries.came(key, delivered, reply.clone(), Instant::now()) {
            Arrival::Handle { attempt } => self.begin(key, message_of(message, key), attempt),
            Arrival::Repeated => self.handler.report(QueueReport::Repeated),
            Arrival::Handled => {
                self.handler.report(QueueReport::Repeated);
                let ack = acknowledgement(&Settled::Acknowledged);
                session.opened.broker.publish(reply, None, ack.into()).await?;
            }
        }
        Ok(())
    }

    /// Has `message` handled, in a task of its own.
    fn begin(&self, key: MessageKey, message: QueueMessage, attempt: u32) {
        let (handler, cut) = (Arc::clone(&self.handler), self.cut.clone());
        let mut end = End { key, ends: self.ends.clone(), settled: Settled::Released { after: LOST_WAIT } };
        tokio::spawn(async move {
            let handled = cut.run_until_cancelled(handler.handle(message, attempt)).await;
            end.settled = handled.unwrap_or(Settled::Released { after: Duration::ZERO });
            drop(end);
        });
    }

    /// A message was handled, with this end.
    async fn settle(
        &mut self,
        session: &mut Session,
        (key, settled): (MessageKey, Settled),
    ) -> Result<(), BrokerError> {
        self.deliveries.settle(key, settled);
        self.tell(session, key).await
    }

    /// Tells the broker what became of the message `key`.
    async fn tell(&mut self, session: &mut Session, key: MessageKey) -> Result<(), BrokerError> {
        let Some((reply, settled)) = self.deliveries.news_of(key) else { return Ok(()) };
        let (reply, payload) = (reply.to_owned(), acknowledgement(settled));
        session.opened.broker.publish(reply, None, payload.into()).await?;
        // A connection that was lost took it, too; then it is told again by the next one.
        if session.opened.broker.is_lost() {
            return Err(BrokerError::Disconnected);
        }
        self.deliveries.told(key);
        Ok(())
    }

    /// Tells the broker which messages are still in progress.
    async fn still(&mut self, session: &mut Session) -> Result<(), BrokerError> {
        let now = Instant::now();
        let Some(before) = now.checked_sub(ACK_WAIT / 3) else { return Ok(()) };
        for reply in self.deliveries.still(before, now) {
            session.opened.broker.publish(reply, None, Bytes::from_static(b"+WPI")).await?;
        }
        Ok(())
    }

    /// Compares what the broker says with what came.
    fn look(&mut self, session: &mut Session, info: consumer::Info) -> Result<(), BrokerError> {
        let unsettled = u64::try_from(info.num_ack_pending).unwrap_or(u64::MAX);
        self.handler.report(QueueReport::Backlog { pending: info.num_pending, unsettled });
        self.floor = Some(info.ack_floor.stream_sequence);
        let look = Look {
            came: session.came,
            outstanding: session.pulls.outstanding(),
            pending: info.num_pending,
            is_at_limit: info.num_ack_pending >= session.opened.ack_pending_max,
        };
        if session.watchdog.look(look, Instant::now(), |since| since.elapsed()) {
            return Err(BrokerError::Stuck { pending: info.num_pending });
        }
        Ok(())
    }

    /// Gives back what came too late, waits for what is in progress, and has the broker hear of it.
    async fn finish(&mut self, mut session: Session) -> Result<(), BrokerError> {
        // What comes from now on nobody subscribes to, and the broker keeps it.
        let unsubscribed = session.opened.subscriber.unsubscribe().await;
        unsubscribed.map_err(|_| BrokerError::Disconnected)?;
        while let Some(Some(message)) = session.opened.subscriber.next().now_or_never() {
            if let (None, Some(reply)) = (message.status, message.reply) {
                let nak = acknowledgement(&Settled::Released { after: Duration::ZERO });
                session.opened.broker.publish(reply.to_string(), None, nak.into()).await?;
            }
        }
        let mut tick = interval(TICK);
        while !self.deliveries.is_empty() {
            tokio::select! {
                biased;
                error = session.opened.broker.lost() => return Err(error),
                Some(ended) = self.ended.recv() => self.settle(&mut session, ended).await?,
                _ = tick.tick() => self.still(&mut session).await?,
            }
        }
        // Answered after all that was sent before.
        let QueueOptions { source, consumer, .. } = &self.options;
        session.opened.broker.look(source, consumer).await.map(drop)
    }
}

/// What the broker says of the consumer, if it was asked.
async fn looked(looking: &mut Option<Looking>) -> Result<consumer::Info, BrokerError> {
    match looking {
        Some(looking) => looking.await,
        None => std::future::pending().await,
    }
}

/// The message that `message` carries.
fn message_of(message: jetstream::Message, key: MessageKey) -> QueueMessage {
    let Message { subject, payload, headers, .. } = message.message;
    let published_ms = u64::try_from(key.published_ns / 1_000_000).unwrap_or(0);
    let mut kept = HeaderMap::new();
    for (name, values) in headers.iter().flat_map(|headers| headers.iter()) {
        let Ok(name) = HeaderName::from_bytes(AsRef::<[u8]>::as_ref(name)) else { continue };
        for value in values {
            if let Ok(value) = HeaderValue::from_bytes(AsRef::<[u8]>::as_ref(value)) {
                kept.append(name.clone(), value);
            }
        }
    }
    QueueMessage {
        subject: subject.to_string(),
        sequence: key.sequence,
        published: Timestamp::from_unix_ms(published_ms),
        headers: kept,
        data: payload,
    }
}
