//! Networks of addresses, as operators write them.

use std::{fmt, net::IpAddr, str::FromStr};

use ipnet::{IpNet, Ipv4Net};

/// Bits before the IPv4 address in an IPv6 address that carries one (RFC 4291, section 2.5.5.2).
const MAPPED_BITS: u8 = 96;

/// The addresses that begin with the same bits: `10.0.0.0/8`, `fd00::/8`, or a single one.
///
/// An IPv6 network within `::ffff:0:0/96` is the IPv4 network that it stands for; no other IPv6 network has
/// IPv4 addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network(IpNet);

/// A text is no network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("found {found:?}, expected a network such as 10.0.0.0/8 or fd00::/8, or an address")]
pub struct NetworkError {
    /// The text.
    pub found: String,
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let network = match text.split_once('/') {
            // Not the crate's own parser, which takes a leading zero, octal to some, for nothing.
            Some((address, prefix)) => address.parse().ok().zip(prefix_of(prefix)),
            None => text.parse().ok().map(|address: IpAddr| (address, IpNet::from(address).max_prefix_len())),
        };
        let network = network.and_then(|(address, prefix)| IpNet::new(address, prefix).ok());
        let network = network.ok_or_else(|| NetworkError { found: text.to_owned() })?;
        Ok(Self(canonical(network).trunc()))
    }
}

fn prefix_of(text: &str) -> Option<u8> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// The IPv4 network that `network` stands for, if it does.
fn canonical(network: IpNet) -> IpNet {
    let (IpAddr::V4(address), IpNet::V6(_)) = (network.addr().to_canonical(), network) else {
        return network;
    };
    let prefix = network.prefix_len().checked_sub(MAPPED_BITS);
    prefix.and_then(|prefix| Ipv4Net::new(address, prefix).ok()).map_or(network, IpNet::V4)
}

impl Network {
    /// Whether `address`, which is not an IPv4 address in IPv6, is one of its.
    fn has(&self, address: IpAddr) -> bool {
        self.0.contains(&address)
    }
}

/// Whether `address` is in one of `networks`.
pub(super) fn holds(networks: &[Network], address: IpAddr) -> bool {
    let address = address.to_canonical();
    networks.iter().any(|network| network.has(address))
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests;
