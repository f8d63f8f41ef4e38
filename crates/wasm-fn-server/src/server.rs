//! Starts and ends the data plane.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use tokio::{net::TcpListener, sync::Semaphore};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use wasm_fn_router::RouteTable;

use crate::{
    connection::{
        accept::Acceptor,
        drive::{self, StreamExecutor},
        peers::PeerConnections,
        registry::Connections,
        state::Order,
    },
    invoke::Invoke,
    options::ServerOptions,
    request::access::OverrideAccess,
    session::Plane,
};

/// How long cut connections may take to end.
const CUT_WAIT: Duration = Duration::from_secs(1);

/// A running data plane. It keeps running when the handle is dropped.
pub struct ServerHandle {
    local_addr: SocketAddr,
    connections: Arc<Connections>,
    tasks: TaskTracker,
    drain: CancellationToken,
    leave: CancellationToken,
    cut: CancellationToken,
}

/// The result of a drain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct DrainReport {
    /// Connections that were cut because they had not finished at the timeout.
    pub cut: usize,
}

/// Serves the current table of `tables` on `listener`.
///
/// It runs on the current tokio runtime until the handle ends it.
///
/// # Errors
/// The listener has no local address.
pub fn serve<V: Invoke>(
    listener: TcpListener,
    tables: Arc<ArcSwap<RouteTable<V>>>,
    options: ServerOptions,
    access: Arc<dyn OverrideAccess>,
) -> io::Result<ServerHandle> {
    let handle = ServerHandle {
        local_addr: listener.local_addr()?,
        connections: Arc::new(Connections::new()),
        tasks: TaskTracker::new(),
        drain: CancellationToken::new(),
        leave: CancellationToken::new(),
        cut: CancellationToken::new(),
    };
    let protocols = drive::protocols(&options, StreamExecutor(handle.tasks.clone()));
    let room = Semaphore::new(options.connections_max.min(Semaphore::MAX_PERMITS));
    let peers = PeerConnections::new(options.connections_per_address);
    let plane = Plane::new(tables, options, access);
    let acceptor = Acceptor {
        port: handle.local_addr.port(),
        protocols: Arc::new(protocols),
        room: Arc::new(room),
        peers: Arc::new(peers),
        plane,
        connections: Arc::clone(&handle.connections),
        tasks: handle.tasks.clone(),
        drain: handle.drain.clone(),
        leave: handle.leave.clone(),
        cut: handle.cut.clone(),
    };
    handle.tasks.spawn(acceptor.run(listener));
    Ok(handle)
}

impl ServerHandle {
    /// The address of the listener.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Stops accepting, finishes what was accepted, and ends.
    ///
    /// Connections in the backlog are still served. HTTP/1 connections answer the request in flight, or one
    /// that comes within [`ServerOptions::drain_grace`], with `connection: close`. HTTP/2 connections send
    /// GOAWAY. Connections that have not finished after `timeout` are cut.
    ///
    /// # Cancel safety
    /// The drain continues when the future is dropped, but without its timeout.
    pub async fn drain(&self, timeout: Duration) -> DrainReport {
        self.finish(&self.drain, timeout).await
    }

    /// Ends like [`drain`](Self::drain), but leaves the backlog to another process that accepts from the same
    /// socket. Without such a process, connections that wait there are lost.
    ///
    /// # Cancel safety
    /// As for [`drain`](Self::drain).
    pub async fn leave(&self, timeout: Duration) -> DrainReport {
        self.finish(&self.leave, timeout).await
    }

    async fn finish(&self, accepting: &CancellationToken, timeout: Duration) -> DrainReport {
        self.connections.tell(Order::Drain);
        accepting.cancel();
        self.tasks.close();
        if tokio::time::timeout(timeout, self.tasks.wait()).await.is_ok() {
            return DrainReport { cut: 0 };
        }
        let cut = self.abort();
        // Guests that hold their thread do not notice. The process ends without them.
        let _ = tokio::time::timeout(CUT_WAIT, self.tasks.wait()).await;
        DrainReport { cut }
    }

    /// Stops accepting and cuts every connection. Returns how many there were.
    pub fn abort(&self) -> usize {
        self.cut.cancel();
        self.tasks.close();
        self.connections.tell(Order::Cut)
    }
}
