//! Whether the addresses of a node are free, and who has them if not.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener},
    time::Duration,
};

use http::{Request, header};
use http_body_util::{BodyExt as _, Limited};

use super::Finding;
use crate::{client, config};

/// Longest time for whoever answers at an address.
const ANSWER_WAIT: Duration = Duration::from_secs(5);

/// Largest answer that is read.
const ANSWER_BYTES_MAX: usize = 4 << 20;

/// Who has an address.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Free,
    /// A node.
    Ours {
        /// Its version, where it says.
        version: Option<String>,
    },
    /// Something that is no node.
    Taken,
    Unusable(String),
}

/// Looks at both addresses.
pub(super) async fn both(config: &config::Serve) -> [Finding; 2] {
    let listen = look(config.listen, "/", data_plane).await;
    let admin = look(config.admin, "/openapi.json", admin_api).await;
    [judge("listen", "--listen", config.listen, listen), judge("admin", "--admin", config.admin, admin)]
}

/// Who has `address`; what answers `path` there is a node if `node` makes a place of it.
async fn look(address: SocketAddr, path: &str, node: fn(&http::HeaderMap, &[u8]) -> Option<Place>) -> Place {
    match TcpListener::bind(address) {
        Ok(_) => Place::Free,
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            let answer = tokio::time::timeout(ANSWER_WAIT, ask(reachable(address), path)).await;
            let answer = answer.ok().flatten();
            answer.and_then(|(headers, body)| node(&headers, &body)).unwrap_or(Place::Taken)
        }
        Err(error) => Place::Unusable(error.to_string()),
    }
}

async fn ask(address: SocketAddr, path: &str) -> Option<(http::HeaderMap, Vec<u8>)> {
    let request = Request::get(format!("http://{address}{path}"))
        .header(header::HOST, address.to_string())
        .body(client::full(""))
        .ok()?;
    let (head, body) = client::http().request(request).await.ok()?.into_parts();
    let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await.ok()?;
    Some((head.headers, body.to_bytes().to_vec()))
}

/// An address that clients can connect to, of one that may mean all addresses.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// Every answer of a data plane names its request.
fn data_plane(headers: &http::HeaderMap, _body: &[u8]) -> Option<Place> {
    headers.contains_key("wasm-fn-request-id").then_some(Place::Ours { version: None })
}

/// The admin API describes itself.
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
            format!("{address} is taken by something that is no node"),
            format!("end it, or choose another address by {flag}"),
        ),
        Place::Unusable(reason) => Finding::problem(
            name,
            format!("{address} cannot be listened on: {reason}"),
            format!("choose another address by {flag}, or get the right to it"),
        ),
    }
}

#[cfg(test)]
mod tests;
