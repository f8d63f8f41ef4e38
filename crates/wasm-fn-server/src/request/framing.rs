//! What the head of a request says about its body and its connection.

use http::{HeaderMap, Version, header, request::Parts};

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
