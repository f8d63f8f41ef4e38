//! Latencies by bucket, without the empty buckets: small enough to keep for thousands of versions.

use std::time::Duration;

use histogram::Histogram;

/// How many invocations had which latency, at one moment. Takes 8 bytes for each bucket that has any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LatencyCounts {
    // Invariant: ascending by bound; no count is 0.
    buckets: Box<[Bucket]>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Bucket {
    /// The upper bound, microseconds.
    end: u32,
    /// Modulo 2³². The difference to an earlier count is exact, unless four billion invocations lie between.
    count: u32,
}

impl LatencyCounts {
    pub(super) fn of(histogram: &Histogram) -> Self {
        let filled = histogram.iter().filter(|bucket| bucket.count() > 0);
        let buckets = filled.map(|bucket| Bucket {
            end: u32::try_from(bucket.end()).unwrap_or(u32::MAX),
            count: u32::try_from(bucket.count() & u64::from(u32::MAX)).unwrap_or(u32::MAX),
        });
        Self { buckets: buckets.collect() }
    }

    /// The difference to `earlier`, which was read from the same tally.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut before = earlier.buckets.iter().peekable();
        let new = self.buckets.iter().filter_map(|&Bucket { end, count }| {
            while before.next_if(|before| before.end < end).is_some() {}
            let before = before.next_if(|before| before.end == end).map_or(0, |before| before.count);
            let count = count.wrapping_sub(before);
            (count > 0).then_some(Bucket { end, count })
        });
        Self { buckets: new.collect() }
    }

    /// The latency at `quantile` (0 to 1), never too low; `None` if there was no invocation.
    pub fn quantile(&self, quantile: f64) -> Option<Duration> {
        let all: u64 = self.buckets.iter().map(|bucket| u64::from(bucket.count)).sum();
        let wanted = quantile.clamp(0.0, 1.0) * all as f64;
        let mut passed = 0;
        let found = self.buckets.iter().find(|bucket| {
            passed += u64::from(bucket.count);
            passed as f64 >= wanted
        });
        found.map(|bucket| Duration::from_micros(u64::from(bucket.end)))
    }
}
