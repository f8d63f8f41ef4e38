//! The key of an event that is in order with others.

use http::{HeaderMap, HeaderValue};
use ring::digest;
use wasm_fn_core::OrderedBy;

/// Longest ordering key, in bytes. In place of a longer value stands its digest.
pub const ORDERING_KEY_BYTES_MAX: usize = 512;

/// The key of an event with these `headers`, which are looked through in turn for the header that it is in
/// order `by`; `None` if none has it, or its value is empty. Such an event is in no order. Events with the
/// same key are delivered one at a time, in the order in which they came.
///
/// A value that is no UTF-8, or longer than [`ORDERING_KEY_BYTES_MAX`], has its SHA-256 as its key.
pub fn ordering_key<'a>(by: &OrderedBy, headers: impl IntoIterator<Item = &'a HeaderMap>) -> Option<String> {
    let value = headers.into_iter().find_map(|headers| headers.get(by.as_str()));
    let value = value.map(HeaderValue::as_bytes).filter(|value| !value.is_empty())?;
    Some(match std::str::from_utf8(value) {
        Ok(text) if text.len() <= ORDERING_KEY_BYTES_MAX => text.to_owned(),
        _ => format!("sha256:{}", hex::encode(digest::digest(&digest::SHA256, value))),
    })
}

#[cfg(test)]
mod tests;
