//! Accepts connections.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use hyper_util::server::conn::auto;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use wasm_fn_core::Scheme;

use super::{
    drive::{self, StreamExecutor},
    peers::PeerConnections,
    registry::Connections,
};
use crate::{
    client::Peer,
    clock,
    invoke::Invoke,
    session::{Plane, Session},
};

/// How long to wait after a failure of the listener, such as a lack of descriptors or memory.
const PAUSE: Duration = Duration::from_millis(20);

/// The accepting task.
pub(crate) struct Acceptor<V> {
    pub(crate) plane: Arc<Plane<V>>,
    /// The port of the listener.
    pub(crate) port: u16,
    pub(crate) protocols: Arc<auto::Builder<StreamExecutor>>,
    pub(crate) connections: Arc<Connections>,
    pub(crate) tasks: TaskTracker,
    /// A permit for each connection that may still be opened.
    pub(crate) room: Arc<Semaphore>,
    /// Who has the open ones.
    pub(crate) peers: Arc<PeerConnections>,
    /// Stops accepting after the backlog is empty.
    pub(crate) drain: CancellationToken,
    /// Stops accepting at once; another process takes the backlog.
    pub(crate) leave: CancellationToken,
    /// Stops accepting at once; the backlog is dropped.
    pub(crate) cut: CancellationToken,
}

impl<V: Invoke> Acceptor<V> {
    /// Accepts until told to stop, then empties the backlog, unless another process takes it, and closes the
    /// listener.
    pub(crate) async fn run(self, listener: TcpListener) {
        let cut = self.cut.clone();
        tokio::select! {
            () = cut.cancelled() => {}
            () = self.accept_then_empty(listener) => {}
        }
    }

    async fn accept_then_empty(&self, listener: TcpListener) {
        tokio::select! {
            // Nothing more is accepted once told to stop, even if there is room.
            biased;
            () = self.leave.cancelled() => return,
            () = self.drain.cancelled() => {}
            () = self.accept(&listener) => {}
        }
        // This reads the backlog directly: the reactor may not know its latest connections.
        match listener.into_std() {
            Ok(listener) => self.empty(listener).await,
            Err(error) => tracing::warn!(%error, "backlog was not emptied"),
        }
    }

    async fn accept(&self, listener: &TcpListener) {
        let mut pausing = false;
        loop {
            let room = self.room().await;
            match listener.accept().await {
                Ok((stream, peer)) => {
                    pausing = false;
                    self.open(stream, peer, room);
                }
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    if !pausing {
                        tracing::warn!(%error, "accepting pauses");
                    }
                    pausing = true;
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    async fn empty(&self, listener: std::net::TcpListener) {
        loop {
            let room = self.room().await;
            let accepted = listener.accept().and_then(|(stream, peer)| {
                stream.set_nonblocking(true)?;
                Ok((TcpStream::from_std(stream)?, peer))
            });
            match accepted {
                Ok((stream, peer)) => self.open(stream, peer, room),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if is_of_one_connection(&error) => {}
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    async fn room(&self) -> OwnedSemaphorePermit {
        Arc::clone(&self.room).acquire_owned().await.expect("the semaphore is never closed")
    }

    /// Spawns the task of a connection, or closes it if its address has as many as it may have.
    fn open(&self, stream: TcpStream, peer: SocketAddr, room: OwnedSemaphorePermit) {
        let peer = Peer::new(peer, &self.plane.options.trusted_proxies);
        let place = if peer.is_trusted {
            None
        } else {
            let Some(place) = self.peers.admit(peer.address.ip(), clock::now()) else { return };
            Some(place)
        };
        // A response is one write. Waiting to merge it with the next only delays it.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "connection keeps its delay");
        }
        let open = self.connections.open();
        let plane = Arc::clone(&self.plane);
        let connection = Arc::clone(open.connection());
        let (scheme, port, delivery) = (Scheme::Http, self.port, None);
        let session = Session { plane, connection, peer, scheme, port, delivery };
        let protocols = Arc::clone(&self.protocols);
        self.tasks.spawn(async move {
            drive::run(stream, session, protocols).await;
            drop((open, room, place));
        });
    }
}

/// Whether the error concerns one connection that is gone, and not the listener.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}
