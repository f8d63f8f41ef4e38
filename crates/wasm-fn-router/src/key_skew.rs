//! Detects that one sticky key has most of a stage's requests, for example behind a proxy that the node takes
//! for the client.

use std::sync::Mutex;

/// Samples per verdict.
const WINDOW: u32 = 125;

/// A key with a larger share of the samples has too many, per cent.
const MOST_PERCENT: u32 = 80;

/// Counts samples of sticky keys in constant space.
///
/// This is the majority vote of Boyer and Moore (MJRTY, 1981). It remembers only one candidate, which loses a
/// vote for each sample of another key and is replaced when it has none. A key with more than half of the
/// samples ends as the candidate. The candidate's samples are counted from the moment it became that, so its
/// share is never reported too high.
#[derive(Debug, Default)]
pub(crate) struct KeySkew(Mutex<Vote>);

#[derive(Debug, Default)]
struct Vote {
    candidate: u64,
    votes: u32,
    /// Samples of the candidate since it became the candidate.
    hits: u32,
    samples: u32,
}

impl KeySkew {
    /// Counts a sample of `key`. Returns its share of the samples, per cent, once in each window in which it
    /// had too many.
    ///
    /// Never waits: while another thread counts, the sample is skipped.
    pub(crate) fn sample(&self, key: u64) -> Option<u32> {
        self.0.try_lock().ok()?.sample(key)
    }
}

impl Vote {
    fn sample(&mut self, key: u64) -> Option<u32> {
        if self.votes == 0 {
            (self.candidate, self.hits) = (key, 0);
        }
        let is_candidate = self.candidate == key;
        if is_candidate {
            self.votes += 1;
            self.hits += 1;
        } else {
            self.votes -= 1;
        }
        self.samples += 1;
        if self.samples < WINDOW {
            return None;
        }
        let percent = self.hits * 100 / self.samples;
        let most = percent > MOST_PERCENT;
        // The report is about the key that has most, so the window stays open until that key comes again.
        if most && !is_candidate {
            return None;
        }
        *self = Self::default();
        most.then_some(percent)
    }
}

#[cfg(test)]
mod tests;
