//! How memories are reset, and which resets are looked at again.
//!
//! It owns the reset that is in use, the counts of audits, and what follows from a fault. It knows nothing of
//! addresses.

use std::{
    cell::Cell,
    fmt,
    hash::{BuildHasher as _, Hasher as _, RandomState},
    num::NonZero,
    str::FromStr,
    sync::atomic::{
        AtomicBool, AtomicU64,
        Ordering::{Relaxed, SeqCst},
    },
};

/// How the memory of a guest is reset for the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MemoryReset {
    /// All pages are given back to the kernel.
    Discard,
    /// The kernel is asked which pages are the process's own (`PAGEMAP_SCAN`, Linux 6.7), and these are
    /// restored in place.
    Scan,
    /// As [`Scan`](Self::Scan), but the kernel is asked only if a thread that ran the guest has faulted.
    Counted,
}

impl fmt::Display for MemoryReset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Discard => "discard",
            Self::Scan => "scan",
            Self::Counted => "counted",
        })
    }
}

impl FromStr for MemoryReset {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all = [Self::Discard, Self::Scan, Self::Counted];
        let found = all.into_iter().find(|reset| reset.to_string() == text);
        found.ok_or_else(|| format!("`{text}` is no way to reset memory, expected discard, scan or counted"))
    }
}

/// What audits have found so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Isolation {
    /// How memories are reset now.
    pub reset: MemoryReset,
    /// Resets whose memory was compared with its image.
    pub compared: u64,
    /// Resets that trusted the count of faults, and whose memory was scanned all the same.
    pub scanned: u64,
    /// Memories that were not as their image. After the first, every memory is discarded.
    pub faults: u64,
}

/// Decides which resets are audited, and remembers what that has shown.
#[derive(Debug)]
pub(crate) struct Audit {
    reset: MemoryReset,
    /// One reset in this many is audited, on average.
    one_in: Option<NonZero<u32>>,
    has_failed: AtomicBool,
    compared: AtomicU64,
    scanned: AtomicU64,
    faults: AtomicU64,
}

thread_local! {
    /// Resets of this thread until one is compared, and until one that is vouched for is scanned.
    static UNTIL_COMPARED: Cell<u64> = const { Cell::new(u64::MAX) };
    static UNTIL_SCANNED: Cell<u64> = const { Cell::new(u64::MAX) };
    /// State of this thread's chance; zero before it is seeded.
    static CHANCE: Cell<u64> = const { Cell::new(0) };
}

impl Audit {
    /// Audits one in `one_in` resets; none if that is 0.
    pub(crate) fn new(reset: MemoryReset, one_in: u32) -> Self {
        Self {
            reset,
            one_in: NonZero::new(one_in),
            has_failed: AtomicBool::new(false),
            compared: AtomicU64::new(0),
            scanned: AtomicU64::new(0),
            faults: AtomicU64::new(0),
        }
    }

    /// How memories are reset now.
    pub(crate) fn reset(&self) -> MemoryReset {
        if self.has_failed() { MemoryReset::Discard } else { self.reset }
    }

    /// Whether a memory was found that was not clean.
    pub(crate) fn has_failed(&self) -> bool {
        self.has_failed.load(SeqCst)
    }

    /// Whether to compare the memory of this reset with its image.
    pub(crate) fn compares(&self) -> bool {
        let due = is_due(self.one_in, &UNTIL_COMPARED);
        if due {
            self.compared.fetch_add(1, Relaxed);
        }
        due
    }

    /// Whether to scan the memory of this reset, although the count of faults vouches for it.
    pub(crate) fn scans(&self) -> bool {
        let due = is_due(self.one_in, &UNTIL_SCANNED);
        if due {
            self.scanned.fetch_add(1, Relaxed);
        }
        due
    }

    /// Notes that a memory was not clean. From now on every memory is discarded.
    pub(crate) fn fail(&self) {
        self.has_failed.store(true, SeqCst);
        self.faults.fetch_add(1, Relaxed);
    }

    /// What was found so far.
    pub(crate) fn report(&self) -> Isolation {
        Isolation {
            reset: self.reset(),
            compared: self.compared.load(Relaxed),
            scanned: self.scanned.load(Relaxed),
            faults: self.faults.load(Relaxed),
        }
    }
}

/// Counts `until` down. Gaps are random, up to twice `one_in`: guests that come in turns must not be audited
/// by the same turns.
fn is_due(one_in: Option<NonZero<u32>>, until: &'static std::thread::LocalKey<Cell<u64>>) -> bool {
    let Some(one_in) = one_in else { return false };
    let gap_max = 2 * u64::from(one_in.get()) - 1;
    let gap = || 1 + chance() % gap_max;
    let left = match until.get() {
        u64::MAX => gap(),
        // Audits of another node may be rarer.
        left => left.min(gap_max),
    };
    if left > 1 {
        until.set(left - 1);
        return false;
    }
    until.set(gap());
    true
}

/// The next number of this thread's chance (Marsaglia's xorshift). A guest cannot know it.
fn chance() -> u64 {
    let mut state = match CHANCE.get() {
        0 => RandomState::new().build_hasher().finish() | 1,
        state => state,
    };
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    CHANCE.set(state);
    state
}

#[cfg(test)]
#[path = "reset_audit/tests.rs"]
mod tests;
