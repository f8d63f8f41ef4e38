//! Runs a command for a request by the rules of CGI (RFC 3875): the request is its environment and standard
//! input, the response its standard output.

mod output;
mod pipe;

use std::net::IpAddr;

use http::request::Parts;

pub(crate) use output::poll_head;
pub(crate) use pipe::{CgiInput, CgiOutput};

/// Most request headers that become variables. The limit of the server is lower.
const HEADERS_MAX: usize = 1000;

/// The request meta-variables of RFC 3875, section 4.1.
///
/// `SCRIPT_NAME` is empty and `PATH_INFO` the whole path, because only the router knows which part of the
/// path names the function, and guests see the full path. A request without a client, such as a check of a
/// rollout, has no `REMOTE_ADDR`.
pub(crate) fn variables(parts: &Parts, client: Option<IpAddr>) -> Vec<(String, String)> {
    let header = |name| parts.headers.get(name).and_then(|value: &http::HeaderValue| value.to_str().ok());
    let authority = parts.uri.authority().map(http::uri::Authority::as_str);
    let host = authority.or_else(|| header(http::header::HOST)).unwrap_or("localhost");
    let (server, port) = match host.rsplit_once(':') {
        Some((server, port)) if port.bytes().all(|b| b.is_ascii_digit()) => (server, port),
        _ => (host, "80"),
    };
    let mut variables = vec![
        ("GATEWAY_INTERFACE", "CGI/1.1"),
        ("SERVER_SOFTWARE", concat!("wasm-fn/", env!("CARGO_PKG_VERSION"))),
        ("SERVER_PROTOCOL", "HTTP/1.1"),
        ("SERVER_NAME", server),
        ("SERVER_PORT", port),
        ("REQUEST_METHOD", parts.method.as_str()),
        ("SCRIPT_NAME", ""),
        ("PATH_INFO", parts.uri.path()),
        ("QUERY_STRING", parts.uri.query().unwrap_or("")),
    ];
    if let Some(length) = header(http::header::CONTENT_LENGTH) {
        variables.push(("CONTENT_LENGTH", length));
    }
    if let Some(kind) = header(http::header::CONTENT_TYPE) {
        variables.push(("CONTENT_TYPE", kind));
    }
    let mut variables: Vec<_> =
        variables.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    variables.extend(client.map(|client| ("REMOTE_ADDR".to_owned(), client.to_string())));
    variables.extend(header_variables(parts));
    variables
}

/// `HTTP_*` (section 4.1.18). Repeated headers are joined. `Proxy` is left out, since programs take
/// `HTTP_PROXY` for a setting, and so is authentication.
fn header_variables(parts: &Parts) -> impl Iterator<Item = (String, String)> + '_ {
    const LEFT_OUT: [&str; 4] = ["authorization", "content-length", "content-type", "proxy"];
    parts.headers.keys().take(HEADERS_MAX).filter(|name| !LEFT_OUT.contains(&name.as_str())).map(|name| {
        let values = parts.headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        let variable = format!("HTTP_{}", name.as_str().to_ascii_uppercase().replace('-', "_"));
        (variable, values.collect::<Vec<_>>().join(", "))
    })
}

#[cfg(test)]
mod tests;
