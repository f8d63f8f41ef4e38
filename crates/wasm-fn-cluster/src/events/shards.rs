//! Which shard a trigger is in. Pure.

use std::collections::BTreeSet;

/// How many shards there are. Each is a lease of its own.
pub(super) const SHARDS: u16 = 64;

/// What the names of their leases begin with.
const LEASE: &str = "events/";

/// The shard of a trigger: the same on all nodes, in all releases (FNV-1a).
pub(super) fn shard_of(trigger: &str) -> u16 {
    let hash = trigger.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    // The high bits are mixed best.
    u16::try_from((hash >> 32) % u64::from(SHARDS)).unwrap_or(0)
}

/// The name of a shard's lease.
pub(super) fn lease_of(shard: u16) -> String {
    format!("{LEASE}{shard}")
}

/// The shard that a lease is of, if it is of one.
pub(super) fn shard_of_lease(lease: &str) -> Option<u16> {
    lease.strip_prefix(LEASE)?.parse().ok().filter(|shard| *shard < SHARDS)
}

/// The leases of all shards.
pub(super) fn leases() -> BTreeSet<String> {
    (0..SHARDS).map(lease_of).collect()
}

#[cfg(test)]
mod tests;
