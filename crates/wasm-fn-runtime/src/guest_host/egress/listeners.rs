//! The node's own listening sockets, which outgoing requests must not reach by accident.

use std::net::{SocketAddr, UdpSocket};

use super::address::Listener;

/// The addresses at which a node listens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listeners {
    /// Those of the data plane.
    pub data: Vec<SocketAddr>,
    /// Those of the admin API.
    pub admin: Vec<SocketAddr>,
}

impl Listeners {
    /// What of the node listens at `address`. `is_local` tells whether an address belongs to this machine.
    /// It is asked only about the port of a socket that listens at every address.
    pub(super) fn at(&self, address: SocketAddr, is_local: impl Fn(SocketAddr) -> bool) -> Option<Listener> {
        let ip = address.ip().to_canonical();
        // An IPv6 address that stays one keeps its scope.
        let socket = if ip == address.ip() { address } else { SocketAddr::new(ip, address.port()) };
        let listens = |listener: &SocketAddr| {
            let own = listener.ip().to_canonical();
            listener.port() == address.port()
                && (own == ip || ip.is_unspecified() || own.is_unspecified() && is_local(socket))
        };
        if self.admin.iter().any(listens) {
            Some(Listener::Admin)
        } else if self.data.iter().any(listens) {
            Some(Listener::Data)
        } else {
            None
        }
    }
}

/// Whether `address` belongs to this machine. The system lets a socket have only such an address; no packet
/// is sent.
pub(super) fn is_local(mut address: SocketAddr) -> bool {
    address.set_port(0);
    address.ip().is_loopback() || UdpSocket::bind(address).is_ok()
}

#[cfg(test)]
mod tests;
