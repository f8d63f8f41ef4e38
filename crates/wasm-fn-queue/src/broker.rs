//! A broker of queues, and what is checked before the first message is asked for.

mod backoff;
mod connection;
mod credentials;
mod error;

use std::time::Duration;

use async_nats::{
    Subscriber,
    jetstream::{self, ErrorCode, consumer, context::RequestErrorKind, response::Response, stream},
};
use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};
use tokio::time::timeout;
use wasm_fn_events::{QueueSource, QueueStart};

pub use self::{
    backoff::Backoff,
    connection::{AddressRule, BrokerAccess, BrokerConnection},
    credentials::{BrokerCredentials, BrokerCredentialsError},
    error::BrokerError,
};

/// The oldest server that is known to keep what it acknowledged, and to have what is asked of it here.
pub const SERVER_VERSION_MIN: (u32, u32) = (2, 10);

/// Longest time for each step of connecting, and for each answer of the broker.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// A connection to a broker with the API of its JetStream.
#[derive(Debug)]
pub(crate) struct Broker {
    connection: BrokerConnection,
    api: jetstream::Context,
}

/// What a consumer is to be.
#[derive(Clone, Debug)]
pub(crate) struct ConsumerSpec {
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) ack_wait: Duration,
    pub(crate) ack_pending_max: i64,
    /// The message of the stream to begin with if there is no such consumer: other than the source says,
    /// since this process knows how far it was.
    pub(crate) start: Option<u64>,
}

impl Broker {
    /// Connects, and checks the version of the server.
    pub(crate) async fn connect(access: BrokerAccess<'_>) -> Result<Self, BrokerError> {
        let connection = BrokerConnection::open(access).await?;
        let api = jetstream::new(connection.client().clone());
        Ok(Self { connection, api })
    }

    /// Waits until the connection is of no use any more, and says why.
    pub(crate) async fn lost(&mut self) -> BrokerError {
        self.connection.lost().await
    }

    /// Whether it is known to be lost.
    pub(crate) fn is_lost(&self) -> bool {
        self.connection.is_lost()
    }

    /// Reads what the broker says in the subjects of messages.
    pub(crate) fn jetstream(&self) -> jetstream::Context {
        self.api.clone()
    }

    /// Subscribes to a new inbox.
    pub(crate) async fn inbox(&mut self) -> Result<(String, Subscriber), BrokerError> {
        let inbox = self.connection.client().new_inbox();
        let subscriber = self.connection.client().subscribe(inbox.clone()).await;
        Ok((inbox, subscriber.map_err(|_| BrokerError::Disconnected)?))
    }

    /// Publishes `payload`, for the broker to answer to the inbox `reply`, if there is one.
    pub(crate) async fn publish(
        &self,
        subject: String,
        reply: Option<String>,
        payload: Bytes,
    ) -> Result<(), BrokerError> {
        let publish = async {
            match reply {
                Some(reply) => self.connection.client().publish_with_reply(subject, reply, payload).await,
                None => self.connection.client().publish(subject, payload).await,
            }
        };
        // A broker that reads nothing fills the buffers of the connection.
        match timeout(PATIENCE, publish).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(BrokerError::Disconnected),
            Err(_) => Err(BrokerError::Silent),
        }
    }

    /// Asks the API of JetStream.
    async fn ask<T: DeserializeOwned>(
        &mut self,
        subject: String,
        payload: &impl Serialize,
    ) -> Result<Result<T, jetstream::Error>, BrokerError> {
        let asked = {
            let request = self.api.request(subject.clone(), payload);
            let request = timeout(PATIENCE, request);
            tokio::select! {
                biased;
                // A request that is not permitted is told here, and is never answered.
                news = self.connection.lost() => return Err(news),
                asked = request => asked,
            }
        };
        match asked {
            Ok(Ok(Response::Ok(answer))) => Ok(Ok(answer)),
            Ok(Ok(Response::Err { error })) => Ok(Err(error)),
            Ok(Err(error)) if error.kind() == RequestErrorKind::NoResponders => Err(BrokerError::NoJetStream),
            Ok(Err(error)) if error.kind() == RequestErrorKind::TimedOut => Err(BrokerError::Silent),
            Err(_) => Err(BrokerError::Silent),
            Ok(Err(error)) => Err(BrokerError::Answer { asked: subject, reason: error::with_causes(&error) }),
        }
    }

    /// What the broker says of the stream of `source`, which has to have messages for it.
    pub(crate) async fn stream(&mut self, source: &QueueSource) -> Result<stream::Info, BrokerError> {
        let stream = source.stream();
        let asked: Result<stream::Info, _> =
            self.ask(format!("STREAM.INFO.{stream}"), &serde_json::json!({})).await?;
        let info = asked.map_err(|error| match error.error_code() {
            ErrorCode::STREAM_NOT_FOUND => BrokerError::NoStream { stream: stream.to_string() },
            ErrorCode::JETSTREAM_NOT_ENABLED | ErrorCode::JETSTREAM_NOT_ENABLED_FOR_ACCOUNT => {
                BrokerError::NoJetStream
            }
            _ => BrokerError::Refused { what: format!("stream {stream}"), reason: error.to_string() },
        })?;
        let subjects = &info.config.subjects;
        // A stream that mirrors others, or collects from them, may have any.
        let is_copy = info.config.mirror.is_some() || info.config.sources.is_some();
        if !is_copy && !subjects.iter().any(|subject| source.subject().meets(subject)) {
            return Err(BrokerError::Subject {
                stream: stream.to_string(),
                wanted: source.subject().to_string(),
                found: subjects.clone(),
            });
        }
        Ok(info)
    }

    /// Makes the consumer of `source` that `spec` describes, or makes it so if it is there.
    pub(crate) async fn consumer(
        &mut self,
        source: &QueueSource,
        spec: &ConsumerSpec,
    ) -> Result<consumer::Info, BrokerError> {
        let (stream, filter) = (source.stream(), source.subject());
        let deliver_policy = match (spec.start, source.start()) {
            (Some(start_sequence), _) => consumer::DeliverPolicy::ByStartSequence { start_sequence },
            (None, QueueStart::All) => consumer::DeliverPolicy::All,
            (None, QueueStart::New) => consumer::DeliverPolicy::New,
        };
        // What it began with cannot be changed, and says nothing about a consumer that is there.
        let there = self.info(source, &spec.name).await?;
        let deliver_policy =
            there.map_or(deliver_policy, |there: consumer::Info| there.config.deliver_policy);
        let config = consumer::pull::Config {
            durable_name: Some(spec.name.clone()),
            name: Some(spec.name.clone()),
            description: Some(spec.description.clone()),
            deliver_policy,
            ack_policy: consumer::AckPolicy::Explicit,
            ack_wait: spec.ack_wait,
            // The node counts attempts, since the broker counts what was nobody's failure, too.
            max_deliver: -1,
            filter_subject: filter.to_string(),
            max_ack_pending: spec.ack_pending_max,
            ..consumer::pull::Config::default()
        };
        let config = consumer::IntoConsumerConfig::into_consumer_config(config);
        let name = &spec.name;
        let payload = serde_json::json!({ "stream_name": stream.as_str(), "config": config, "action": "" });
        let asked = self.ask(format!("CONSUMER.CREATE.{stream}.{name}.{filter}"), &payload).await?;
        asked.map_err(|error: jetstream::Error| BrokerError::Refused {
            what: format!("consumer {name} of the stream {stream}"),
            reason: error.to_string(),
        })
    }

    /// What the broker says of a consumer; `None` if there is no such consumer, or no such stream.
    pub(crate) async fn info(
        &mut self,
        source: &QueueSource,
        name: &str,
    ) -> Result<Option<consumer::Info>, BrokerError> {
        let stream = source.stream();
        match self.ask(format!("CONSUMER.INFO.{stream}.{name}"), &serde_json::json!({})).await? {
            Ok(info) => Ok(Some(info)),
            Err(error)
                if matches!(
                    error.error_code(),
                    ErrorCode::CONSUMER_NOT_FOUND | ErrorCode::STREAM_NOT_FOUND
                ) =>
            {
                Ok(None)
            }
            Err(error) => Err(BrokerError::Refused {
                what: format!("consumer {name} of the stream {stream}"),
                reason: error.to_string(),
            }),
        }
    }

    /// Asks for what the broker says of a consumer, beside whatever else is done with the connection.
    pub(crate) fn look(
        &self,
        source: &QueueSource,
        name: &str,
    ) -> impl Future<Output = Result<consumer::Info, BrokerError>> + Send + use<> {
        let (api, stream, name) = (self.api.clone(), source.stream().clone(), name.to_owned());
        async move {
            let nothing = serde_json::json!({});
            let request = api.request(format!("CONSUMER.INFO.{stream}.{name}"), &nothing);
            match timeout(PATIENCE, request).await {
                Ok(Ok(Response::Ok(info))) => Ok(info),
                Ok(Ok(Response::Err { error })) => Err(BrokerError::Refused {
                    what: format!("consumer {name} of the stream {stream}"),
                    reason: error.to_string(),
                }),
                _ => Err(BrokerError::Silent),
            }
        }
    }

    /// Deletes a consumer. It is no error if it is not there.
    pub(crate) async fn delete(&mut self, source: &QueueSource, name: &str) -> Result<(), BrokerError> {
        let stream = source.stream();
        let asked = self
            .ask::<serde_json::Value>(format!("CONSUMER.DELETE.{stream}.{name}"), &serde_json::json!({}))
            .await?;
        match asked {
            Ok(_) => Ok(()),
            Err(error) if error.error_code() == ErrorCode::CONSUMER_NOT_FOUND => Ok(()),
            Err(error) => Err(BrokerError::Refused {
                what: format!("consumer {name} of the stream {stream}"),
                reason: error.to_string(),
            }),
        }
    }
}

#[cfg(test)]
mod tests;
