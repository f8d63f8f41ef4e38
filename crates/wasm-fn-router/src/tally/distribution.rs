//! A histogram of times, for readers that have bounds of their own.

use std::time::Duration;

use histogram::Histogram;

use super::micros;

/// Times, counted by upper bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Distribution {
    /// How many times were above the bound before and at most this bound; the last number is of those above
    /// all bounds. A time within one bucket of the tally above a bound may count as at most that bound.
    pub counts: Vec<u64>,
    /// The sum of all times. It is computed from the middles of the buckets, so it is off by at most half a
    /// bucket: 1.6 % for latencies and 6.3 % for waits.
    pub sum: Duration,
}

impl Distribution {
    /// The times in `histogram`, in microseconds, by `bounds` in ascending order.
    pub(super) fn of(histogram: Option<&Histogram>, bounds: &[Duration]) -> Self {
        let bounds: Vec<u64> = bounds.iter().map(|&bound| micros(bound)).collect();
        let mut counts = vec![0; bounds.len() + 1];
        let (mut at, mut twice_the_sum) = (0, 0_u128);
        for bucket in histogram.into_iter().flatten().filter(|bucket| bucket.count() > 0) {
            while bounds.get(at).is_some_and(|&bound| bound < bucket.start()) {
                at += 1;
            }
            counts[at] += bucket.count();
            twice_the_sum +=
                u128::from(bucket.count()) * (u128::from(bucket.start()) + u128::from(bucket.end()));
        }
        let micros = u64::try_from(twice_the_sum / 2).unwrap_or(u64::MAX);
        Self { counts, sum: Duration::from_micros(micros) }
    }

    /// How many times there are.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}
