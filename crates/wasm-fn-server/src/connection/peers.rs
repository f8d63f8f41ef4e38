//! Counts the open connections of each address, so that nobody can take those of everybody.
//!
//! It does not know what a connection is, nor which peers are exempt.

use std::{
    collections::{HashMap, hash_map::Entry},
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// How often the log says that an address has as many connections as it may have.
const WARNED_EVERY: Duration = Duration::from_secs(60);

/// The network by which IPv6 addresses are counted: one host usually has all addresses of a /64 (RFC 6177,
/// section 2).
const IPV6_NETWORK: u128 = !(u64::MAX as u128);

/// The connections of every address.
pub(crate) struct PeerConnections {
    max: usize,
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    // Invariant: no count is 0.
    open: HashMap<IpAddr, usize>,
    /// Connections refused since the log said so.
    refused: u64,
    warned: Option<Instant>,
}

/// A place among the connections of an address. Dropping it gives it back.
pub(crate) struct PeerPlace {
    peers: Arc<PeerConnections>,
    counted: IpAddr,
}

impl PeerConnections {
    /// Permits `max` connections of each address.
    pub(crate) fn new(max: usize) -> Self {
        Self { max, counts: Mutex::default() }
    }

    /// A place for a connection of `address`, accepted at `now`; `None` if the address has as many as it may.
    pub(crate) fn admit(self: &Arc<Self>, address: IpAddr, now: Instant) -> Option<PeerPlace> {
        let counted = counted_as(address);
        let mut counts = self.lock();
        let open = counts.open.get(&counted).copied().unwrap_or(0);
        if open < self.max {
            counts.open.insert(counted, open + 1);
            return Some(PeerPlace { peers: Arc::clone(self), counted });
        }
        counts.refused += 1;
        if counts.warned.is_none_or(|warned| now.saturating_duration_since(warned) >= WARNED_EVERY) {
            counts.warned = Some(now);
            let refused = std::mem::take(&mut counts.refused);
            tracing::warn!(
                %address, max = self.max, refused,
                "connections are closed: an address has as many as it may have"
            );
        }
        None
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for PeerPlace {
    fn drop(&mut self) {
        if let Entry::Occupied(mut open) = self.peers.lock().open.entry(self.counted) {
            *open.get_mut() -= 1;
            if *open.get() == 0 {
                open.remove();
            }
        }
    }
}

/// Under which address the connections of `address` are counted.
fn counted_as(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & IPV6_NETWORK)),
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests;
