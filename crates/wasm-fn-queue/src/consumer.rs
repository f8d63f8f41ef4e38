//! Takes the messages of one queue for as long as it is wanted, whatever becomes of the broker.

mod deliveries;
mod pulls;
mod session;
mod watchdog;

use std::{fmt, sync::Arc, time::Duration};

use async_nats::jetstream::stream;
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use wasm_fn_events::QueueSource;

use self::deliveries::{Deliveries, MessageKey};
use crate::{
    BrokerError, ClientConfig, QueueHandler, QueueReport, Settled,
    broker::{
        AddressRule, Backoff, Broker, BrokerAccess, BrokerCredentials, ConsumerSpec, SERVER_VERSION_MIN,
    },
};

/// After this time without news of a message, the broker delivers it again.
pub const ACK_WAIT: Duration = Duration::from_secs(15);

/// Messages that may be delivered and not settled, beside those in progress: those that wait to be delivered
/// again.
const ACK_PENDING_MAX: usize = 1000;

/// Longest time for the deletion of a consumer on the broker.
const DELETE_WAIT: Duration = Duration::from_secs(5);

/// Gives the credentials for the broker each time that it is connected to, or says why there are none.
pub type GetCredentials = Arc<dyn Fn() -> Result<Option<BrokerCredentials>, String> + Send + Sync>;

/// What is taken from where.
pub struct QueueOptions {
    /// The queue.
    pub source: QueueSource,
    /// The name of the consumer on the broker, which remembers by it what was handled. Who has the same name
    /// shares the messages.
    pub consumer: String,
    /// What the broker shows to people.
    pub description: String,
    /// Messages in progress at a time, at most.
    pub concurrency_max: usize,
    /// The credentials.
    pub credentials: GetCredentials,
    /// How to connect where the broker wants TLS, or the address does.
    pub tls: Arc<ClientConfig>,
    /// Which addresses the broker may have.
    pub addresses: AddressRule,
}

/// The task that takes messages from a queue.
#[derive(Debug)]
pub struct QueueConsumer {
    orders: watch::Sender<Order>,
    cut: CancellationToken,
    task: JoinHandle<()>,
}

/// What is wanted of the task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Run,
    /// Take nothing more, and end when what is in progress has ended.
    Stop,
    /// The same, and delete the consumer on the broker.
    Remove,
}

/// The task's own.
struct Worker<H> {
    options: QueueOptions,
    handler: Arc<H>,
    orders: watch::Receiver<Order>,
    cut: CancellationToken,
    deliveries: Deliveries<Instant>,
    /// What became of messages, told by the tasks that handle them.
    ended: mpsc::Receiver<(MessageKey, Settled)>,
    ends: mpsc::Sender<(MessageKey, Settled)>,
    /// The stream that the messages in progress are of.
    stream: Option<StreamIdentity>,
    /// Every message up to this number was settled.
    floor: Option<u64>,
}

/// When a stream was made, which tells it from others of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct StreamIdentity(i128);

impl fmt::Debug for QueueOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { source, consumer, .. } = self;
        f.debug_struct("QueueOptions")
            .field("source", source)
            .field("consumer", consumer)
            .finish_non_exhaustive()
    }
}

impl QueueConsumer {
    /// Starts to take messages, on the current tokio runtime, and has `handler` handle them.
    pub fn start<H: QueueHandler>(options: QueueOptions, handler: Arc<H>) -> Self {
        let (orders, order) = watch::channel(Order::Run);
        let cut = CancellationToken::new();
        // There is room for every message in progress, so that no handler waits for a broker.
        let (ends, ended) = mpsc::channel(2 * options.concurrency_max + 1);
        let worker = Worker {
            options,
            handler,
            orders: order,
            cut: cut.clone(),
            deliveries: Deliveries::new(),
            ended,
            ends,
            stream: None,
            floor: None,
        };
        Self { orders, cut, task: tokio::spawn(worker.run()) }
    }

    /// Takes nothing more, and waits for what is in progress, at most `timeout`. What has not ended by then
    /// is broken off, and comes again. Returns whether all has ended.
    pub async fn stop(self, timeout: Duration) -> bool {
        self.end(Order::Stop, timeout).await
    }

    /// Stops as [`stop`](Self::stop) does, and deletes the consumer on the broker, if that answers within a
    /// few seconds.
    pub async fn remove(self, timeout: Duration) -> bool {
        self.end(Order::Remove, timeout).await
    }

    async fn end(mut self, order: Order, timeout: Duration) -> bool {
        self.orders.send_replace(order);
        let wait = tokio::time::timeout(timeout, &mut self.task);
        if wait.await.is_ok() {
            return true;
        }
        self.cut.cancel();
        // It ends on its own: every step of it has a bound.
        let _ = self.task.await;
        false
    }
}

impl<H: QueueHandler> Worker<H> {
    async fn run(mut self) {
        let (mut backoff, mut said) = (Backoff::default(), None);
        loop {
            let error = match self.serve(&mut backoff, &mut said).await {
                Ok(()) => break,
                Err(error) => error,
            };
            let consumer = &self.options.consumer;
            if said.as_ref() == Some(&error) {
                tracing::debug!(consumer, %error, "queue is tried again");
            } else {
                tracing::warn!(consumer, %error, "no messages come from a queue");
            }
            self.handler.report(QueueReport::Failed { reason: error.to_string() });
            said = Some(error);
            let wait = backoff.next(rand::random());
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = ordered(&mut self.orders) => break,
            }
        }
        // Whoever stops it waits for what is in progress, although no broker hears of it.
        while self.deliveries.len() > self.deliveries.untold().len() {
            let Some((key, settled)) = self.ended.recv().await else { break };
            self.deliveries.settle(key, settled);
        }
        if *self.orders.borrow() == Order::Remove {
            self.delete().await;
        }
    }

    /// Takes messages over one connection, until that is lost or the task is to stop.
    async fn serve(
        &mut self,
        backoff: &mut Backoff,
        said: &mut Option<BrokerError>,
    ) -> Result<(), BrokerError> {
        let opened = {
            let mut orders = self.orders.clone();
            tokio::select! {
                opened = self.open() => opened?,
                () = ordered(&mut orders) => return Ok(()),
            }
        };
        backoff.reset();
        let consumer = &self.options.consumer;
        tracing::info!(consumer, was_away = said.is_some(), "messages come from a queue");
        *said = None;
        self.handler.report(QueueReport::Connected);
        self.take(opened).await
    }

    /// Connects, and checks all that messages need to come.
    async fn open(&mut self) -> Result<session::Opened, BrokerError> {
        let mut broker = Broker::connect(self.access()?).await?;
        let source = &self.options.source;
        let stream = broker.stream(source).await?;
        let identity = StreamIdentity(stream.created.unix_timestamp_nanos());
        if self.stream.is_some_and(|before| before != identity) {
            tracing::warn!(
                consumer = self.options.consumer,
                "stream was made anew: it begins from its start"
            );
            self.deliveries.abandon();
            self.floor = None;
        }
        self.stream = Some(identity);
        let is_work_queue = stream.config.retention == stream::RetentionPolicy::WorkQueue;
        let ack_pending_max = ACK_PENDING_MAX + self.options.concurrency_max;
        let spec = ConsumerSpec {
            name: self.options.consumer.clone(),
            description: self.options.description.clone(),
            ack_wait: ACK_WAIT,
            ack_pending_max: i64::try_from(ack_pending_max).unwrap_or(i64::MAX),
            // What was handled is not in such a stream any more.
            start: self.floor.filter(|_| !is_work_queue).map(|floor| floor + 1),
        };
        let info = broker.consumer(source, &spec).await?;
        session::Opened::new(broker, info, &self.options, ack_pending_max).await
    }

    fn access(&self) -> Result<BrokerAccess<'_>, BrokerError> {
        let QueueOptions { source, consumer, credentials, tls, addresses, .. } = &self.options;
        let credentials = credentials().map_err(|reason| {
            BrokerError::BrokerCredentials(crate::BrokerCredentialsError::Missing { reason })
        })?;
        Ok(BrokerAccess {
            brokers: source.brokers(),
            name: consumer.clone(),
            credentials,
            tls: Arc::clone(tls),
            addresses: Arc::clone(addresses),
            version_min: SERVER_VERSION_MIN,
        })
    }

    /// Deletes the consumer on the broker, if that is there.
    async fn delete(&self) {
        let QueueOptions { source, consumer, .. } = &self.options;
        let delete = async {
            let mut broker = Broker::connect(self.access()?).await?;
            broker.delete(source, consumer).await
        };
        match tokio::time::timeout(DELETE_WAIT, delete).await {
            Ok(Ok(())) => tracing::info!(consumer, "consumer on the broker is deleted"),
            Ok(Err(error)) => tracing::warn!(consumer, %error, "consumer is left on the broker"),
            Err(_) => tracing::warn!(consumer, "consumer is left on the broker, which does not answer"),
        }
    }
}

/// Waits until the task is not to run any more.
async fn ordered(orders: &mut watch::Receiver<Order>) {
    // Whoever dropped the other end wants nothing more, either.
    let _ = orders.wait_for(|order| *order != Order::Run).await;
}
