//! Where an outgoing request goes.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr, SocketAddr},
};

use wasm_fn_core::{EgressRule, Scheme};
use wasmtime_wasi_http::Error;

/// Most bytes of a host's name (RFC 1035, section 2.3.4).
const NAME_BYTES_MAX: usize = 253;

/// The origin of a URI.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) scheme: Scheme,
    /// A name or an address. One of IPv6 has its brackets.
    host: String,
    pub(super) port: u16,
}

impl Target {
    /// The origin of `uri`.
    ///
    /// # Errors
    /// It is not one of `http` or `https` (RFC 9110, section 4.2): it has another scheme, user information, a
    /// port that is not a number from 1 to 65535, or no host.
    pub(super) fn of(uri: &http::Uri) -> Result<Self, Error> {
        let scheme = match uri.scheme_str() {
            Some("http") => Scheme::Http,
            Some("https") => Scheme::Https,
            _ => return Err(Error::HttpProtocolError),
        };
        let authority = uri.authority().ok_or(Error::HttpRequestUriInvalid)?.as_str();
        let (host, port) = split(authority, scheme).ok_or(Error::HttpRequestUriInvalid)?;
        Ok(Self { scheme, host: host.to_owned(), port })
    }

    /// The name or address, as a resolver takes it.
    pub(super) fn host(&self) -> &str {
        let address = self.host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        address.unwrap_or(&self.host)
    }

    /// The address, if it has no name.
    fn address(&self) -> Option<IpAddr> {
        self.host().parse().ok()
    }

    /// The address with the port, if it has no name.
    pub(super) fn socket(&self) -> Option<SocketAddr> {
        self.address().map(|address| SocketAddr::new(address, self.port))
    }

    /// Whether `rule` allows it.
    pub(super) fn is_allowed_by(&self, rule: &EgressRule) -> bool {
        rule.allows(self.scheme, &self.host, self.port)
    }
}

impl fmt::Display for Target {
    /// The origin with its port, as far as the host is as long as a name can be.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = &self.host[..self.host.floor_char_boundary(NAME_BYTES_MAX)];
        write!(f, "{}://{host}:{}", self.scheme.as_str(), self.port)
    }
}

/// The host and port of `authority`.
fn split(authority: &str, scheme: Scheme) -> Option<(&str, u16)> {
    if authority.contains('@') {
        return None;
    }
    let (host, port) = match authority.find(']') {
        Some(end) => authority.split_at(end + 1),
        None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
    };
    if let Some(address) = host.strip_prefix('[') {
        address.strip_suffix(']')?.parse::<Ipv6Addr>().ok()?;
    }
    // An empty port is that of the scheme (RFC 3986, section 3.2.3).
    let port = match port {
        "" | ":" => scheme.port(),
        port => number(port.strip_prefix(':')?)?,
    };
    (!host.is_empty()).then_some((host, port))
}

fn number(port: &str) -> Option<u16> {
    let digits = port.bytes().all(|byte| byte.is_ascii_digit());
    port.parse().ok().filter(|&port| digits && port != 0)
}
