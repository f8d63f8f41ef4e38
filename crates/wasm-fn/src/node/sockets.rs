//! The two sockets of a node, wherever they come from.

use std::net::{SocketAddr, TcpListener};

use anyhow::Context as _;
use tokio::net::TcpSocket;

use super::{activation::Activated, options::NodeOptions};

/// Connections that wait to be accepted; the system lowers it to net.core.somaxconn. Beyond it clients
/// try again after a second, and again after two: a burst must find room.
const BACKLOG: u32 = 4096;

/// Sockets that listen and do not block. As long as one handle on a socket is open, in whatever process,
/// nobody who connects is refused.
pub(super) struct Sockets {
    /// Where functions are called.
    pub(super) http: TcpListener,
    /// Where the admin API is.
    pub(super) admin: TcpListener,
}

impl Sockets {
    /// Sockets of its own.
    pub(super) fn bind(options: &NodeOptions) -> anyhow::Result<Self> {
        Self::complete(Activated::default(), options)
    }

    /// What a service manager gave, and sockets of its own for what it did not.
    pub(super) fn complete(given: Activated, options: &NodeOptions) -> anyhow::Result<Self> {
        let http = match given.http {
            Some(http) => listening(http, options.listen, "--listen")?,
            None => bind(options.listen, "--listen")?,
        };
        let admin = match given.admin {
            Some(admin) => listening(admin, options.admin, "--admin")?,
            None => bind(options.admin, "--admin")?,
        };
        Ok(Self { http, admin })
    }

    /// What another process handed over.
    pub(super) fn inherited(
        http: TcpListener,
        admin: TcpListener,
        options: &NodeOptions,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            http: listening(http, options.listen, "--listen")?,
            admin: listening(admin, options.admin, "--admin")?,
        })
    }
}

/// Another handle on `socket`, to be served by the current tokio runtime.
pub(super) fn share(socket: &TcpListener) -> anyhow::Result<tokio::net::TcpListener> {
    let shared = socket.try_clone().and_then(tokio::net::TcpListener::from_std);
    shared.context("a listening socket cannot be shared")
}

fn bind(address: SocketAddr, flag: &str) -> anyhow::Result<TcpListener> {
    let bound = || -> std::io::Result<TcpListener> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        // As tokio and the standard library do it, so that a node can start again at once.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)?.into_std()
    };
    bound().with_context(|| format!("{flag} {address} cannot be listened on"))
}

/// `socket`, which was opened elsewhere, once it is known to be of use.
fn listening(socket: TcpListener, configured: SocketAddr, flag: &str) -> anyhow::Result<TcpListener> {
    let given = || format!("the socket that was given for {flag} is not a TCP socket that listens");
    let address = socket.local_addr().with_context(given)?;
    anyhow::ensure!(rustix::net::sockopt::socket_acceptconn(&socket).with_context(given)?, given());
    socket.set_nonblocking(true).with_context(given)?;
    if configured.port() != 0 && configured != address {
        tracing::info!(%configured, %address, "{flag} has no effect: the socket was given");
    }
    Ok(socket)
}
