//! What browsers add to requests by themselves: where these come from, and the cookie of a session.

use http::{
    HeaderMap, Method,
    header::{self, HeaderName},
};

use crate::ApiError;

/// The header with the key of a session.
const KEY: HeaderName = HeaderName::from_static("x-wasm-fn-session-key");

/// The header by which browsers tell where a request comes from (Fetch Metadata Request Headers, section
/// 2.4).
pub(crate) const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The name of the cookie. Browsers take the longer one from nobody but this host, and over TLS (RFC 6265bis,
/// section 4.1.3.2).
pub(crate) fn cookie_name(encrypted: bool) -> &'static str {
    if encrypted { "__Host-wasm-fn-session" } else { "wasm-fn-session" }
}

/// The cookie and the key of a session, if a request shows both.
pub(crate) fn halves(headers: &HeaderMap, encrypted: bool) -> Option<(&str, &str)> {
    let name = cookie_name(encrypted);
    let fields = headers.get_all(header::COOKIE).iter().filter_map(|field| field.to_str().ok());
    let mut cookies =
        fields.flat_map(|field| field.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let cookie = cookies.find(|(found, _)| *found == name)?.1;
    Some((cookie, headers.get(KEY)?.to_str().ok()?))
}

/// Checks that a request that a browser adds something to by itself does not come from another origin.
///
/// # Errors
/// It comes from there; or it would change something and does not tell where it comes from.
pub(crate) fn same_origin(method: &Method, headers: &HeaderMap) -> Result<(), ApiError> {
    let text = |name: &HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let (site, origin, host) = (text(&FETCH_SITE), text(&header::ORIGIN), text(&header::HOST));
    let is_safe = matches!(*method, Method::GET | Method::HEAD);
    match (site, origin) {
        (Some("same-origin"), _) => Ok(()),
        // The person has typed the address.
        (Some("none"), _) if is_safe => Ok(()),
        (Some(site), _) => {
            Err(ApiError::cross_origin(format!("the request is {site}, expected it to be same-origin")))
        }
        (None, Some(origin)) => {
            let authority = origin.split_once("://").map(|(_, authority)| authority);
            if authority.zip(host).is_some_and(|(origin, host)| origin.eq_ignore_ascii_case(host)) {
                return Ok(());
            }
            let expected = host.unwrap_or("one of this node");
            Err(ApiError::cross_origin(format!("the request comes from {origin}, expected {expected}")))
        }
        (None, None) if is_safe => Ok(()),
        (None, None) => Err(ApiError::cross_origin(
            "the request has neither sec-fetch-site nor origin, expected a browser that says where it comes from",
        )),
    }
}
