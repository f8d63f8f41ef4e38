//! What the node itself does not connect to when it fetches what somebody else has named.

use std::net::{IpAddr, SocketAddr};

use super::{
    address::{Class, Listener, reached},
    listeners::{Listeners, is_local},
};

/// The node does not connect to an address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{address} is {what}, which nothing is fetched from")]
pub struct NotFetchable {
    address: IpAddr,
    what: String,
}

/// Checks that the node may fetch something from `address`, of which somebody has named the host. Unlike
/// guests it may reach private addresses, since registries are there.
///
/// # Errors
/// It is link-local, a cloud's metadata service, no address of a server, or where the node itself listens.
pub fn check_fetchable(address: SocketAddr, listeners: &Listeners) -> Result<(), NotFetchable> {
    let error = |what: String| Err(NotFetchable { address: address.ip(), what });
    let class = Class::of(address.ip());
    match class {
        Class::LinkLocal | Class::Metadata | Class::Unspecified | Class::Multicast | Class::Broadcast => {
            return error(class.to_string());
        }
        Class::Public | Class::Loopback | Class::Private | Class::Reserved => {}
    }
    let mut socket = address;
    let ip = reached(address.ip());
    if ip != address.ip() {
        socket.set_ip(ip);
    }
    match listeners.at(socket, is_local) {
        Some(Listener::Admin) => error("the admin API of this node".to_owned()),
        Some(Listener::Data) => error("where this node serves functions".to_owned()),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
