//! Randomness that a seed determines, on every machine and with every version of every crate.

use std::ops::RangeInclusive;

/// A stream of draws: SplitMix64 (Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators",
/// OOPSLA 2014).
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    /// The stream of `seed`.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// 64 random bits.
    pub(crate) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// A number within `range`.
    pub(crate) fn within(&mut self, range: RangeInclusive<u64>) -> u64 {
        let width = u128::from(range.end() - range.start()) + 1;
        let offset = (u128::from(self.bits()) * width) >> 64;
        range.start() + u64::try_from(offset).expect("a fraction of the width is below it")
    }

    /// A number from 0 to 1, 1 excluded.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// True with a probability of `p`.
    pub(crate) fn chance(&mut self, p: f64) -> bool {
        self.unit() < p
    }

    /// One of `choices`, which are not empty.
    pub(crate) fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        let last = choices.len() as u64 - 1;
        choices[usize::try_from(self.within(0..=last)).expect("an index fits")]
    }

    /// An exponentially distributed time with this mean, milliseconds, at least 1.
    pub(crate) fn wait_ms(&mut self, mean_ms: f64) -> u64 {
        let wait = -mean_ms * (1.0 - self.unit()).ln();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive and bounded")]
        let wait = wait.clamp(1.0, 1e9) as u64;
        wait
    }
}
