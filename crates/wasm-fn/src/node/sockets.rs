//! The listening sockets of a node.

use std::net::{SocketAddr, TcpListener};

use anyhow::Context as _;
use tokio::net::TcpSocket;

use super::{activation::Activated, options::NodeOptions};

/// Connections that may wait to be accepted; the system caps this at net.core.somaxconn. Beyond it, clients
/// retry after one second and again after two, so a burst must fit.
const BACKLOG: u32 = 4096;

/// Non-blocking sockets that listen. As long as a handle on a socket is open in any process, no client is
/// refused.
#[derive(Debug)]
pub(super) struct Sockets {
    /// The socket that serves functions.
    pub(super) http: TcpListener,
    /// The socket that serves the admin API.
    pub(super) admin: TcpListener,
    /// The socket that redirects clients of plain HTTP, if there is one.
    pub(super) redirect: Option<TcpListener>,
}

impl Sockets {
    /// Binds all sockets.
    pub(super) fn bind(options: &NodeOptions) -> anyhow::Result<Self> {
        Self::complete(Activated::default(), options)
    }

    /// Takes the sockets that a service manager passed, and binds the rest.
    pub(super) fn complete(given: Activated, options: &NodeOptions) -> anyhow::Result<Self> {
        let http = match given.http {
            Some(http) => listening(http, options.listen, "--listen")?,
            None => bind(options.listen, "--listen")?,
        };
        let admin = match given.admin {
            Some(admin) => listening(admin, options.admin, "--admin")?,
            None => bind(options.admin, "--admin")?,
        };
        let redirect = redirect(given.redirect, options)?;
        Self { http, admin, redirect }.checked(options)
    }

    /// Takes the sockets that another process handed over.
    pub(super) fn inherited(handed: Self, options: &NodeOptions) -> anyhow::Result<Self> {
        let Self { http, admin, redirect: given } = handed;
        Self {
            http: listening(http, options.listen, "--listen")?,
            admin: listening(admin, options.admin, "--admin")?,
            redirect: redirect(given, options)?,
        }
        .checked(options)
    }

    /// Refuses an admin API whose token others may read along.
    fn checked(self, options: &NodeOptions) -> anyhow::Result<Self> {
        let admin = self.admin.local_addr()?;
        anyhow::ensure!(
            options.admin_tls.is_some() || options.insecure_admin || !is_exposed(admin),
            "other machines may reach the admin API at {admin} over plain HTTP, expected a loopback address or \
             TLS: add --admin-tls-cert and --admin-tls-key, or accept that others may read its token with \
             --insecure-admin"
        );
        Ok(self)
    }
}

/// The socket that redirects, if one is configured: the one that was passed, or a new one.
fn redirect(given: Option<TcpListener>, options: &NodeOptions) -> anyhow::Result<Option<TcpListener>> {
    const FLAG: &str = "--redirect-listen";
    let Some(address) = options.redirect_listen else { return Ok(None) };
    let socket = match given {
        Some(given) => listening(given, address, FLAG)?,
        None => bind(address, FLAG)?,
    };
    Ok(Some(socket))
}

/// Creates another handle on `socket`, for the current tokio runtime.
pub(super) fn share(socket: &TcpListener) -> anyhow::Result<tokio::net::TcpListener> {
    let shared = socket.try_clone().and_then(tokio::net::TcpListener::from_std);
    shared.context("a listening socket cannot be shared")
}

fn bind(address: SocketAddr, flag: &str) -> anyhow::Result<TcpListener> {
    let bound = || -> std::io::Result<TcpListener> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        // As in tokio and the standard library, so that a node can restart at once.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)?.into_std()
    };
    bound().with_context(|| format!("{flag} {address} cannot be bound"))
}

/// Checks `socket`, which was opened elsewhere, and makes it non-blocking.
fn listening(socket: TcpListener, configured: SocketAddr, flag: &str) -> anyhow::Result<TcpListener> {
    let given = || format!("the socket that was passed for {flag} is not a listening TCP socket");
    let address = socket.local_addr().with_context(given)?;
    anyhow::ensure!(rustix::net::sockopt::socket_acceptconn(&socket).with_context(given)?, given());
    socket.set_nonblocking(true).with_context(given)?;
    if configured.port() != 0 && configured != address {
        tracing::info!(%configured, %address, "{flag} has no effect: the socket was passed to this process");
    }
    Ok(socket)
}

/// Whether other machines may reach `address`.
pub(crate) fn is_exposed(address: SocketAddr) -> bool {
    !address.ip().to_canonical().is_loopback()
}
