//! The address of a function.

use http::uri::Authority;
use wasm_fn_core::Route;

/// Host and port of the data plane.
///
/// A node that listens on every address reports `0.0.0.0`. It can be reached on the host of its admin API.
pub(super) fn data_authority(data_listen: &str, admin: &Authority) -> String {
    match data_listen.parse::<std::net::SocketAddr>() {
        Ok(address) if address.ip().is_unspecified() => format!("{}:{}", admin.host(), address.port()),
        _ => data_listen.to_owned(),
    }
}

/// Path and query of a request for `path` below `route`.
///
/// # Errors
/// `path` is not below the route; the text gives the reason.
pub(super) fn path_and_query(route: &Route, path: &str) -> Result<String, String> {
    if !path.is_empty() && !path.starts_with(['/', '?']) {
        return Err(format!("--path is {path:?}, expected it to start with `/` or `?`"));
    }
    if path.starts_with('/') && !route.below() {
        return Err(format!("--path is {path:?}, expected none: the function is reachable only at {route}"));
    }
    let whole = format!("{}{path}", route.path());
    Ok(if whole.starts_with('/') { whole } else { format!("/{whole}") })
}

/// The URL of `route`.
pub(super) fn url(authority: &str, route: &Route) -> String {
    let path = if route.path().is_empty() { "/" } else { route.path() };
    match (route.host(), authority.rsplit_once(':')) {
        (Some(host), Some((_, port))) => format!("http://{host}:{port}{path}"),
        (Some(host), None) => format!("http://{host}{path}"),
        (None, _) => format!("http://{authority}{path}"),
    }
}

#[cfg(test)]
mod tests;
