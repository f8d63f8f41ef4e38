//! What became of the requests that a canary failed while the shield was there for them.

use std::sync::{
    OnceLock,
    atomic::{AtomicU64, Ordering::Relaxed},
};

/// How the shield met the failure of a canary's run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Shielding {
    /// The request ran a second time, and that gave the answer, good or bad.
    Again,
    /// Not all that the canary had read of the request's body was kept.
    BodyTooLarge,
    /// The canary had an effect that cannot be undone.
    HadEffect,
    /// The head of the canary's response was sent.
    ResponseBegun,
    /// The request's time was over before a second run answered.
    NoTime,
    /// The client broke off its request, or left before a second run answered.
    ClientGone,
}

impl Shielding {
    /// All of them, in the order of [`index`](Self::index).
    pub const ALL: [Self; 6] = [
        Self::Again,
        Self::BodyTooLarge,
        Self::HadEffect,
        Self::ResponseBegun,
        Self::NoTime,
        Self::ClientGone,
    ];

    /// Its place in [`ALL`](Self::ALL).
    pub fn index(self) -> usize {
        self as usize
    }

    /// The word for it in metrics and the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Again => "again",
            Self::BodyTooLarge => "body-too-large",
            Self::HadEffect => "had-effect",
            Self::ResponseBegun => "response-begun",
            Self::NoTime => "no-time",
            Self::ClientGone => "client-gone",
        }
    }
}

/// Lock-free counters, which take memory from the first failure on: most versions have none.
#[derive(Debug, Default)]
pub(crate) struct ShieldCounts(OnceLock<Box<[AtomicU64; Shielding::ALL.len()]>>);

impl ShieldCounts {
    pub(crate) fn count(&self, shielding: Shielding) {
        self.0.get_or_init(Box::default)[shielding.index()].fetch_add(1, Relaxed);
    }

    pub(crate) fn read(&self) -> [u64; Shielding::ALL.len()] {
        let counts = self.0.get();
        counts.map_or_else(Default::default, |counts| counts.each_ref().map(|count| count.load(Relaxed)))
    }
}
