//! Tests for `order`.

use super::*;

/// The key of an event with these headers, by the header `name`.
fn key(name: &str, headers: &[(&'static str, &[u8])]) -> Option<String> {
    let headers: HeaderMap = headers
        .iter()
        .map(|(name, value)| (name.parse().unwrap(), value.to_vec().try_into().unwrap()))
        .collect();
    ordering_key(&name.parse().unwrap(), [&HeaderMap::new(), &headers])
}

#[test]
fn ordering_keys_are_values_of_a_header() {
    assert_eq!(key("CE-Subject", &[("ce-subject", b"order/7")]).as_deref(), Some("order/7"));
    assert_eq!(key("ce-subject", &[("ce-subject", "größe".as_bytes())]).as_deref(), Some("größe"));
    // Without a value there is no order.
    assert_eq!(key("ce-subject", &[("ce-id", b"7")]), None);
    assert_eq!(key("ce-subject", &[("ce-subject", b"")]), None);
}

#[test]
fn values_that_are_no_keys_have_their_digest() {
    let longest = [b'a'; ORDERING_KEY_BYTES_MAX];
    assert_eq!(key("x", &[("x", &longest)]).unwrap().as_bytes(), longest);
    let long = key("x", &[("x", &[b'a'; ORDERING_KEY_BYTES_MAX + 1])]).unwrap();
    assert_eq!((long.len(), &long[..7]), (71, "sha256:"));
    let binary = key("x", &[("x", b"\xff")]).unwrap();
    assert_eq!(binary, "sha256:a8100ae6aa1940d0b663bb31cd466142ebbdbd5187131b92d93818987832eb89");
}

#[test]
fn the_first_headers_that_have_a_value_count() {
    let map = |value: &'static str| HeaderMap::from_iter([("x".parse().unwrap(), value.parse().unwrap())]);
    let by: OrderedBy = "x".parse().unwrap();
    assert_eq!(ordering_key(&by, [&map("event"), &map("service")]).as_deref(), Some("event"));
}
