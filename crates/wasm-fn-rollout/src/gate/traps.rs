//! Traps that stable never showed.

use std::collections::{BTreeMap, BTreeSet};

use wasm_fn_core::Side;

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
    /// Traps of which stable has shown `known`; `overflowed` as in [`known_overflowed`](Self::known_overflowed).
    pub(crate) fn knowing(known: Vec<u64>, overflowed: bool) -> Self {
        let known_overflowed = overflowed || known.len() > KNOWN_MAX;
        let known = known.into_iter().take(KNOWN_MAX).collect();
        Self { known, known_overflowed, novel: BTreeMap::new() }
    }

    /// Fingerprints that stable has shown.
    pub(crate) fn known(&self) -> impl Iterator<Item = u64> {
        self.known.iter().copied()
    }

    /// Whether stable showed more than are kept.
    pub(crate) fn known_overflowed(&self) -> bool {
        self.known_overflowed
    }

    /// Hits of a novel trap.
    pub(crate) fn novel_hits(&self, fingerprint: u64) -> Option<usize> {
        self.novel.get(&fingerprint).map(Vec::len)
    }

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
