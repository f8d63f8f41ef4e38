//! Egress rules: which origins a function may call.

use std::{fmt, str::FromStr};

/// An origin that a function may send requests to. All other origins are denied.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum EgressRule {
    /// `*`: every origin.
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
            Some(address) => !below && address.parse::<std::net::Ipv6Addr>().is_ok(),
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
