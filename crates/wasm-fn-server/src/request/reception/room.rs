//! Memory for requests that become events while they are received.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Bytes for all clients together.
const ALL_BYTES_MAX: u64 = 64 << 20;

/// Bytes for one client. So it takes several that are slow to keep the others out.
const CLIENT_BYTES_MAX: u64 = 16 << 20;

/// What a request counts before its body: its head, its task, and its place here.
const REQUEST_BYTES: u64 = 16 << 10;

/// Bounds what is held of requests that become events, for all clients together and for each.
///
/// What counts is what has arrived, not what was announced: a client that is slow holds what it has sent. A
/// client is an IPv4 address or an IPv6 network of 64 bits.
#[derive(Debug, Default)]
pub(crate) struct ReceptionRoom(Mutex<Held>);

#[derive(Debug, Default)]
struct Held {
    bytes: u64,
    // Invariant: no client has 0, and all together have `bytes`.
    clients: HashMap<IpAddr, u64>,
}

/// The part of the room that a request has. It is free again when this is dropped.
#[derive(Debug)]
pub(super) struct Part {
    room: Arc<ReceptionRoom>,
    client: IpAddr,
    bytes: u64,
}

/// There is no room for more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full;

impl ReceptionRoom {
    fn lock(&self) -> MutexGuard<'_, Held> {
        // Nothing panics while holding the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Room for a request of the client at `address`, and none for its body yet.
    ///
    /// # Errors
    /// There is none.
    pub(super) fn enter(self: &Arc<Self>, address: IpAddr) -> Result<Part, Full> {
        let mut part = Part { room: Arc::clone(self), client: network(address), bytes: 0 };
        part.grow(REQUEST_BYTES)?;
        Ok(part)
    }
}

impl Part {
    /// Room for `bytes` more.
    ///
    /// # Errors
    /// There is none. The part stays as it is.
    pub(super) fn grow(&mut self, bytes: u64) -> Result<(), Full> {
        let mut held = self.room.lock();
        let of_client = held.clients.get(&self.client).copied().unwrap_or(0).saturating_add(bytes);
        let of_all = held.bytes.saturating_add(bytes);
        if of_client > CLIENT_BYTES_MAX || of_all > ALL_BYTES_MAX {
            return Err(Full);
        }
        held.bytes = of_all;
        held.clients.insert(self.client, of_client);
        self.bytes += bytes;
        Ok(())
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        let mut held = self.room.lock();
        held.bytes -= self.bytes;
        if let Some(of_client) = held.clients.get_mut(&self.client) {
            *of_client -= self.bytes;
            if *of_client == 0 {
                held.clients.remove(&self.client);
            }
        }
    }
}

/// Whose address it is: whoever has one of IPv6 has its network of 64 bits (RFC 6177, section 2).
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
        address => address,
    }
}

#[cfg(test)]
mod tests;
