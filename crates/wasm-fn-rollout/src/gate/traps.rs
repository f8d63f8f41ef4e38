//! Traps that stable never had.

use std::collections::{BTreeMap, BTreeSet};

/// Minimum number of hits for a trap to fail the gate.
pub(crate) const HITS_MIN: u64 = 3;

/// Maximum number of stable's fingerprints that are kept.
const KNOWN_MAX: usize = 1024;

/// Maximum number of the canary's fingerprints that are counted.
const NOVEL_MAX: usize = 256;

/// Maximum number of users per fingerprint that are told apart: more hits than any share below 96 % needs.
const USERS_MAX: usize = 512;

/// How a trap's request came to the canary. It determines how likely a trap that both versions have is to hit
/// only the canary.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Chance {
    /// By its share of the requests, above 0 and below 1: each hit is the canary's with this probability.
    Share(f64),
    /// As one of this many requests that began on the canary, while stable had this many without such a trap.
    Past { canary: u64, stable: u64 },
}

/// Fingerprints of both sides' traps.
///
/// A trap that both versions have, at whatever rate, hits the canary alone so many times with a probability
/// that follows from its share. The novel fingerprints share the tests' part of alpha, the first having one
/// half, the next one sixth, one twelfth, and so on.
///
/// A guest can produce any number of fingerprints. If stable had more than are kept, no trap counts as novel
/// any more. If the canary had more than are counted, the rest is left to the test of the trap rate.
#[derive(Clone, Debug, Default)]
pub(crate) struct Traps {
    known: BTreeSet<u64>,
    known_overflowed: bool,
    // Invariant: disjoint from `known`.
    novel: BTreeMap<u64, Novel>,
    // Number of fingerprints that were novel so far.
    seen: u32,
}

/// A trap that stable never had.
#[derive(Clone, Debug, Default)]
struct Novel {
    /// Its number among the novel traps, from 1.
    number: u32,
    /// Number of independent hits.
    hits: u64,
    /// Those of them that came by the canary's share, as the sum of `-ln(share)`.
    by_share: f64,
    /// Number of hits that are compared with the past.
    by_past: u64,
    /// The users that it hit.
    users: BTreeSet<u64>,
}

impl Traps {
    /// Traps of which stable has shown `known`; `overflowed` as in
    /// [`known_overflowed`](Self::known_overflowed).
    pub(crate) fn knowing(known: Vec<u64>, overflowed: bool) -> Self {
        let known_overflowed = overflowed || known.len() > KNOWN_MAX;
        let known = known.into_iter().take(KNOWN_MAX).collect();
        Self { known, known_overflowed, ..Self::default() }
    }

    /// Fingerprints that stable has had.
    pub(crate) fn known(&self) -> impl Iterator<Item = u64> {
        self.known.iter().copied()
    }

    /// Whether stable has had `fingerprint`.
    pub(crate) fn knows(&self, fingerprint: u64) -> bool {
        self.known.contains(&fingerprint)
    }

    /// Whether stable had more than are kept.
    pub(crate) fn known_overflowed(&self) -> bool {
        self.known_overflowed
    }

    /// Independent hits of a novel trap.
    pub(crate) fn novel_hits(&self, fingerprint: u64) -> Option<u64> {
        self.novel.get(&fingerprint).map(|novel| novel.hits)
    }

    /// Records a trap of stable.
    pub(crate) fn know(&mut self, fingerprint: u64) {
        self.novel.remove(&fingerprint);
        if self.known.len() < KNOWN_MAX {
            self.known.insert(fingerprint);
        } else {
            self.known_overflowed |= !self.known.contains(&fingerprint);
        }
    }

    /// Records a trap of the canary. Returns its hits if it is novel and if a trap that both versions have
    /// would hit the canary alone that often with a probability of at most `alpha`, over all fingerprints.
    pub(crate) fn take(
        &mut self,
        fingerprint: u64,
        user: Option<u64>,
        chance: Chance,
        alpha: f64,
    ) -> Option<u64> {
        let full = self.novel.len() >= NOVEL_MAX && !self.novel.contains_key(&fingerprint);
        if full || self.known_overflowed || self.known.contains(&fingerprint) {
            return None;
        }
        let novel = self.novel.entry(fingerprint).or_insert_with(|| {
            self.seen = self.seen.saturating_add(1);
            Novel { number: self.seen, ..Novel::default() }
        });
        if let Some(user) = user
            && (novel.users.len() >= USERS_MAX || !novel.users.insert(user))
        {
            return None;
        }
        novel.hits += 1;
        // Each way in which hits come has half of its part.
        let number = f64::from(novel.number);
        let needed = -alpha.ln() + (2.0 * number * (number + 1.0)).ln();
        let (shown, enough) = match chance {
            Chance::Share(share) => {
                novel.by_share -= share.ln();
                (novel.by_share, needed)
            }
            Chance::Past { canary, stable } => {
                novel.by_past += 1;
                let hits = novel.by_past as f64;
                // Each number of hits is a separate test: 1/2, 1/6, 1/12, … of the rest.
                let looks = ((hits - 1.0).max(1.0) * (hits - 2.0).max(1.0)).ln();
                let canary = canary.max(1) as f64;
                (hits * ((stable as f64 + canary) / canary).ln(), needed + looks)
            }
        };
        (novel.hits >= HITS_MIN && shown >= enough).then_some(novel.hits)
    }
}

#[cfg(test)]
mod tests;
