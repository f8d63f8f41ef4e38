//! Who a client is: the peer of its connection, or whom a trusted proxy names.

mod forwarded;
mod networks;
mod proxy_protocol;

use std::net::SocketAddr;

use http::HeaderMap;

pub use networks::{Network, NetworkError};
pub(crate) use proxy_protocol::{Source, read};

use networks::holds;

/// Who is at the other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    /// An IPv4 address is one, also where IPv6 carries it.
    pub(crate) address: SocketAddr,
    /// Whether it is a proxy, which names the client in its headers.
    pub(crate) is_trusted: bool,
}

impl Peer {
    /// The one at `address`, which is trusted when it is in one of the networks `trusted`.
    pub(crate) fn new(mut address: SocketAddr, trusted: &[Network]) -> Self {
        address.set_ip(address.ip().to_canonical());
        Self { address, is_trusted: holds(trusted, address.ip()) }
    }

    /// Who is behind this one, a trusted proxy, by the PROXY header that its connection began with.
    ///
    /// The named one takes the proxy's place in everything: it is trusted when it is a trusted proxy itself. Behind a
    /// proxy that does not say whose connection it is, headers are anybody's.
    pub(crate) fn behind(self, source: Source, trusted: &[Network]) -> Self {
        match source {
            Source::Own => self,
            Source::Unnamed => Self { is_trusted: false, ..self },
            Source::Client(address) => Self::new(address, trusted),
        }
    }

    /// The client of a request with `headers`, of which is left what this peer may say.
    pub(crate) fn client(self, headers: &mut HeaderMap, trusted: &[Network]) -> SocketAddr {
        forwarded::strip(headers, self.is_trusted);
        if self.is_trusted { forwarded::client(headers, self.address, trusted) } else { self.address }
    }
}

#[cfg(test)]
mod tests;
