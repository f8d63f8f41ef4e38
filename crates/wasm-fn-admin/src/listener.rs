//! Serves the API, with limits on connections and a shutdown that does not cut off answers.

use std::{net::SocketAddr, sync::Arc, time::Duration};

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
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};

use wasm_fn_control::host::Host;
use wasm_fn_store::Store;

mod stall;

use self::stall::Stalling;
use crate::{admin::Admin, extract::Peer};

/// How many connections may be open at once. More wait to be accepted.
const CONNECTIONS_MAX: usize = 512;

/// How long the head of a request may take to arrive, and how long a connection may be idle.
const HEADER_WAIT: Duration = Duration::from_secs(30);

/// How long answers may take to end after shutdown begins.
const SHUTDOWN_WAIT: Duration = Duration::from_secs(10);

/// Pause after a failed accept, so that a lack of file descriptors does not cause a busy loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

impl<H: Host, S: Store> Admin<H, S> {
    /// Serves the admin API on `listener` until `shutdown` completes.
    ///
    /// Requests under way may take up to ten seconds to finish; followed logs end at once. After that you can
    /// call it again.
    pub async fn serve(self: Arc<Self>, listener: TcpListener, shutdown: impl Future<Output = ()> + Send) {
        self.stopping.send_replace(false);
        let router = self.router();
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
            let service = service_fn(move |mut request: Request<Incoming>| {
                request.extensions_mut().insert(Peer(peer));
                router.call(request)
            });
            let connection = http.serve_connection(TokioIo::new(Stalling::new(stream)), service);
            let connection = connections.watch(connection);
            tokio::spawn(async move {
                if let Err(error) = connection.await {
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
