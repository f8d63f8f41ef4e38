//! Finds the client of a request: the peer of its connection, or the one that a trusted proxy names.

mod forwarded;
mod proxy_protocol;

use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;
use wasm_fn_core::{Network, Scheme};

pub(crate) use proxy_protocol::{ProxiedClient, read};

/// The other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    /// Its address. An IPv4 address that IPv6 carries is converted to IPv4.
    pub(crate) address: SocketAddr,
    /// Whether it is a trusted proxy, which names the client in its headers.
    pub(crate) is_trusted: bool,
}

impl Peer {
    /// The peer at `address`. It is trusted if one of the networks `trusted` contains it.
    pub(crate) fn new(mut address: SocketAddr, trusted: &[Network]) -> Self {
        address.set_ip(address.ip().to_canonical());
        Self { address, is_trusted: holds(trusted, address.ip()) }
    }

    /// The peer behind this trusted proxy, according to the PROXY header of the connection.
    ///
    /// That peer replaces the proxy in everything, and is trusted if it is a trusted proxy itself. If the
    /// proxy does not name it, its headers are not trusted.
    pub(crate) fn behind(self, client: ProxiedClient, trusted: &[Network]) -> Self {
        match client {
            ProxiedClient::Own => self,
            ProxiedClient::Unnamed => Self { is_trusted: false, ..self },
            ProxiedClient::Named(address) => Self::new(address, trusted),
        }
    }

    /// The client of a request with `headers`. Removes the headers that this peer may not send.
    pub(crate) fn client(self, headers: &mut HeaderMap, trusted: &[Network]) -> SocketAddr {
        forwarded::strip(headers, self.is_trusted);
        if self.is_trusted { forwarded::client(headers, self.address, trusted) } else { self.address }
    }

    /// The scheme by which the client sent a request with `headers`, if this peer is a proxy and says so.
    pub(crate) fn scheme(self, headers: &HeaderMap, trusted: &[Network]) -> Option<Scheme> {
        self.is_trusted.then(|| forwarded::scheme(headers, self.address, trusted)).flatten()
    }
}

/// Whether one of `networks` contains `address`.
fn holds(networks: &[Network], address: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(address))
}

#[cfg(test)]
mod tests;
