//! Headers in which proxies name the client of a request and its scheme, and which nobody else may send.
//!
//! Each proxy appends an entry for the peer that it received the request from. So entries are read from the
//! right, and only as long as a trusted proxy vouches for the next one. Anybody may have written the entries
//! to the left of that.

use std::{
    iter,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use http::{
    HeaderMap, HeaderName,
    header::{FORWARDED, GetAll},
};
use wasm_fn_core::{Network, Scheme};

use super::holds;

/// `X-Forwarded-For`.
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// `X-Forwarded-Proto`.
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Bytes that are read from the right, over all fields of the header. An entry that begins before is ignored.
const READ_BYTES_MAX: usize = 4 << 10;

/// Prefix of headers about the client's connection.
const CLAIMS: &str = "x-forwarded";

/// Other headers about the client's connection.
const OTHER_CLAIMS: [&str; 10] = [
    "forwarded",
    "x-real-ip",
    "x-client-ip",
    "client-ip",
    "true-client-ip",
    "x-cluster-client-ip",
    "x-original-forwarded-for",
    "x-envoy-external-address",
    "cf-connecting-ip",
    "fastly-client-ip",
];

/// Removes headers about the client's connection, unless the sender is `trusted`.
///
/// Names that differ only by `_` for `-` are always removed: proxies do not control them, and a CGI program
/// sees the same variable (RFC 3875, section 4.1.18).
pub(super) fn strip(headers: &mut HeaderMap, trusted: bool) {
    let unwanted = |name: &&HeaderName| (!trusted || name.as_str().contains('_')) && is_claim(name.as_str());
    if headers.keys().any(|name| unwanted(&name)) {
        let names: Vec<_> = headers.keys().filter(unwanted).cloned().collect();
        for name in names {
            headers.remove(name);
        }
    }
}

/// Whether the header `name`, in lower case, is about the client's connection.
fn is_claim(name: &str) -> bool {
    let alike = |claim: &str| {
        let name = name.as_bytes().get(..claim.len());
        name.is_some_and(|name| {
            name.iter().zip(claim.bytes()).all(|(&a, b)| a == b || (a == b'_' && b == b'-'))
        })
    };
    matches!(name.as_bytes().first(), Some(b'c' | b'f' | b't' | b'x'))
        && (alike(CLAIMS) || OTHER_CLAIMS.iter().any(|claim| claim.len() == name.len() && alike(claim)))
}

/// The client of a request with `headers` from `peer`, a trusted proxy: the last named address that is not a
/// trusted proxy.
///
/// `Forwarded` (RFC 7239) comes before `X-Forwarded-For`. If an entry hides the address, is malformed or lies
/// beyond [`READ_BYTES_MAX`], or if all entries are trusted proxies, the client is the last address read: the
/// farthest trusted proxy, or `peer`. The port is 0 if none is named.
pub(super) fn client(headers: &HeaderMap, peer: SocketAddr, trusted: &[Network]) -> SocketAddr {
    if headers.contains_key(FORWARDED) {
        let entries = entries(headers.get_all(FORWARDED), split_element);
        last_known(peer, trusted, entries.map(|entry| element(entry?).client)).0
    } else {
        let entries = entries(headers.get_all(X_FORWARDED_FOR), split_plain);
        last_known(peer, trusted, entries.map(|entry| address(entry?))).0
    }
}

/// The scheme by which the client of a request from `peer`, a trusted proxy, sent it; `None` if no proxy says
/// so.
///
/// In `Forwarded` it is in the element that names the client. `X-Forwarded-Proto` has the same, either as its
/// only entry or at the place that the client has in `X-Forwarded-For`.
pub(super) fn scheme(headers: &HeaderMap, peer: SocketAddr, trusted: &[Network]) -> Option<Scheme> {
    if headers.contains_key(FORWARDED) {
        let mut said = None;
        let entries = entries(headers.get_all(FORWARDED), split_element);
        last_known(
            peer,
            trusted,
            entries.map(|entry| {
                let element = element(entry?);
                said = element.scheme;
                element.client
            }),
        );
        return said;
    }
    if !headers.contains_key(X_FORWARDED_PROTO) {
        return None;
    }
    let clients = entries(headers.get_all(X_FORWARDED_FOR), split_plain);
    let (_, hops) = last_known(peer, trusted, clients.map(|entry| address(entry?)));
    let said = entries(headers.get_all(X_FORWARDED_PROTO), split_plain);
    said.map_while(|entry| entry).take(hops.max(1)).last().and_then(read_scheme)
}

/// Follows `addresses`, the nearest first, from `peer` to where trust ends. Also returns how many of them
/// were followed.
fn last_known(
    peer: SocketAddr,
    trusted: &[Network],
    addresses: impl Iterator<Item = Option<SocketAddr>>,
) -> (SocketAddr, usize) {
    let (mut known, mut followed) = (peer, 0);
    for address in addresses.map_while(|address| address) {
        (known, followed) = (address, followed + 1);
        if !holds(trusted, address.ip()) {
            break;
        }
    }
    (known, followed)
}

/// The text before the last separator, if there is one, and the text after it.
type Split<'a> = (Option<&'a [u8]>, &'a [u8]);

/// The entries of a header from the right, as `split` takes them off, without empty ones. Ends with `None` at
/// an entry that is not whole.
fn entries<'a>(
    values: GetAll<'a, http::HeaderValue>,
    split: fn(&'a [u8]) -> Option<Split<'a>>,
) -> impl Iterator<Item = Option<&'a [u8]>> {
    let mut values = values.into_iter().rev();
    let mut budget = READ_BYTES_MAX;
    // The rest of a value, and whether it begins at the start of the value.
    let mut left: Option<(&[u8], bool)> = None;
    let next = move || loop {
        let (text, whole) = match left.take() {
            Some(left) => left,
            None => {
                let value = values.next()?.as_bytes();
                let from = value.len().saturating_sub(budget);
                budget -= value.len() - from;
                (&value[from..], from == 0)
            }
        };
        let Some((before, entry)) = split(text) else { return Some(None) };
        if before.is_none() && !whole {
            return Some(None);
        }
        left = before.map(|before| (before, whole));
        let entry = entry.trim_ascii();
        if !entry.is_empty() {
            return Some(Some(entry));
        }
    };
    iter::from_fn(next)
}

/// Splits at the last comma.
fn split_plain(text: &[u8]) -> Option<Split<'_>> {
    let comma = text.iter().rposition(|&byte| byte == b',');
    Some(comma.map_or((None, text), |at| (Some(&text[..at]), &text[at + 1..])))
}

/// Splits at the last comma outside quotes.
fn split_element(text: &[u8]) -> Option<Split<'_>> {
    split_last(text, b',')
}

/// Splits at the last `separator` outside quotes; `None` when a quote has no beginning.
///
/// This reads from the right, so that a quote that a client left open does not swallow what a proxy added.
fn split_last(text: &[u8], separator: u8) -> Option<Split<'_>> {
    let mut quoted = false;
    for (at, &byte) in text.iter().enumerate().rev() {
        if byte == b'"' {
            let escapes = text[..at].iter().rev().take_while(|&&byte| byte == b'\\').count();
            quoted = !quoted || escapes % 2 == 1;
        } else if byte == separator && !quoted {
            return Some((Some(&text[..at]), &text[at + 1..]));
        }
    }
    (!quoted).then_some((None, text))
}

/// What is read of a `Forwarded` element.
#[derive(Default)]
struct Element {
    /// The address in its only `for` pair.
    client: Option<SocketAddr>,
    /// The scheme in its only `proto` pair.
    scheme: Option<Scheme>,
}

/// Reads a `Forwarded` element. One that is malformed says nothing.
fn element(text: &[u8]) -> Element {
    pairs(text).unwrap_or_default()
}

fn pairs(element: &[u8]) -> Option<Element> {
    let (mut clients, mut schemes) = (Vec::new(), Vec::new());
    let mut rest = Some(element);
    while let Some(text) = rest {
        let (before, pair) = split_last(text, b';')?;
        rest = before;
        let pair = pair.trim_ascii();
        if pair.is_empty() {
            continue;
        }
        let (name, value) = pair.split_at(pair.iter().position(|&byte| byte == b'=')?);
        if name.eq_ignore_ascii_case(b"for") {
            clients.push(unquoted(&value[1..]).and_then(address));
        } else if name.eq_ignore_ascii_case(b"proto") {
            schemes.push(unquoted(&value[1..]).and_then(read_scheme));
        }
    }
    Some(Element { client: only(&clients), scheme: only(&schemes) })
}

/// The only one of `found`, if it could be read.
fn only<T: Copy>(found: &[Option<T>]) -> Option<T> {
    if let [one] = found { *one } else { None }
}

/// Reads `http` or `https`.
fn read_scheme(text: &[u8]) -> Option<Scheme> {
    [Scheme::Http, Scheme::Https]
        .into_iter()
        .find(|scheme| text.trim_ascii().eq_ignore_ascii_case(scheme.as_str().as_bytes()))
}

/// The text of a quoted string, or a text without quotes. A text with escapes is not an address.
fn unquoted(value: &[u8]) -> Option<&[u8]> {
    match value {
        [b'"', text @ .., b'"'] => Some(text),
        _ => Some(value),
    }
    .filter(|text| !text.iter().any(|byte| matches!(byte, b'"' | b'\\')))
}

/// Parses an address with or without brackets and port: `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`,
/// `[2001:db8::1]:80`. A port may be hidden (`_x`; RFC 7239, section 6.3), an address may not.
fn address(text: &[u8]) -> Option<SocketAddr> {
    let text = str::from_utf8(text).ok()?;
    let (address, port) = if let Ok(address) = text.parse::<IpAddr>() {
        (address, "")
    } else if let Some(text) = text.strip_prefix('[') {
        let (address, port) = text.split_once(']')?;
        (IpAddr::V6(address.parse::<Ipv6Addr>().ok()?), port)
    } else {
        let (address, port) = text.split_at(text.find(':')?);
        (IpAddr::V4(address.parse::<Ipv4Addr>().ok()?), port)
    };
    Some(SocketAddr::new(address.to_canonical(), if port.is_empty() { 0 } else { read_port(port)? }))
}

/// Parses `:80`, or `:_hidden`, which means 0.
fn read_port(text: &str) -> Option<u16> {
    let text = text.strip_prefix(':')?;
    if let Some(hidden) = text.strip_prefix('_') {
        let may = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        return (!hidden.is_empty() && hidden.bytes().all(may)).then_some(0);
    }
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests;
