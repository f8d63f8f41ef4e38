//! A connection to a broker, and what is checked before the first message is asked for.

mod credentials;
mod error;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use async_nats::{
    Client, ConnectOptions, Event, Subscriber,
    connection::State,
    jetstream::{self, ErrorCode, consumer, context::RequestErrorKind, response::Response, stream},
    rustls::ClientConfig,
};
use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};
use tokio::{sync::mpsc, time::timeout};
use wasm_fn_events::{QueueSource, QueueStart};

pub use self::{
    credentials::{BrokerCredentials, BrokerCredentialsError},
    error::BrokerError,
};

/// The oldest server that is known to keep what it acknowledged, and to have what is asked of it here.
pub const SERVER_VERSION_MIN: (u32, u32) = (2, 10);

/// Longest time for each step of connecting, and for each answer of the broker.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// How often the broker is asked whether it is there. After two unanswered times it is not.
const PING_EVERY: Duration = Duration::from_secs(5);

/// News of the connection that are not looked at yet.
const NEWS_MAX: usize = 64;

/// Decides whether the node may connect to an address.
pub type AddressRule = Arc<dyn Fn(SocketAddr) -> Result<(), String> + Send + Sync>;

/// A connection to a broker.
#[derive(Debug)]
pub(crate) struct Broker {
    client: Client,
    api: jetstream::Context,
    news: mpsc::Receiver<BrokerError>,
}

/// How to connect.
pub(crate) struct Access<'a> {
    pub(crate) source: &'a QueueSource,
    pub(crate) name: String,
    pub(crate) credentials: Option<BrokerCredentials>,
    pub(crate) tls: Arc<ClientConfig>,
    pub(crate) addresses: AddressRule,
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
    pub(crate) async fn connect(access: Access<'_>) -> Result<Self, BrokerError> {
        let Access { source, name, credentials, tls, addresses } = access;
        for url in source.brokers() {
            let found = timeout(PATIENCE, tokio::net::lookup_host((url.host(), url.port()))).await;
            let found = found.map_err(|_| BrokerError::Lookup {
                host: url.host().to_owned(),
                reason: format!("no answer in {} s", PATIENCE.as_secs()),
            })?;
            let found = found.map_err(|error| BrokerError::Lookup {
                host: url.host().to_owned(),
                reason: error.to_string(),
            })?;
            for address in found {
                addresses(address).map_err(|what| BrokerError::Address { address, what })?;
            }
        }
        let (sender, news) = mpsc::channel(NEWS_MAX);
        let urls: Result<Vec<async_nats::ServerAddr>, _> =
            source.brokers().iter().map(|url| url.as_str().parse()).collect();
        let urls = urls.map_err(|error: std::io::Error| BrokerError::Unreachable {
            brokers: brokers(source),
            reason: error.to_string(),
        })?;
        let mut options = ConnectOptions::new();
        if let Some(credentials) = credentials {
            options = credentials.apply(options).map_err(BrokerError::BrokerCredentials)?;
        }
        let client = options
            .name(name)
            .connection_timeout(PATIENCE)
            .request_timeout(Some(PATIENCE))
            .ping_interval(PING_EVERY)
            .tls_client_config(tls.as_ref().clone())
            // Addresses that the broker names are checked by nobody.
            .ignore_discovered_servers()
            // Whoever has this connection makes a new one when it is lost.
            .max_reconnects(urls.len())
            .event_callback(move |event| {
                let news = BrokerError::of_event(&event);
                if let Some(news) = news {
                    // The first one ends the connection; what is behind the bound tells nothing more.
                    let _ = sender.try_send(news);
                }
                std::future::ready(())
            })
            .connect(urls)
            .await
            .map_err(|error| BrokerError::of_connect(&error, source))?;
        let version = client.server_info().version;
        if !is_new_enough(&version) {
            return Err(BrokerError::TooOld { found: version });
        }
        let api = jetstream::new(client.clone());
        Ok(Self { client, api, news })
    }

    /// Waits until the connection is of no use any more, and says why.
    pub(crate) async fn lost(&mut self) -> BrokerError {
        self.news.recv().await.unwrap_or(BrokerError::Disconnected)
    }

    /// Whether it is known to be lost.
    pub(crate) fn is_lost(&self) -> bool {
        self.client.connection_state() != State::Connected
    }

    /// Reads what the broker says in the subjects of messages.
    pub(crate) fn jetstream(&self) -> jetstream::Context {
        self.api.clone()
    }

    /// Subscribes to a new inbox.
    pub(crate) async fn inbox(&mut self) -> Result<(String, Subscriber), BrokerError> {
        let inbox = self.client.new_inbox();
        let subscriber = self.client.subscribe(inbox.clone()).await;
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
                Some(reply) => self.client.publish_with_reply(subject, reply, payload).await,
                None => self.client.publish(subject, payload).await,
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
                Some(news) = self.news.recv() => return Err(news),
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

/// The addresses of `source`, for people.
fn brokers(source: &QueueSource) -> String {
    source.brokers().iter().map(|url| url.as_str()).collect::<Vec<_>>().join(", ")
}

/// Whether a server with this version is new enough. A version that is none is.
fn is_new_enough(version: &str) -> bool {
    let mut numbers = version.split('.').map(|number| number.parse::<u32>().ok());
    match (numbers.next().flatten(), numbers.next().flatten()) {
        (Some(major), Some(minor)) => (major, minor) >= SERVER_VERSION_MIN,
        _ => true,
    }
}

impl BrokerError {
    /// What ends a connection, if `event` does.
    fn of_event(event: &Event) -> Option<Self> {
        match event {
            Event::Disconnected | Event::Closed => Some(Self::Disconnected),
            Event::ServerError(error) => Some(Self::of_server(&error.to_string())),
            Event::SlowConsumer(_) => Some(Self::Overrun),
            Event::Connected | Event::LameDuckMode | Event::Draining | Event::ClientError(_) => None,
        }
    }
}

#[cfg(test)]
mod tests;
