//! Which users have had which bad event, and since when.

use std::collections::BTreeMap;

use crate::Event;

/// Users with bad events. Each user counts once per event and run of a test, however often the event happens.
///
/// Requests of one user under sticky routing are not independent: a user for whom everything fails would
/// otherwise look like a broken canary. Whether a user is on the canary when an event first happens to them
/// is as random as their place on the split, which is what the test needs. Each run counts them again.
/// Otherwise a fault would go unnoticed if every user had met another one before.
///
/// Holds at most `users_max` users. When it is full, it keeps half of all users, chosen by their key alone
/// and so equally on both sides. Fewer events count, but those that do stay fair.
#[derive(Clone, Debug)]
pub struct UserSet {
    users_max: usize,
    // Invariant: every key is sampled at `halvings`; at most `users_max` of them. By event: one more than the
    // start number of the run in which it happened last; 0 for never.
    seen: BTreeMap<u64, [u16; Event::COUNT]>,
    halvings: u32,
}

/// When an event last happened to a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserSeen {
    /// Never.
    First,
    /// In the run with this start number.
    Since(u32),
    /// The user is not sampled: nothing counts.
    Unsampled,
}

impl UserSet {
    /// An empty set that holds at most `users_max` users, or 1 if that is 0.
    pub fn new(users_max: usize) -> Self {
        Self { users_max: users_max.max(1), seen: BTreeMap::new(), halvings: 0 }
    }

    /// Records that `event` happened to `user`, a 64-bit hash of the sticky key, while the newest run has
    /// start number `start`. Returns when it happened before.
    pub fn take(&mut self, user: u64, event: Event, start: u32) -> UserSeen {
        if !self.samples(user) {
            return UserSeen::Unsampled;
        }
        let now = u16::try_from(start.saturating_add(1)).unwrap_or(u16::MAX);
        if let Some(events) = self.seen.get_mut(&user) {
            let before = std::mem::replace(&mut events[event.index()], now);
            return before.checked_sub(1).map_or(UserSeen::First, |before| UserSeen::Since(before.into()));
        }
        while self.seen.len() >= self.users_max {
            if self.halvings == u64::BITS {
                return UserSeen::Unsampled;
            }
            self.halvings += 1;
            let halvings = self.halvings;
            self.seen.retain(|&user, _| sampled(user, halvings));
        }
        if !self.samples(user) {
            return UserSeen::Unsampled;
        }
        let mut events = [0; Event::COUNT];
        events[event.index()] = now;
        self.seen.insert(user, events);
        UserSeen::First
    }

    /// Number of users.
    pub fn len(&self) -> usize {
        self.seen.len()
    }

    /// Whether it is empty.
    pub fn is_empty(&self) -> bool {
        self.seen.is_empty()
    }

    fn samples(&self, user: u64) -> bool {
        sampled(user, self.halvings)
    }
}

/// Whether `user` is left after `halvings`.
///
/// The key is mixed first (the finaliser of SplitMix64), because routing may place users by its high bits.
pub(super) fn sampled(user: u64, halvings: u32) -> bool {
    let mut bits = user.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (bits ^ (bits >> 31)).leading_zeros() >= halvings
}

#[cfg(test)]
mod tests;
