//! Which addresses are connected to. Each is judged when a connection to it is made, so it does not help to
//! answer the next lookup differently, nor to redirect.
//!
//! A resolver is told a host and not the port, and the judge wants both. So the host and the port of each
//! request are noted before it is sent, and before a redirection is followed.

use std::{
    collections::HashMap,
    fmt,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use reqwest::{
    Url,
    dns::{Addrs, Name, Resolve, Resolving},
};
use tokio::{net::lookup_host, time::Instant};

/// Addresses of a host that are tried.
const ADDRESSES_MAX: usize = 8;

/// Hosts and ports that are noted at most.
const NOTED_MAX: usize = 1024;

/// Decides which addresses registries, their token services and their storage may have.
pub trait AddressJudge: fmt::Debug + Send + Sync + 'static {
    /// Whether `address` may be connected to. The port is 0 if it is that of a proxy.
    ///
    /// # Errors
    /// What it is, for people.
    fn judge(&self, address: SocketAddr) -> Result<(), String>;
}

/// Why an address is not connected to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum AddressError {
    /// It is prohibited.
    #[error("{why} (host {host})")]
    Prohibited { host: String, why: String },
    /// Too many hosts were asked for in a short time.
    #[error("registries have led to more than {NOTED_MAX} hosts")]
    TooManyHosts,
}

/// The resolver of a client.
#[derive(Debug)]
pub(super) struct Addresses {
    judge: Arc<dyn AddressJudge>,
    /// How long a request goes on at most.
    kept: Duration,
    /// Hosts and ports that are asked for, and until when.
    noted: Mutex<HashMap<(String, u16), Instant>>,
}

impl Addresses {
    pub(super) fn new(judge: Arc<dyn AddressJudge>, kept: Duration) -> Self {
        Self { judge, kept, noted: Mutex::default() }
    }

    /// Says that `url` is asked for next. An address in place of a name is judged at once.
    pub(super) fn admit(&self, url: &Url) -> Result<(), AddressError> {
        // A URL without them fails by itself.
        let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else { return Ok(()) };
        if let Ok(address) = host.trim_matches(['[', ']']).parse::<IpAddr>() {
            return self.judge(host, SocketAddr::new(address, port));
        }
        let now = Instant::now();
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        if noted.len() >= NOTED_MAX {
            noted.retain(|_, until| *until > now);
        }
        if noted.len() >= NOTED_MAX {
            return Err(AddressError::TooManyHosts);
        }
        noted.insert((host.to_owned(), port), now + self.kept);
        Ok(())
    }

    /// The ports that `host` is asked for at.
    fn ports(&self, host: &str) -> Vec<u16> {
        let noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        let ports = noted.keys().filter(|(name, _)| name == host).map(|(_, port)| *port);
        let ports: Vec<_> = ports.collect();
        // What no request names is a proxy.
        if ports.is_empty() { vec![0] } else { ports }
    }

    fn judge(&self, host: &str, address: SocketAddr) -> Result<(), AddressError> {
        self.judge.judge(address).map_err(|why| AddressError::Prohibited { host: host.to_owned(), why })
    }
}

/// Resolves by the system, and judges what it finds.
pub(super) struct JudgingResolver(pub(super) Arc<Addresses>);

impl Resolve for JudgingResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let addresses = Arc::clone(&self.0);
        Box::pin(async move {
            let host = name.as_str();
            let found: Vec<_> = lookup_host((host, 0)).await?.take(ADDRESSES_MAX).collect();
            for port in addresses.ports(host) {
                for mut address in found.iter().copied() {
                    address.set_port(port);
                    addresses.judge(host, address)?;
                }
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests;
