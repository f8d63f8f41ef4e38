//! What the head of a request says about its fields, its body and its connection.

use http::{HeaderMap, HeaderValue, Version, header, request::Parts};

/// Whether the connection takes another request after this one (RFC 9112, section 9.3).
pub(super) fn keeps_connection(head: &Parts) -> bool {
    let says = |option: &str| {
        let values = head.headers.get_all(header::CONNECTION).iter();
        let mut options = values.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
        options.any(|found| found.trim().eq_ignore_ascii_case(option))
    };
    !says("close") && (head.version == Version::HTTP_11 || says("keep-alive"))
}

/// Whether the client waits for `100 Continue` before it sends its body (RFC 9110, section 10.1.1).
pub(super) fn expects_continue(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(header::EXPECT).iter();
    values.any(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

/// The transfer codings of a request, unless chunks are the only one.
pub(super) fn unknown_coding(headers: &HeaderMap) -> Option<&[u8]> {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter().map(HeaderValue::as_bytes);
    let first = codings.next()?;
    if !first.trim_ascii().eq_ignore_ascii_case(b"chunked") {
        return Some(first);
    }
    codings.next()
}

/// Joins the cookies that an HTTP/2 client sent in several fields (RFC 9113, section 8.2.3).
pub(super) fn join_cookies(headers: &mut HeaderMap) {
    let mut crumbs = headers.get_all(header::COOKIE).iter();
    if crumbs.next().is_none() || crumbs.next().is_none() {
        return;
    }
    let crumbs: Vec<_> = headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
    let joined = HeaderValue::from_bytes(&crumbs.join(&b"; "[..]));
    headers.insert(header::COOKIE, joined.expect("valid values and `; ` are a valid value"));
}
