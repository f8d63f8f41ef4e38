//! Traps that stable never showed.

use std::collections::{BTreeMap, BTreeSet};

use super::Side;

/// Hits at which a novel trap fails the gate.
pub(crate) const HITS_MAX: usize = 3;

/// Fingerprints of stable that are kept.
const KNOWN_MAX: usize = 1024;

/// Fingerprints of the canary that are counted.
const NOVEL_MAX: usize = 256;

/// Fingerprints of both sides' traps.
///
/// A guest can make up fingerprints without end. When stable showed more than are kept nothing is known to
/// be novel any more; when the canary did, the rest is left to the test of traps.
#[derive(Clone, Debug, Default)]
pub(crate) struct Traps {
    known: BTreeSet<u64>,
    known_overflowed: bool,
    // Invariant: disjoint from `known`. Whom it hit, at most `HITS_MAX` times; `None` is a request of nobody.
    novel: BTreeMap<u64, Vec<Option<u64>>>,
}

impl Traps {
    /// Takes a trap; its hits when it is novel and this hit was its last allowed.
    pub(crate) fn take(&mut self, side: Side, fingerprint: u64, user: Option<u64>) -> Option<usize> {
        match side {
            Side::Stable => {
                self.novel.remove(&fingerprint);
                if self.known.len() < KNOWN_MAX {
                    self.known.insert(fingerprint);
                } else {
                    self.known_overflowed |= !self.known.contains(&fingerprint);
                }
                None
            }
            Side::Canary => {
                let full = self.novel.len() >= NOVEL_MAX && !self.novel.contains_key(&fingerprint);
                if full || self.known_overflowed || self.known.contains(&fingerprint) {
                    return None;
                }
                let hits = self.novel.entry(fingerprint).or_default();
                let again = user.is_some() && hits.contains(&user);
                if !again && hits.len() < HITS_MAX {
                    hits.push(user);
                }
                (hits.len() >= HITS_MAX).then_some(hits.len())
            }
        }
    }
}

#[cfg(test)]
mod tests;
