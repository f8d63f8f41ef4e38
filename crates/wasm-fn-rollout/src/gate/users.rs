//! Which users have had which bad event already.

use std::collections::BTreeMap;

use crate::Event;

/// Users with bad events, so that each counts once per event, however often it happens to them.
///
/// Requests of one user under sticky routing are not independent: a user for whom everything fails would
/// otherwise look like a broken canary. Whether a user is on the canary when an event first happens to
/// them is as random as their place on the split, which is what the test needs.
///
/// Holds at most `users_max` users. When it is full it goes on with half of all users, chosen by their key
/// alone and so alike on both sides: fewer events count, and those that do stay fair.
#[derive(Clone, Debug)]
pub struct UserSet {
    users_max: usize,
    // Invariant: every key is sampled at `halvings`; at most `users_max` of them.
    seen: BTreeMap<u64, u16>,
    halvings: u32,
}

// One bit for each event.
const _: () = assert!(Event::COUNT <= 16);

impl UserSet {
    /// Nobody yet, and never more than `users_max`, or 1 if that is 0.
    pub fn new(users_max: usize) -> Self {
        Self { users_max: users_max.max(1), seen: BTreeMap::new(), halvings: 0 }
    }

    /// Whether `event` counts for the user with the key `user`: only the first time, and only for users
    /// who are sampled. `user` is a 64-bit hash of the sticky key.
    pub fn counts(&mut self, user: u64, event: Event) -> bool {
        if !self.samples(user) {
            return false;
        }
        let bit = 1 << event.index();
        if let Some(events) = self.seen.get_mut(&user) {
            let first = *events & bit == 0;
            *events |= bit;
            return first;
        }
        while self.seen.len() >= self.users_max {
            if self.halvings == u64::BITS {
                return false;
            }
            self.halvings += 1;
            let halvings = self.halvings;
            self.seen.retain(|&user, _| sampled(user, halvings));
        }
        if !self.samples(user) {
            return false;
        }
        self.seen.insert(user, bit);
        true
    }

    /// How many users it holds.
    pub fn len(&self) -> usize {
        self.seen.len()
    }

    /// Whether it holds nobody.
    pub fn is_empty(&self) -> bool {
        self.seen.is_empty()
    }

    fn samples(&self, user: u64) -> bool {
        sampled(user, self.halvings)
    }
}

/// Whether `user` is left after `halvings`.
///
/// The key is mixed first (the finaliser of SplitMix64): its high bits may be what routing places users by.
fn sampled(user: u64, halvings: u32) -> bool {
    let mut bits = user.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (bits ^ (bits >> 31)).leading_zeros() >= halvings
}

#[cfg(test)]
mod tests;
