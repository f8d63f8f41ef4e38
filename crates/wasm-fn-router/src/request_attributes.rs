//! The attributes of a request that decide its version.

use std::{borrow::Cow, net::IpAddr};

use http::{
    HeaderMap,
    header::{COOKIE, HeaderName},
};
use wasm_fn_core::Source;

/// Bytes of the query, and of each cookie header, that are searched. Names and values beyond them are not
/// found, so a long one costs no more than this for every cohort rule.
const SEARCHED_BYTES_MAX: usize = 8 << 10;

/// The attributes of a request that decide its version.
#[derive(Clone, Copy, Debug)]
pub struct RequestAttributes<'a> {
    /// Its headers.
    pub headers: &'a HeaderMap,
    /// Its query as it is on the wire, without `?`.
    pub query: Option<&'a str>,
    /// The client's address, as far as the server trusts it.
    pub client: IpAddr,
}

/// A [`Source`], prepared for lookups.
#[derive(Debug)]
pub(crate) enum Lookup {
    Header(HeaderName),
    Cookie(Box<[u8]>),
    Query(Box<[u8]>),
}

impl Lookup {
    /// Prepares `source`; `None` when it names a header that cannot exist.
    pub(crate) fn new(source: &Source) -> Option<Self> {
        Some(match source {
            Source::Header(name) => Self::Header(name.parse().ok()?),
            Source::Cookie(name) => Self::Cookie(name.as_bytes().into()),
            Source::Query(name) => Self::Query(name.as_bytes().into()),
        })
    }

    /// The first value under this name.
    pub(crate) fn value<'a>(&self, request: &RequestAttributes<'a>) -> Option<Cow<'a, [u8]>> {
        match self {
            Self::Header(name) => request.headers.get(name).map(|value| Cow::Borrowed(value.as_bytes())),
            Self::Cookie(name) => cookie(request.headers, name).map(Cow::Borrowed),
            Self::Query(name) => parameter(request.query?.as_bytes(), name),
        }
    }
}

/// The value of the first cookie called `name`. Pairs of `name=value` stand between semicolons (RFC 6265,
/// section 4.2.1); white space around either side is dropped (section 5.2). Quotes belong to the value; a
/// pair without `=` has an empty value. HTTP/2 may carry pairs in several headers (RFC 9113, section 8.2.3).
fn cookie<'a>(headers: &'a HeaderMap, name: &[u8]) -> Option<&'a [u8]> {
    headers.get_all(COOKIE).iter().find_map(|header| {
        pairs(header.as_bytes(), b';').find_map(|pair| {
            let rest = pair.trim_ascii_start().strip_prefix(name)?.trim_ascii();
            if rest.is_empty() { Some(rest) } else { rest.strip_prefix(b"=").map(<[u8]>::trim_ascii_start) }
        })
    })
}

/// The value of the first parameter called `name`, with both sides decoded as
/// `application/x-www-form-urlencoded`. A pair without `=` has an empty value.
fn parameter<'a>(query: &'a [u8], name: &[u8]) -> Option<Cow<'a, [u8]>> {
    pairs(query, b'&').find_map(|pair| {
        let equals = pair.iter().position(|&b| b == b'=');
        let (key, value) = equals.map_or((pair, &[][..]), |at| (&pair[..at], &pair[at + 1..]));
        decoded(key).eq(name.iter().copied()).then(|| decoded_text(value))
    })
}

/// The pieces of `text` between separators that end within [`SEARCHED_BYTES_MAX`].
fn pairs(text: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let searched = if text.len() <= SEARCHED_BYTES_MAX {
        text
    } else {
        let head = &text[..SEARCHED_BYTES_MAX];
        &head[..head.iter().rposition(|&b| b == separator).unwrap_or(0)]
    };
    searched.split(move |&b| b == separator)
}

fn decoded_text(text: &[u8]) -> Cow<'_, [u8]> {
    let plain = !text.iter().any(|b| matches!(b, b'%' | b'+'));
    if plain { Cow::Borrowed(text) } else { Cow::Owned(decoded(text).collect()) }
}

/// Decodes `%41` to `A` and `+` to a space, and leaves everything else, including a lone `%`.
fn decoded(text: &[u8]) -> impl Iterator<Item = u8> {
    let digit = |b: u8| char::from(b).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut rest = text;
    std::iter::from_fn(move || {
        let (&first, tail) = rest.split_first()?;
        rest = tail;
        let escaped = match (first, tail) {
            (b'%', &[high, low, ..]) => digit(high).zip(digit(low)),
            _ => None,
        };
        Some(match (first, escaped) {
            (_, Some((high, low))) => {
                rest = &tail[2..];
                high << 4 | low
            }
            (b'+', None) => b' ',
            (other, None) => other,
        })
    })
}

#[cfg(test)]
mod tests;
