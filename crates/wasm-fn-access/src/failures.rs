//! How often somebody may fail to prove who they are.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
};

/// Failures that one address may have at once.
const BURST: f64 = 10.0;

/// Failures that an address gets back a second.
const PER_SECOND: f64 = 1.0;

/// How many addresses are told apart. All others share what is left for one.
const ADDRESSES_MAX: usize = 4096;

/// A bucket of failures for each IPv4 address or IPv6 network of 64 bits: 10 at once, then one a second. An
/// address that has used them up is refused unheard.
#[derive(Debug, Default)]
pub struct FailureLimit {
    buckets: HashMap<IpAddr, Bucket>,
    /// For addresses that find no place among the buckets.
    shared: Bucket,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    left: f64,
    at_ms: u64,
}

impl Default for Bucket {
    fn default() -> Self {
        Self { left: BURST, at_ms: 0 }
    }
}

impl Bucket {
    fn refilled(self, now_ms: u64) -> Self {
        // Exact enough: 2⁵³ ms are 285,000 years.
        #[expect(clippy::cast_precision_loss, reason = "milliseconds since a bucket was used are few")]
        let seconds = now_ms.saturating_sub(self.at_ms) as f64 / 1000.0;
        Self { left: (self.left + seconds * PER_SECOND).min(BURST), at_ms: self.at_ms.max(now_ms) }
    }

    /// Seconds until a failure is allowed; 0 if one is.
    fn wait_s(self) -> u64 {
        if self.left >= 1.0 {
            return 0;
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most 1 / PER_SECOND")]
        let wait = ((1.0 - self.left) / PER_SECOND).ceil() as u64;
        wait.max(1)
    }
}

/// What addresses that belong to one client have in common.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

impl FailureLimit {
    /// Whether `address` may try now.
    ///
    /// # Errors
    /// In how many seconds it may try again, at least 1.
    pub fn check(&self, address: IpAddr, now_ms: u64) -> Result<(), u64> {
        let fresh = Bucket { left: BURST, at_ms: now_ms };
        let otherwise = if self.buckets.len() < ADDRESSES_MAX { fresh } else { self.shared };
        let bucket = self.buckets.get(&network(address)).copied().unwrap_or(otherwise);
        match bucket.refilled(now_ms).wait_s() {
            0 => Ok(()),
            wait_s => Err(wait_s),
        }
    }

    /// Notes that `address` has failed.
    pub fn failed(&mut self, address: IpAddr, now_ms: u64) {
        let network = network(address);
        if self.buckets.len() >= ADDRESSES_MAX && !self.buckets.contains_key(&network) {
            // Full buckets are as good as none.
            self.buckets.retain(|_, bucket| bucket.refilled(now_ms).left < BURST);
        }
        let full = self.buckets.len() >= ADDRESSES_MAX;
        let bucket = match self.buckets.get_mut(&network) {
            Some(bucket) => bucket,
            None if full => &mut self.shared,
            None => self.buckets.entry(network).or_insert(Bucket { left: BURST, at_ms: now_ms }),
        };
        let refilled = bucket.refilled(now_ms);
        *bucket = Bucket { left: (refilled.left - 1.0).max(0.0), ..refilled };
    }
}

#[cfg(test)]
mod tests;
