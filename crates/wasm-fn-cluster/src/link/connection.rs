//! What is needed of a connection to the broker, and the connection over NATS. Nothing here knows what is
//! asked for.

use std::{fmt, future::Future, pin::Pin, sync::Arc, time::Duration};

use async_nats::{Client, HeaderMap, Message, Request, RequestErrorKind};
use bytes::Bytes;
use futures_util::{FutureExt as _, Stream, StreamExt as _};
use tokio::sync::Mutex;
use wasm_fn_queue::{BrokerAccess, BrokerConnection, BrokerCredentialsError, BrokerError};

use super::AskError;
use crate::{ClusterError, ClusterOptions, setup::SERVER_VERSION_MIN};

/// A future without a name, for traits that are used as objects.
pub type BrokerFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Messages as they arrive. It ends with the connection.
pub type Subscription = Pin<Box<dyn Stream<Item = BrokerMessage> + Send>>;

/// A message that was subscribed to, or asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BrokerMessage {
    /// What the broker says in place of a message, as a status of HTTP; `None` if this is a message.
    pub status: Option<u16>,
    /// Its headers.
    pub headers: HeaderMap,
    /// What it says.
    pub payload: Bytes,
}

impl From<Message> for BrokerMessage {
    fn from(message: Message) -> Self {
        Self {
            status: message.status.map(|status| status.as_u16()),
            headers: message.headers.unwrap_or_default(),
            payload: message.payload,
        }
    }
}

/// Makes connections to a broker.
pub trait Connector: fmt::Debug + Send + Sync + 'static {
    /// Connects to the broker of `options`, and checks its version.
    ///
    /// # Errors
    /// Why there is no connection.
    fn connect<'a>(
        &'a self,
        options: &'a ClusterOptions,
    ) -> BrokerFuture<'a, Result<Arc<dyn ServerConnection>, ClusterError>>;

    /// A number from 0 to 1, drawn anew each time: what nodes do again and again is not to fall together.
    fn draw(&self) -> f64;
}

/// A connection to one server of a broker.
pub trait ServerConnection: fmt::Debug + Send + Sync + 'static {
    /// The name of the server.
    fn server(&self) -> String;

    /// Bytes of a message at most.
    fn payload_max(&self) -> usize;

    /// Waits until the connection is of no use any more, and says why.
    fn lost(&self) -> BrokerFuture<'_, BrokerError>;

    /// Sends `payload` to `subject`, and waits for the answer, at most `patience`.
    ///
    /// # Errors
    /// There is none. What was sent may have arrived.
    fn request(
        &self,
        subject: &str,
        headers: HeaderMap,
        payload: Bytes,
        patience: Duration,
    ) -> BrokerFuture<'_, Result<BrokerMessage, AskError>>;

    /// Hears messages with `subject`.
    ///
    /// # Errors
    /// The connection is of no use.
    fn subscribe(&self, subject: &str) -> BrokerFuture<'_, Result<Subscription, AskError>>;

    /// Sends a message. It waits while the connection cannot take more.
    ///
    /// # Errors
    /// The connection is of no use.
    fn publish(
        &self,
        subject: &str,
        headers: HeaderMap,
        payload: Bytes,
    ) -> BrokerFuture<'_, Result<(), AskError>>;

    /// Sends a message without waiting. Returns whether it was taken: it is not while the connection cannot
    /// take more.
    fn tell(&self, subject: &str, headers: HeaderMap, payload: Bytes) -> bool;

    /// Waits until the broker has read what was sent before.
    ///
    /// # Errors
    /// The connection is of no use.
    fn flush(&self) -> BrokerFuture<'_, Result<(), AskError>>;
}

/// Connects over NATS.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Nats;

struct NatsConnection {
    client: Client,
    // One task waits for its end.
    connection: Mutex<BrokerConnection>,
}

impl Nats {
    /// Connects, for whoever needs the client itself.
    pub(crate) async fn open(options: &ClusterOptions) -> Result<BrokerConnection, ClusterError> {
        let ClusterOptions { brokers, node, credentials, tls, addresses, .. } = options;
        let credentials = credentials().map_err(|reason| {
            ClusterError::Broker(BrokerError::BrokerCredentials(BrokerCredentialsError::Missing { reason }))
        })?;
        let access = BrokerAccess {
            brokers,
            name: format!("wasm-fn {node}"),
            credentials,
            tls: tls(),
            addresses: Arc::clone(addresses),
            version_min: SERVER_VERSION_MIN,
        };
        BrokerConnection::open(access).await.map_err(ClusterError::Broker)
    }
}

impl Connector for Nats {
    fn connect<'a>(
        &'a self,
        options: &'a ClusterOptions,
    ) -> BrokerFuture<'a, Result<Arc<dyn ServerConnection>, ClusterError>> {
        Box::pin(async move {
            let connection = Self::open(options).await?;
            let client = connection.client().clone();
            let made: Arc<dyn ServerConnection> =
                Arc::new(NatsConnection { client, connection: Mutex::new(connection) });
            Ok(made)
        })
    }

    fn draw(&self) -> f64 {
        rand::random()
    }
}

impl fmt::Debug for NatsConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsConnection").field("server", &self.server()).finish_non_exhaustive()
    }
}

impl ServerConnection for NatsConnection {
    fn server(&self) -> String {
        self.client.server_info().server_name
    }

    fn payload_max(&self) -> usize {
        self.client.max_payload()
    }

    fn lost(&self) -> BrokerFuture<'_, BrokerError> {
        Box::pin(async { self.connection.lock().await.lost().await })
    }

    fn request(
        &self,
        subject: &str,
        headers: HeaderMap,
        payload: Bytes,
        patience: Duration,
    ) -> BrokerFuture<'_, Result<BrokerMessage, AskError>> {
        let subject = subject.to_owned();
        Box::pin(async move {
            let (found, max) = (payload.len(), self.payload_max());
            let mut request = Request::new().payload(payload).timeout(Some(patience));
            if !headers.is_empty() {
                request = request.headers(headers);
            }
            // Handing over the request waits, too, while the broker reads nothing.
            match tokio::time::timeout(patience, self.client.send_request(subject, request)).await {
                Ok(Ok(message)) => Ok(message.into()),
                Err(_) => Err(AskError::Silent),
                Ok(Err(error)) => Err(match error.kind() {
                    RequestErrorKind::TimedOut => AskError::Silent,
                    RequestErrorKind::NoResponders => AskError::Nobody,
                    RequestErrorKind::MaxPayloadExceeded => AskError::TooLarge { found, max },
                    RequestErrorKind::InvalidSubject | RequestErrorKind::Other => AskError::Lost,
                }),
            }
        })
    }

    fn subscribe(&self, subject: &str) -> BrokerFuture<'_, Result<Subscription, AskError>> {
        let subject = subject.to_owned();
        Box::pin(async move {
            let subscriber = self.client.subscribe(subject).await.map_err(|_| AskError::Lost)?;
            let messages: Subscription = Box::pin(subscriber.map(BrokerMessage::from));
            Ok(messages)
        })
    }

    fn publish(
        &self,
        subject: &str,
        headers: HeaderMap,
        payload: Bytes,
    ) -> BrokerFuture<'_, Result<(), AskError>> {
        let subject = subject.to_owned();
        Box::pin(async move {
            let sent = self.client.publish_with_headers(subject, headers, payload);
            sent.await.map_err(|_| AskError::Lost)
        })
    }

    fn tell(&self, subject: &str, headers: HeaderMap, payload: Bytes) -> bool {
        let sent = self.client.publish_with_headers(subject.to_owned(), headers, payload);
        // A task that has used up its turn would else be told to wait.
        matches!(tokio::task::unconstrained(sent).now_or_never(), Some(Ok(())))
    }

    fn flush(&self) -> BrokerFuture<'_, Result<(), AskError>> {
        Box::pin(async { self.client.flush().await.map_err(|_| AskError::Lost) })
    }
}
