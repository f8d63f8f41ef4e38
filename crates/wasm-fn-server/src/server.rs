//! Starting the data plane, and ending it.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use tokio::{net::TcpListener, sync::Semaphore};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use wasm_fn_router::RouteTable;

use crate::{
    Invoke, Options, OverrideAccess,
    accept::Acceptor,
    connection::{self, Spawner},
    connections::Connections,
    crowding::Crowding,
    session::Plane,
    watch::Order,
};

/// How long connections that were cut may take to notice.
const CUT_WAIT: Duration = Duration::from_secs(1);

/// A running data plane. Dropping the handle leaves it running.
pub struct ServerHandle {
    local_addr: SocketAddr,
    connections: Arc<Connections>,
    tasks: TaskTracker,
    drain: CancellationToken,
    leave: CancellationToken,
    cut: CancellationToken,
}

/// How a drain went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct DrainReport {
    /// Connections that had not finished at the timeout and were cut.
    pub cut: usize,
}

/// Serves what `tables` holds, at each moment, on `listener`.
///
/// Runs on the current tokio runtime until the handle ends it.
///
/// # Errors
/// When the listener has no local address.
pub fn serve<V: Invoke>(
    listener: TcpListener,
    tables: Arc<ArcSwap<RouteTable<V>>>,
    options: Options,
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
    let acceptor = Acceptor {
        protocols: Arc::new(connection::protocols(&options, Spawner(handle.tasks.clone()))),
        room: Arc::new(Semaphore::new(options.connections_max.min(Semaphore::MAX_PERMITS))),
        plane: Arc::new(Plane { tables, access, options, crowding: Crowding::default() }),
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
    /// The address that is served.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Stops accepting, finishes what was accepted, and ends.
    ///
    /// Connections waiting in the backlog are still served. HTTP/1 connections answer the request in
    /// flight, or one that comes within [`Options::drain_grace`], with `connection: close`; HTTP/2
    /// connections send GOAWAY. What has not finished after `timeout` is cut.
    ///
    /// # Cancel safety
    /// The drain goes on when the future is dropped, without its timeout.
    pub async fn drain(&self, timeout: Duration) -> DrainReport {
        self.finish(&self.drain, timeout).await
    }

    /// Ends as [`drain`](Self::drain) does, but leaves the backlog to another process that accepts from the
    /// same socket. Without one, connections that wait there are lost.
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
        // Guests that hold their thread do not notice; the process ends without them.
        let _ = tokio::time::timeout(CUT_WAIT, self.tasks.wait()).await;
        DrainReport { cut }
    }

    /// Stops accepting and cuts every connection; returns how many there were.
    pub fn abort(&self) -> usize {
        self.cut.cancel();
        self.tasks.close();
        self.connections.tell(Order::Cut)
    }
}
