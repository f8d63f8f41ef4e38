//! Authorities: a host, perhaps with a port, as `Host` and request targets name it (RFC 9110, section 7.2).

use std::net::Ipv6Addr;

use http::uri::Scheme;

/// Bytes of an invalid text that a client is shown.
const SHOWN_BYTES_MAX: usize = 64;

/// Whether `text` is a host, perhaps with a port. Userinfo is not allowed: it only serves to deceive (RFC
/// 9110, section 4.2.4).
pub(crate) fn is_valid(text: &str) -> bool {
    let (host, port) = split(text);
    let is_host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => !host.is_empty() && is_name(host.as_bytes()),
    };
    is_host && (port.is_empty() || is_port(port))
}

/// The host in `text`, and the rest: empty, or `:` and a port if `text` is valid.
pub(crate) fn split(text: &str) -> (&str, &str) {
    let end = match text.starts_with('[') {
        true => text.find(']').map(|bracket| bracket + 1),
        false => text.find(':'),
    };
    text.split_at(end.unwrap_or(text.len()))
}

/// Whether `name` is a `reg-name` (RFC 3986, section 3.2.2), which every IPv4 address is too.
fn is_name(name: &[u8]) -> bool {
    let mut rest = name;
    while let Some((&byte, after)) = rest.split_first() {
        rest = match byte {
            b'%' => match after {
                [first, second, after @ ..] if first.is_ascii_hexdigit() && second.is_ascii_hexdigit() => {
                    after
                }
                _ => return false,
            },
            b'-' | b'.' | b'_' | b'~' => after,
            b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=' => after,
            _ if byte.is_ascii_alphanumeric() => after,
            _ => return false,
        };
    }
    true
}

/// Whether `text` is `:` and a port. The port may be left out.
fn is_port(text: &str) -> bool {
    let digits = text.strip_prefix(':').filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
    digits.is_some_and(|digits| digits.is_empty() || digits.parse::<u16>().is_ok())
}

/// Whether two authorities are those of the same origin, which has the `scheme`.
pub(super) fn is_same(first: &str, second: &str, scheme: Option<&Scheme>) -> bool {
    let default_port = if scheme == Some(&Scheme::HTTPS) { ":443" } else { ":80" };
    let bare = |text: &'_ str| -> usize {
        let without = text.strip_suffix(default_port).or_else(|| text.strip_suffix(':'));
        without.unwrap_or(text).len()
    };
    first[..bare(first)].eq_ignore_ascii_case(&second[..bare(second)])
}

/// Text that a client is shown for `found`.
pub(super) fn shown(found: &[u8]) -> String {
    let text = String::from_utf8_lossy(&found[..found.len().min(SHOWN_BYTES_MAX)]);
    format!("{text:?}{}", if found.len() > SHOWN_BYTES_MAX { "…" } else { "" })
}

#[cfg(test)]
mod tests;
