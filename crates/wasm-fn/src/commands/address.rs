//! The address of a function.

use wasm_fn_api::NodeView;
use wasm_fn_core::{Route, Scheme};

use crate::config::NodeAddress;

/// The data plane, as clients reach it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DataAddress {
    pub(super) scheme: Scheme,
    /// Host and port.
    pub(super) authority: String,
}

impl DataAddress {
    /// The data plane of `node`, whose admin API is at `admin`.
    ///
    /// A node that listens on every address reports `0.0.0.0`. It can be reached on the host of its admin
    /// API.
    pub(super) fn of(node: &NodeView, admin: &NodeAddress) -> Self {
        let authority = match node.data_listen.parse::<std::net::SocketAddr>() {
            Ok(address) if address.ip().is_unspecified() => {
                format!("{}:{}", admin.authority.host(), address.port())
            }
            _ => node.data_listen.clone(),
        };
        let scheme = if node.data_scheme == "https" { Scheme::Https } else { Scheme::Http };
        Self { scheme, authority }
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
pub(super) fn url(data: &DataAddress, route: &Route) -> String {
    let DataAddress { scheme, authority } = data;
    let scheme = scheme.as_str();
    let path = if route.path().is_empty() { "/" } else { route.path() };
    match (route.host(), authority.rsplit_once(':')) {
        (Some(host), Some((_, port))) => format!("{scheme}://{host}:{port}{path}"),
        (Some(host), None) => format!("{scheme}://{host}{path}"),
        (None, _) => format!("{scheme}://{authority}{path}"),
    }
}

#[cfg(test)]
mod tests;
