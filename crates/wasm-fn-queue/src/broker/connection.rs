//! A connection to a broker: which addresses it may have, what it is shown, and how its loss is heard of.

use std::{fmt, future::ready, net::SocketAddr, sync::Arc, time::Duration};

use async_nats::{Client, ConnectOptions, Event, connection::State, rustls::ClientConfig};
use tokio::{sync::mpsc, time::timeout};
use wasm_fn_events::BrokerUrl;

use super::{BrokerCredentials, BrokerError, PATIENCE};

/// How often the broker is asked whether it is there. After two unanswered times it is not.
const PING_EVERY: Duration = Duration::from_secs(5);

/// News of the connection that are not looked at yet.
const NEWS_MAX: usize = 64;

/// Decides whether the node may connect to an address.
pub type AddressRule = Arc<dyn Fn(SocketAddr) -> Result<(), String> + Send + Sync>;

/// How to connect to a broker.
pub struct BrokerAccess<'a> {
    /// Where its servers are.
    pub brokers: &'a [BrokerUrl],
    /// What the connection is called on the broker.
    pub name: String,
    /// What the broker is shown.
    pub credentials: Option<BrokerCredentials>,
    /// How to connect where the broker wants TLS, or the address does.
    pub tls: Arc<ClientConfig>,
    /// Which addresses the broker may have.
    pub addresses: AddressRule,
    /// The oldest version of a server that is good enough.
    pub version_min: (u32, u32),
}

/// A connection to a broker. It is not made again when it is lost: whoever has it opens another.
#[derive(Debug)]
pub struct BrokerConnection {
    client: Client,
    news: mpsc::Receiver<BrokerError>,
}

impl fmt::Debug for BrokerAccess<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { brokers, name, credentials, .. } = self;
        f.debug_struct("BrokerAccess")
            .field("brokers", brokers)
            .field("name", name)
            .field("credentials", credentials)
            .finish_non_exhaustive()
    }
}

impl BrokerConnection {
    /// Connects, and checks the version of the server.
    ///
    /// # Errors
    /// Why there is no connection.
    pub async fn open(access: BrokerAccess<'_>) -> Result<Self, BrokerError> {
        let BrokerAccess { brokers, name, credentials, tls, addresses, version_min } = access;
        check_addresses(brokers, &addresses).await?;
        let (sender, news) = mpsc::channel(NEWS_MAX);
        let unreachable = |reason| BrokerError::Unreachable { brokers: spoken(brokers), reason };
        let urls: Result<Vec<async_nats::ServerAddr>, _> =
            brokers.iter().map(|url| url.as_str().parse()).collect();
        let urls = urls.map_err(|error: std::io::Error| unreachable(error.to_string()))?;
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
                if let Some(news) = BrokerError::of_event(&event) {
                    // The first one ends the connection; what is behind the bound tells nothing more.
                    let _ = sender.try_send(news);
                }
                ready(())
            })
            .connect(urls)
            .await
            .map_err(|error| BrokerError::of_connect(&error, spoken(brokers)))?;
        let found = client.server_info().version;
        if !is_new_enough(&found, version_min) {
            return Err(BrokerError::TooOld { found, expected: version_min });
        }
        Ok(Self { client, news })
    }

    /// The client of the connection.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Waits until the connection is of no use any more, and says why.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn lost(&mut self) -> BrokerError {
        self.news.recv().await.unwrap_or(BrokerError::Disconnected)
    }

    /// Whether it is known to be lost.
    pub fn is_lost(&self) -> bool {
        self.client.connection_state() != State::Connected
    }
}

/// Checks that the node may connect to every address that `brokers` have. A broker that has none is passed
/// over while another has one.
async fn check_addresses(brokers: &[BrokerUrl], addresses: &AddressRule) -> Result<(), BrokerError> {
    let (mut missing, mut is_found) = (None, false);
    for url in brokers {
        let found = match timeout(PATIENCE, tokio::net::lookup_host((url.host(), url.port()))).await {
            Ok(Ok(found)) => found,
            failed => {
                let reason = match failed {
                    Ok(Err(error)) => error.to_string(),
                    _ => format!("no answer in {} s", PATIENCE.as_secs()),
                };
                missing = Some(BrokerError::Lookup { host: url.host().to_owned(), reason });
                continue;
            }
        };
        is_found = true;
        for address in found {
            addresses(address).map_err(|what| BrokerError::Address { address, what })?;
        }
    }
    missing.filter(|_| !is_found).map_or(Ok(()), Err)
}

/// Addresses, for people.
fn spoken(brokers: &[BrokerUrl]) -> String {
    brokers.iter().map(|url| url.as_str()).collect::<Vec<_>>().join(", ")
}

/// Whether a server with this version is new enough. A version that is none is.
pub(super) fn is_new_enough(version: &str, version_min: (u32, u32)) -> bool {
    let mut numbers = version.split('.').map(|number| number.parse::<u32>().ok());
    match (numbers.next().flatten(), numbers.next().flatten()) {
        (Some(major), Some(minor)) => (major, minor) >= version_min,
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
