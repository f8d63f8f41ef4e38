//! Serves the API, over TLS if there is a certificate, with limits on connections and a shutdown that does
//! not cut off answers.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use axum::Router;
use http::Request;
use hyper::{
    body::Incoming,
    server::conn::http1,
    service::{Service as _, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use rustls::ServerConfig;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_rustls::TlsAcceptor;

use wasm_fn_control::host::Host;
use wasm_fn_store::Store;

mod stall;

use self::stall::Stalling;
use crate::{
    ClientIdentity,
    admin::Admin,
    extract::{OverTls, Peer},
};

/// How many connections may be open at once. More wait to be accepted.
const CONNECTIONS_MAX: usize = 512;

/// How long the head of a request may take to arrive, and how long a connection may be idle.
const HEADER_WAIT: Duration = Duration::from_secs(30);

/// How long a handshake of TLS may take.
const HANDSHAKE_WAIT: Duration = Duration::from_secs(10);

/// How long answers may take to end after shutdown begins.
const SHUTDOWN_WAIT: Duration = Duration::from_secs(10);

/// Pause after a failed accept, so that a lack of file descriptors does not cause a busy loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

impl<H: Host, S: Store> Admin<H, S> {
    /// Serves the admin API on `listener` until `shutdown` completes: over TLS with the configuration that
    /// `tls` has when a connection begins, else over plain HTTP.
    ///
    /// If `tls` asks for certificates of clients, the requests of a client with one carry its
    /// [`ClientIdentity`].
    ///
    /// Requests under way may take up to ten seconds to finish; followed logs end at once. After that you can
    /// call it again.
    pub async fn serve(
        self: Arc<Self>,
        listener: TcpListener,
        tls: Option<Arc<ArcSwap<ServerConfig>>>,
        shutdown: impl Future<Output = ()> + Send,
    ) {
        self.serve_router(self.router(), listener, tls, shutdown).await;
    }

    pub(crate) async fn serve_router(
        &self,
        router: Router,
        listener: TcpListener,
        tls: Option<Arc<ArcSwap<ServerConfig>>>,
        shutdown: impl Future<Output = ()> + Send,
    ) {
        self.stopping.send_replace(false);
        let connections = GracefulShutdown::new();
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(HEADER_WAIT).max_headers(64);
        let mut shutdown = std::pin::pin!(shutdown);
        loop {
            let accepted = tokio::select! {
                accepted = accept(&listener, &places) => accepted,
                () = &mut shutdown => break,
            };
            let Some((stream, peer, place)) = accepted else { continue };
            let router = TowerToHyperService::new(router.clone());
            let encrypted = tls.is_some();
            let acceptor = tls.as_ref().map(|tls| TlsAcceptor::from(tls.load_full()));
            let (http, watcher, mut stopping) =
                (http.clone(), connections.watcher(), self.stopping.subscribe());
            tokio::spawn(async move {
                let begun = tokio::select! {
                    begun = begin(stream, acceptor) => begun,
                    // There is no request yet.
                    _ = stopping.wait_for(|&stopping| stopping) => return,
                };
                let (stream, identity) = match begun {
                    Ok(begun) => begun,
                    Err(error) => {
                        tracing::debug!(%peer, %error, "TLS handshake of an admin connection failed");
                        return;
                    }
                };
                if let Some(identity) = &identity {
                    tracing::debug!(%peer, client = %identity, "admin client has a certificate");
                }
                let service = service_fn(move |mut request: Request<Incoming>| {
                    let extensions = request.extensions_mut();
                    extensions.insert(Peer(peer));
                    if encrypted {
                        extensions.insert(OverTls);
                    }
                    if let Some(identity) = &identity {
                        extensions.insert(identity.clone());
                    }
                    router.call(request)
                });
                let connection = http.serve_connection(TokioIo::new(Stalling::new(stream)), service);
                if let Err(error) = watcher.watch(connection).await {
                    tracing::debug!(%peer, %error, "admin connection ended");
                }
                drop(place);
            });
        }
        drop(listener);
        self.stopping.send_replace(true);
        if tokio::time::timeout(SHUTDOWN_WAIT, connections.shutdown()).await.is_err() {
            tracing::warn!("admin requests were still under way when the listener stopped");
        }
    }
}

/// A connection of bytes.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Does the handshake of TLS on `stream`, if there is to be one. Also returns who the client is by its
/// certificate.
async fn begin(
    stream: TcpStream,
    acceptor: Option<TlsAcceptor>,
) -> io::Result<(Box<dyn Stream>, Option<ClientIdentity>)> {
    let Some(acceptor) = acceptor else { return Ok((Box::new(stream), None)) };
    let stream = tokio::time::timeout(HANDSHAKE_WAIT, acceptor.accept(stream)).await??;
    let certificates = stream.get_ref().1.peer_certificates();
    let identity = certificates.and_then(|certificates| ClientIdentity::of(certificates.first()?));
    Ok((Box::new(stream), identity))
}

/// The next connection and its permit; `None` if accepting failed.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, peer)) => {
            // Without this option, a small answer waits until the one before it is acknowledged.
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%peer, %error, "admin connection does not have TCP_NODELAY");
            }
            Some((stream, peer, place))
        }
        Err(error) => {
            tracing::warn!(%error, "admin connection was not accepted");
            tokio::time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}
