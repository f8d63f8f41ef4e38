//! Counts how the shield handled failures of a canary.

use std::sync::{
    OnceLock,
    atomic::{AtomicU64, Ordering::Relaxed},
};

/// How the shield handled a failure of a canary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Shielding {
    /// The request ran a second time, and that run gave the response, good or bad.
    Again,
    /// The canary had read more of the request's body than was kept.
    BodyTooLarge,
    /// The canary had an effect that cannot be undone.
    HadEffect,
    /// The head of the canary's response was sent already.
    ResponseBegun,
    /// The request's time was up before a second run answered.
    NoTime,
    /// The client broke off its request, or left before a second run answered.
    ClientGone,
}

impl Shielding {
    /// All values, in the order of [`index`](Self::index).
    pub const ALL: [Self; 6] = [
        Self::Again,
        Self::BodyTooLarge,
        Self::HadEffect,
        Self::ResponseBegun,
        Self::NoTime,
        Self::ClientGone,
    ];

    /// Its position in [`ALL`](Self::ALL).
    pub fn index(self) -> usize {
        self as usize
    }

    /// Its name in metrics and the API.
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

/// Lock-free counters. They take memory only from the first failure on, since most versions have none.
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
