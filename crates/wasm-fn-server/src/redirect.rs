//! Sends clients of plain HTTP to `https`: a listener that answers every request with a redirect.
//!
//! It knows no table and no function. It answers one request a connection, within a time and for so many
//! connections at once that it is no burden for the node.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body::Body as _;
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use wasm_fn_core::{Network, Scheme};

use crate::{
    client::{self, Peer},
    request::{RequestId, authority},
    response::{
        headers::REQUEST_ID,
        problem::{Code, MEDIA_TYPE, Problem},
    },
};

/// How long a connection may take, from accepting it to the last byte of the answer.
const CONNECTION_TIME: Duration = Duration::from_secs(10);

/// Bytes of a request's body that are read before the answer. A client that still sends when the connection
/// closes may lose the answer.
const BODY_BYTES_MAX: usize = 64 << 10;

/// Header fields of one request.
const HEADERS_MAX: usize = 64;

/// How long to wait after a failure of the listener.
const PAUSE: Duration = Duration::from_millis(20);

/// How long connections may take to end after shutdown begins.
const SHUTDOWN_WAIT: Duration = Duration::from_secs(1);

/// Where to send clients, and within which limits.
#[derive(Clone, Debug)]
pub struct RedirectOptions {
    /// The port of the listener with TLS.
    pub https_port: u16,
    /// Connections open at once; more wait in the kernel's backlog. 256.
    pub connections_max: usize,
    /// Networks of proxies.
    pub trusted_proxies: Vec<Network>,
    /// Whether their connections begin with a PROXY header.
    pub proxy_protocol: bool,
}

/// A running listener. It keeps running when the handle is dropped.
pub struct RedirectHandle {
    local_addr: SocketAddr,
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// Answers every request on `listener` with a redirect to the same address with the scheme `https`.
///
/// It runs on the current tokio runtime until the handle ends it.
///
/// # Errors
/// The listener has no local address.
pub fn redirect(listener: TcpListener, options: RedirectOptions) -> io::Result<RedirectHandle> {
    let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
    let handle =
        RedirectHandle { local_addr: listener.local_addr()?, stop: stop.clone(), tasks: tasks.clone() };
    let accepting = accept(listener, Arc::new(options), tasks);
    handle.tasks.spawn(async move {
        tokio::select! {
            () = stop.cancelled() => {}
            () = accepting => {}
        }
    });
    Ok(handle)
}

impl RedirectHandle {
    /// The address of the listener.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Stops accepting, and gives open connections a moment to end.
    pub async fn stop(self) {
        self.stop.cancel();
        self.tasks.close();
        let _ = tokio::time::timeout(SHUTDOWN_WAIT, self.tasks.wait()).await;
    }
}

async fn accept(listener: TcpListener, options: Arc<RedirectOptions>, tasks: TaskTracker) {
    let room = Arc::new(Semaphore::new(options.connections_max.min(Semaphore::MAX_PERMITS)));
    loop {
        let place = Arc::clone(&room).acquire_owned().await.expect("the semaphore is never closed");
        match listener.accept().await {
            Ok((stream, peer)) => {
                let serving = serve(stream, peer, Arc::clone(&options), place);
                tasks.spawn(async move {
                    // Whoever takes longer is cut off.
                    let _ = tokio::time::timeout(CONNECTION_TIME, serving).await;
                });
            }
            Err(error) => {
                tracing::debug!(%error, "connection to be redirected was not accepted");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn serve(
    mut stream: TcpStream,
    peer: SocketAddr,
    options: Arc<RedirectOptions>,
    _place: OwnedSemaphorePermit,
) {
    if options.proxy_protocol
        && Peer::new(peer, &options.trusted_proxies).is_trusted
        && client::read(&mut stream).await.is_err()
    {
        return;
    }
    let service = service_fn(|request| answer(request, options.https_port));
    let mut protocol = http1::Builder::new();
    protocol.timer(TokioTimer::new()).keep_alive(false).max_headers(HEADERS_MAX);
    if let Err(error) = protocol.serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!(%peer, %error, "connection to be redirected failed");
    }
}

async fn answer(
    mut request: Request<Incoming>,
    https_port: u16,
) -> Result<Response<Full<Bytes>>, Infallible> {
    discard(request.body_mut()).await;
    let id = RequestId::random();
    let location = location(&request, https_port);
    let mut response = match location.and_then(|location| HeaderValue::try_from(location).ok()) {
        Some(location) => {
            let mut response = Response::new(Full::default());
            // Permanent, and without leave to change the method (RFC 9110, section 15.4.9).
            *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
            response.headers_mut().insert(header::LOCATION, location);
            response
        }
        None => {
            let detail = "this address only redirects to https, and the request names no valid host for that";
            let problem = Problem { detail: detail.into(), ..Code::BadRequest.into() };
            let mut response = Response::new(Full::from(problem.json(id)));
            *response.status_mut() = problem.code.status();
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
            response
        }
    };
    response.headers_mut().insert(REQUEST_ID, id.header_value());
    Ok(response)
}

async fn discard(body: &mut Incoming) {
    let mut left = BODY_BYTES_MAX;
    while left > 0 && !body.is_end_stream() {
        let Some(Ok(frame)) = body.frame().await else { return };
        left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
    }
}

/// Where `request` is to go; `None` if it does not name one valid host, or no path.
///
/// A client that names no port has taken the default one of `http`, so it is sent to that of `https`,
/// whatever the ports of the listeners are behind a firewall. Any other client is sent to `https_port`.
fn location<B>(request: &Request<B>, https_port: u16) -> Option<String> {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (_, Some(_)) => return None,
        (host, None) => host.and_then(|host| host.to_str().ok()),
    };
    let authority = request.uri().authority().map(http::uri::Authority::as_str).or(host)?;
    let path = request.uri().path_and_query()?.as_str();
    if !authority::is_valid(authority) || !path.starts_with('/') {
        return None;
    }
    let (host, port) = authority::split(authority);
    let port = match port {
        "" | ":" => String::new(),
        _ if https_port == Scheme::Https.port() => String::new(),
        _ => format!(":{https_port}"),
    };
    Some(format!("https://{host}{port}{path}"))
}

#[cfg(test)]
mod tests;
