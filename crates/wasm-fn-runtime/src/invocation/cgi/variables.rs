//! The request as a command's environment variables (RFC 3875, section 4.1).

use std::net::{IpAddr, Ipv4Addr};

use http::{HeaderName, HeaderValue, Version, header, request::Parts};
use percent_encoding::percent_decode_str;
use wasm_fn_core::Scheme;

use crate::fault::Refusal;

/// Most request headers that become variables. The limit of the server is lower.
const HEADERS_MAX: usize = 1000;

/// Longest name and value of a variable together; a configured variable has the same limit.
///
/// Most commands reach the host through the published preview-1 adapter. It traps at a variable of some
/// 58 KB, less 16 bytes for every other one.
const VARIABLE_BYTES_MAX: usize = 32 << 10;

/// Characters of a variable's name that an error shows.
const SHOWN_MAX: usize = 60;

/// Headers without a variable: authentication (section 4.1.18 asks for that), what has a variable of another
/// name, what belongs to the connection, and `Proxy`, since programs take `HTTP_PROXY` for a setting.
const LEFT_OUT: [&str; 13] = [
    "authorization",
    "connection",
    "content-length",
    "content-type",
    "host",
    "keep-alive",
    "proxy",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// A request for a command.
pub(crate) struct CgiRequest<'a> {
    pub(crate) parts: &'a Parts,
    pub(crate) origin: Origin,
}

/// Where a request comes from, and how.
#[derive(Clone, Copy)]
pub(crate) struct Origin {
    /// `None` if the node itself asks.
    pub(crate) client: Option<IpAddr>,
    /// The scheme by which the client sent it.
    pub(crate) scheme: Scheme,
    /// The port that the request came in on.
    pub(crate) port: u16,
}

/// The request meta-variables, except `CONTENT_LENGTH`: the length may be known only once the body is there.
///
/// `SCRIPT_NAME` is empty and `PATH_INFO` the whole path, because only the router knows which part of the
/// path names the function, and guests see the full path.
///
/// # Errors
/// The request does not fit into variables.
pub(crate) fn variables(request: &CgiRequest<'_>) -> Result<Vec<(String, String)>, Refusal> {
    let CgiRequest { parts, origin: Origin { client, scheme, port } } = *request;
    let host = host(parts);
    let (target, query) = (parts.uri.path_and_query(), parts.uri.query().unwrap_or(""));
    let client = client.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)).to_string();
    let mut variables = vec![
        ("GATEWAY_INTERFACE", "CGI/1.1".to_owned()),
        ("SERVER_SOFTWARE", concat!("wasm-fn/", env!("CARGO_PKG_VERSION")).to_owned()),
        ("SERVER_PROTOCOL", protocol(parts.version)),
        ("SERVER_NAME", host.as_deref().map_or("localhost", server_name).to_owned()),
        ("SERVER_PORT", port.to_string()),
        ("REMOTE_HOST", client.clone()),
        ("REMOTE_ADDR", client),
        ("REQUEST_METHOD", parts.method.as_str().to_owned()),
        ("REQUEST_URI", target.map_or("", |target| target.as_str()).to_owned()),
        ("SCRIPT_NAME", String::new()),
        ("PATH_INFO", path_info(parts.uri.path())?),
        ("QUERY_STRING", query.to_owned()),
    ];
    if let Some(kind) = parts.headers.get(header::CONTENT_TYPE) {
        variables.push(("CONTENT_TYPE", text(kind.as_bytes())));
    }
    variables.extend(host.map(|host| ("HTTP_HOST", host)));
    // Not in RFC 3875, but what every server says of TLS.
    variables.extend((scheme == Scheme::Https).then(|| ("HTTPS", "on".to_owned())));
    let variables = variables.into_iter().map(|(name, value)| (name.to_owned(), value));
    let variables: Vec<_> = variables.chain(header_variables(parts)).collect();
    variables.iter().try_for_each(|(name, value)| check(name, value))?;
    Ok(variables)
}

/// The authority that the request was routed by: that of its target, else its `Host`. `None` if it has none,
/// as HTTP/1.0 allows.
fn host(parts: &Parts) -> Option<String> {
    if let Some(authority) = parts.uri.authority() {
        let authority = authority.as_str();
        return Some(authority.rsplit_once('@').map_or(authority, |(_, host)| host).to_owned());
    }
    parts.headers.get(header::HOST).map(|host| text(host.as_bytes())).filter(|host| !host.is_empty())
}

/// `host` without its port. An IPv6 address keeps its brackets (section 4.1.14).
fn server_name(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => name,
        _ => host,
    }
}

fn protocol(version: Version) -> String {
    // This is how it is written in a request: `HTTP/1.1`, `HTTP/2.0`.
    format!("{version:?}")
}

/// The decoded path (section 4.1.5). `REQUEST_URI` has it as it was sent.
fn path_info(path: &str) -> Result<String, Refusal> {
    // `OPTIONS *` asks about the server and has no path.
    if !path.starts_with('/') {
        return Ok(String::new());
    }
    let decoded: Vec<u8> = percent_decode_str(path).collect();
    if decoded.contains(&0) {
        return Err(Refusal::Malformed { reason: "the path contains %00, which no variable can hold" });
    }
    Ok(text(&decoded))
}

/// `HTTP_*` (section 4.1.18). The values of repeated headers are joined.
///
/// `X_User` would have the variable of `X-User`, and a proxy that sets or removes the one may let the other
/// pass. So headers whose names have more than letters, digits and hyphens are left out.
fn header_variables(parts: &Parts) -> impl Iterator<Item = (String, String)> + '_ {
    let has_variable = |name: &&HeaderName| {
        let name = name.as_str();
        name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') && !LEFT_OUT.contains(&name)
    };
    parts.headers.keys().filter(has_variable).take(HEADERS_MAX).map(|name| {
        // Cookies have a separator of their own (RFC 6265, section 4.2.1).
        let separator = if name == header::COOKIE { "; " } else { ", " };
        let values = parts.headers.get_all(name).iter().map(HeaderValue::as_bytes).map(text);
        let variable = format!("HTTP_{}", name.as_str().to_ascii_uppercase().replace('-', "_"));
        (variable, values.collect::<Vec<_>>().join(separator))
    })
}

/// `bytes` as the text of a variable, which WASI wants in UTF-8. Anything else is read as ISO-8859-1, so that
/// nothing is lost.
fn text(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().copied().map(char::from).collect(),
    }
}

/// Refuses a variable that is too long for the command.
fn check(name: &str, value: &str) -> Result<(), Refusal> {
    let (found_bytes, max_bytes) = (name.len() + value.len(), VARIABLE_BYTES_MAX);
    if found_bytes <= max_bytes {
        return Ok(());
    }
    Err(match name {
        "REQUEST_URI" | "PATH_INFO" | "QUERY_STRING" => Refusal::UriTooLong { found_bytes, max_bytes },
        "REQUEST_METHOD" => Refusal::Malformed { reason: "the method is longer than any method" },
        "SERVER_NAME" => Refusal::HeaderTooLong { variable: "HTTP_HOST".to_owned(), found_bytes, max_bytes },
        name => Refusal::HeaderTooLong {
            variable: name.chars().take(SHOWN_MAX).collect(),
            found_bytes,
            max_bytes,
        },
    })
}
