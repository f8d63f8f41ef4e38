//! Networks, as operators write them.

use std::{fmt, net::IpAddr, str::FromStr};

use ipnet::{IpNet, Ipv4Net};

/// Bits before the IPv4 address in an IPv4-mapped IPv6 address (RFC 4291, section 2.5.5.2).
const MAPPED_BITS: u8 = 96;

/// A network such as `10.0.0.0/8` or `fd00::/8`, or a single address.
///
/// An IPv6 network within `::ffff:0:0/96` is converted to its IPv4 network. No other IPv6 network contains
/// IPv4 addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network(IpNet);

/// A text is not a network.
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
            // The crate's own parser accepts leading zeros, which some read as octal.
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

/// Converts an IPv4-mapped `network` to IPv4.
fn canonical(network: IpNet) -> IpNet {
    let (IpAddr::V4(address), IpNet::V6(_)) = (network.addr().to_canonical(), network) else {
        return network;
    };
    let prefix = network.prefix_len().checked_sub(MAPPED_BITS);
    prefix.and_then(|prefix| Ipv4Net::new(address, prefix).ok()).map_or(network, IpNet::V4)
}

impl Network {
    /// Whether the network contains `address`. An IPv4-mapped address counts as its IPv4 address.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }

    /// Whether the network is a single address.
    pub fn is_single(&self) -> bool {
        self.0.prefix_len() == self.0.max_prefix_len()
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests;
