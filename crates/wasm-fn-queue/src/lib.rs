//! Queue triggers: takes messages from a stream of NATS JetStream, has somebody handle them, and tells the
//! broker what became of each.
//!
//! Invariants: a message is acknowledged only after its handler said so, and is on the broker's disk until
//! then. No more messages are asked for than the handler has room for. A broker that is away, hangs or is
//! another than before costs time, and no message. It knows neither functions nor the inbox.

mod broker;
mod consumer;
mod handler;

pub use async_nats::rustls::ClientConfig;
pub use broker::{
    AddressRule, Backoff, BrokerAccess, BrokerConnection, BrokerCredentials, BrokerCredentialsError,
    BrokerError, SERVER_VERSION_MIN,
};
pub use consumer::{ACK_WAIT, GetCredentials, QueueConsumer, QueueOptions};
pub use handler::{QueueHandler, QueueReport, Settled};

#[cfg(test)]
mod tests;
