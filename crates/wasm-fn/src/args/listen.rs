//! Addresses to listen on: `HOST:PORT`, where HOST is an address or a name.

use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs as _};

/// Reads `127.0.0.1:8080`, `[::1]:8080` or `localhost:8080`. Blocks while a name is looked up.
///
/// Of several addresses of a name, the first one for IPv4 is taken: clients try that one in any case.
///
/// # Errors
/// Says what was found and what was expected.
pub(crate) fn listen_address(text: &str) -> Result<SocketAddr, String> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let expected = "expected HOST:PORT such as 127.0.0.1:8080 or localhost:8080";
    let refused = || format!("found {text:?}, {expected}");
    if text.contains("://") {
        return Err(format!("found {text:?}, {expected}, without a scheme"));
    }
    let (host, port) = text.rsplit_once(':').ok_or_else(refused)?;
    let port: u16 = port.parse().map_err(|_| format!("found {text:?}, {expected}; a port is 0 to 65535"))?;
    match host {
        // A node that is open to the network is not for a left-out word to decide.
        "" | "*" => Err(format!("found {text:?}, {expected}; 0.0.0.0:{port} means every IPv4 address")),
        // RFC 6761, section 6.3: the name needs no look-up.
        "localhost" => Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port))),
        host if host.contains(['[', ']', ':']) => {
            Err(format!("found {text:?}, {expected}; an IPv6 address has brackets, as in [::1]:8080"))
        }
        host => {
            let found = (host, port).to_socket_addrs();
            let found: Vec<_> =
                found.map_err(|error| format!("host {host:?} was not found: {error}"))?.collect();
            let first = found.iter().find(|address| address.is_ipv4()).or(found.first()).copied();
            first.ok_or_else(|| format!("host {host:?} has no address"))
        }
    }
}

#[cfg(test)]
mod tests;
