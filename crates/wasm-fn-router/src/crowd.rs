//! Whether one sticky key has most of a stage's requests: as behind a proxy that the node takes for the client.

use std::sync::Mutex;

/// Samples that one verdict is about.
const WINDOW: u32 = 125;

/// The share of the samples above which a key has too many, per cent.
const MOST_PERCENT: u32 = 80;

/// A count of the samples of sticky keys, in constant space.
///
/// The majority vote of Boyer and Moore (MJRTY, 1981): of all keys only the candidate is remembered, which loses a vote
/// to each sample of another key and is replaced at none. A key that has more than half of the samples ends as the
/// candidate. The candidate's own samples are counted beside, from when it became that: its share is never told too high.
#[derive(Debug, Default)]
pub(crate) struct Crowd(Mutex<Vote>);

#[derive(Debug, Default)]
struct Vote {
    candidate: u64,
    votes: u32,
    /// Samples of the candidate since it became that.
    hits: u32,
    samples: u32,
}

impl Crowd {
    /// Counts a sample of `key`; gives its share of the samples, per cent, once in each window in which it had
    /// most of them.
    ///
    /// Never waits: where another thread counts just now, the sample is left out.
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
        // Told of the key that has most, so the window is open until that comes again.
        if most && !is_candidate {
            return None;
        }
        *self = Self::default();
        most.then_some(percent)
    }
}

#[cfg(test)]
mod tests;
