//! Checks whether the addresses of a node are free, and if not, what uses them.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener},
    time::Duration,
};

use http::{Request, header};
use http_body_util::{BodyExt as _, Limited};
use wasm_fn_core::Scheme;

use super::Finding;
use crate::{client, config, tls};

/// Maximum time for an answer from an address.
const ANSWER_WAIT: Duration = Duration::from_secs(5);

/// Maximum size of an answer.
const ANSWER_BYTES_MAX: usize = 4 << 20;

/// What uses an address.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Free,
    /// A node.
    Ours {
        /// Its version, if known.
        version: Option<String>,
    },
    /// Something that is not a node.
    Taken,
    Unusable(String),
}

/// Checks all addresses.
pub(super) async fn all(config: &config::Serve) -> Vec<Finding> {
    let scheme = |secured| if secured { Scheme::Https } else { Scheme::Http };
    let listen = look(scheme(config.has_tls()), config.listen, "/", data_plane).await;
    let admin = look(scheme(config.admin_tls.is_some()), config.admin, "/openapi.json", admin_api).await;
    let mut findings = vec![
        judge("listen", "--listen", config.listen, listen),
        judge("admin", "--admin", config.admin, admin),
    ];
    if let Some(address) = config.redirect_listen {
        // It answers as the data plane does.
        let redirect = look(Scheme::Http, address, "/", data_plane).await;
        findings.push(judge("redirect", "--redirect-listen", address, redirect));
    }
    findings
}

/// Finds out what uses `address`. The server there is a node if `node` recognises its answer to `path`.
async fn look(
    scheme: Scheme,
    address: SocketAddr,
    path: &str,
    node: fn(&http::HeaderMap, &[u8]) -> Option<Place>,
) -> Place {
    match TcpListener::bind(address) {
        Ok(_) => Place::Free,
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            let answer = tokio::time::timeout(ANSWER_WAIT, ask(scheme, reachable(address), path)).await;
            let answer = answer.ok().flatten();
            answer.and_then(|(headers, body)| node(&headers, &body)).unwrap_or(Place::Taken)
        }
        Err(error) => Place::Unusable(error.to_string()),
    }
}

async fn ask(scheme: Scheme, address: SocketAddr, path: &str) -> Option<(http::HeaderMap, Vec<u8>)> {
    let request = Request::get(format!("{}://{address}{path}", scheme.as_str()))
        .header(header::HOST, address.to_string())
        .body(client::full(""))
        .ok()?;
    let (head, body) = client::http(tls::unverified()).request(request).await.ok()?.into_parts();
    let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await.ok()?;
    Some((head.headers, body.to_bytes().to_vec()))
}

/// An address that clients can connect to; the loopback address if `address` means all addresses.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// Recognises a data plane: each of its answers carries a request id.
fn data_plane(headers: &http::HeaderMap, _body: &[u8]) -> Option<Place> {
    headers.contains_key("wasm-fn-request-id").then_some(Place::Ours { version: None })
}

/// Recognises an admin API by its own description.
fn admin_api(_headers: &http::HeaderMap, body: &[u8]) -> Option<Place> {
    let document: serde_json::Value = serde_json::from_slice(body).ok()?;
    let info = document.get("info")?;
    let ours = info.get("title")?.as_str()?.starts_with("wasm-fn");
    let version = info.get("version")?.as_str()?.to_owned();
    ours.then_some(Place::Ours { version: Some(version) })
}

fn judge(name: &'static str, flag: &str, address: SocketAddr, place: Place) -> Finding {
    match place {
        Place::Free => Finding::ok(name, format!("{address} is free")),
        Place::Ours { version: None } => Finding::ok(name, format!("a node answers at {address}")),
        Place::Ours { version: Some(version) } => {
            Finding::ok(name, format!("a node of version {version} answers at {address}"))
        }
        Place::Taken => Finding::problem(
            name,
            format!("{address} is in use by something that is not a node"),
            format!("stop it, or choose another address with {flag}"),
        ),
        Place::Unusable(reason) => Finding::problem(
            name,
            format!("{address} cannot be bound: {reason}"),
            format!("choose another address with {flag}, or get permission to use it"),
        ),
    }
}

#[cfg(test)]
mod tests;
