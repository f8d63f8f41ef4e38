//! Egress rules: which origins a function may call.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
    str::FromStr,
};

/// The host by which a rule names the loopback addresses.
const LOCALHOST: &str = "localhost";

/// An origin that a function may send requests to. All other origins are denied.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum EgressRule {
    /// `*`: every origin. It names no address.
    Any,
    /// `https://api.example.com`, `http://127.0.0.1:9000`, `https://*.example.com`.
    Origin {
        /// `http` or `https`.
        scheme: Scheme,
        /// Lower case. An IPv6 address keeps its brackets.
        host: String,
        /// Whether the rule covers every name below `host`, but not `host` itself.
        below: bool,
        /// The port; the default port of the scheme if none is written.
        port: u16,
    },
}

/// The schemes of outgoing requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Plain HTTP.
    Http,
    /// HTTP over TLS.
    Https,
}

/// A text that is not an egress rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("egress {0:?} is not an origin, expected http[s]://host[:port], http[s]://*.host or *")]
pub struct EgressError(String);

impl Scheme {
    /// The default port.
    pub fn port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }

    /// `http` or `https`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

impl EgressRule {
    /// Whether the rule allows a request to `host` (in any case) and `port` over `scheme`.
    pub fn allows(&self, scheme: Scheme, host: &str, port: u16) -> bool {
        match self {
            Self::Any => true,
            Self::Origin { scheme: s, host: h, below, port: p } => {
                let matches = if *below {
                    host.len() > h.len() + 1
                        && host.as_bytes()[host.len() - h.len() - 1] == b'.'
                        && host.as_bytes()[host.len() - h.len()..].eq_ignore_ascii_case(h.as_bytes())
                } else {
                    host.eq_ignore_ascii_case(h)
                };
                *s == scheme && *p == port && matches
            }
        }
    }
}

impl EgressRule {
    /// Whether the rule names `address`: its host is that address, or `localhost` for a loopback address.
    /// The scheme and the port must be those of the rule too.
    ///
    /// A rule whose host is another name does not say which addresses the name has.
    pub fn names(&self, scheme: Scheme, address: IpAddr, port: u16) -> bool {
        let Self::Origin { scheme: s, host, below: false, port: p } = self else { return false };
        let address = address.to_canonical();
        let is_named = match literal(host) {
            Some(named) => named == address,
            None => host == LOCALHOST && address.is_loopback(),
        };
        *s == scheme && *p == port && is_named
    }

    /// Whether this rule allows and names everything that `other` does.
    pub fn covers(&self, other: &Self) -> bool {
        if self == other {
            return true;
        }
        match (self, other) {
            (Self::Any, Self::Origin { host, .. }) => literal(host).is_none() && host != LOCALHOST,
            (
                Self::Origin { scheme, host: parent, below: true, port },
                Self::Origin { scheme: s, host, port: p, .. },
            ) => {
                let is_below = host.strip_suffix(parent.as_str()).is_some_and(|rest| rest.ends_with('.'));
                scheme == s && port == p && is_below && literal(host).is_none() && host != LOCALHOST
            }
            _ => false,
        }
    }
}

/// The address that `host` is. Only the usual form counts: four decimal numbers, or IPv6 in brackets.
fn literal(host: &str) -> Option<IpAddr> {
    let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    match inner {
        Some(address) => address.parse().ok().map(|address: Ipv6Addr| IpAddr::V6(address).to_canonical()),
        None => host.parse().ok().map(IpAddr::V4),
    }
}

impl FromStr for EgressRule {
    type Err = EgressError;

    fn from_str(text: &str) -> Result<Self, EgressError> {
        let error = || EgressError(text.chars().take(256).collect());
        if text == "*" {
            return Ok(Self::Any);
        }
        let (scheme, rest) = match text.split_once("://") {
            Some(("http", rest)) => (Scheme::Http, rest),
            Some(("https", rest)) => (Scheme::Https, rest),
            _ => return Err(error()),
        };
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => {
                // `parse` alone would accept a sign, leading zeros and port 0.
                let canonical = port.starts_with(|c: char| matches!(c, '1'..='9'));
                (host, port.parse().ok().filter(|_| canonical).ok_or_else(error)?)
            }
            _ => (rest, scheme.port()),
        };
        let (host, below) = host.strip_prefix("*.").map_or((host, false), |host| (host, true));
        let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let valid = match address {
            Some(address) => !below && address.parse::<Ipv6Addr>().is_ok(),
            None => {
                let character = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
                !host.is_empty() && host.len() <= 253 && host.bytes().all(character)
            }
        };
        if !valid {
            return Err(error());
        }
        Ok(Self::Origin { scheme, host: host.to_ascii_lowercase(), below, port })
    }
}

impl fmt::Display for EgressRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Origin { scheme, host, below, port } => {
                let star = if *below { "*." } else { "" };
                write!(f, "{}://{star}{host}", scheme.as_str())?;
                if *port == scheme.port() { Ok(()) } else { write!(f, ":{port}") }
            }
        }
    }
}

#[cfg(test)]
mod tests;
