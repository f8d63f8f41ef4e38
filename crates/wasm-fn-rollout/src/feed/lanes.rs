//! The counters of an epoch, which requests add to without a lock.

use std::{
    sync::atomic::{
        AtomicU32, AtomicU64,
        Ordering::{Relaxed, SeqCst},
    },
    time::Duration,
};

use wasm_fn_core::Outcome;

use super::{Ending, Judged, VoiceBits};
use crate::{Arm, Class, SideLimits, Thresholds};

/// Bits of the count of ended requests; above them is the epoch's number, as far as it fits.
const COUNT_BITS: u32 = 40;

/// No limit.
const NONE: u64 = u64::MAX;

/// An arm, and whether its responses are clustered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    Canary,
    Clustered,
    Stable,
    Baseline,
    Cohort,
}

/// The counters of one epoch.
#[derive(Default)]
#[repr(align(64))]
pub(super) struct Slot {
    // Requests that have ended, below the number of the epoch. A request that ends after its epoch was taken
    // must not count in the next epoch in this place.
    ended: AtomicU64,
    begun: [AtomicU64; Lane::ALL.len()],
    // The canary's requests that a user's key placed.
    sticky: AtomicU64,
    stretch: AtomicU32,
    limits: [AtomicU64; 5],
    neutral: [AtomicU64; Lane::ALL.len()],
    // What sampled requests of the canary and of the baseline are held to, ...
    median: [AtomicU64; 2],
    // ... how many there are, ...
    sampled: [AtomicU64; 2],
    // ... and of them those under way that drew their version.
    under_way: [AtomicU64; 2],
}

/// The number of users, estimated by the bits that their keys set (linear counting: Whang, Vander-Zanden,
/// Taylor, 1990).
#[derive(Default)]
pub(super) struct Voices([AtomicU64; 4]);

impl Lane {
    pub(super) const ALL: [Self; 5] =
        [Self::Canary, Self::Clustered, Self::Stable, Self::Baseline, Self::Cohort];

    pub(super) fn of(arm: Arm, clustered: bool) -> Self {
        match arm {
            Arm::Canary if clustered => Self::Clustered,
            Arm::Canary => Self::Canary,
            Arm::Stable => Self::Stable,
            Arm::Baseline => Self::Baseline,
            Arm::Cohort => Self::Cohort,
        }
    }

    /// The lane with this place in [`ALL`](Self::ALL).
    pub(super) fn of_number(number: u64) -> Option<Self> {
        match number {
            0 => Some(Self::Canary),
            1 => Some(Self::Clustered),
            2 => Some(Self::Stable),
            3 => Some(Self::Baseline),
            4 => Some(Self::Cohort),
            _ => None,
        }
    }

    /// Where requests held to the median are counted. `None` if there are none.
    fn sampled_side(self) -> Option<usize> {
        match self {
            Self::Canary | Self::Clustered => Some(0),
            Self::Baseline => Some(1),
            Self::Stable | Self::Cohort => None,
        }
    }

    pub(super) fn arm(self) -> (Arm, bool) {
        match self {
            Self::Canary => (Arm::Canary, false),
            Self::Clustered => (Arm::Canary, true),
            Self::Stable => (Arm::Stable, false),
            Self::Baseline => (Arm::Baseline, false),
            Self::Cohort => (Arm::Cohort, false),
        }
    }
}

impl Slot {
    /// Empties the slot for epoch `epoch`. No request begins in it before that epoch is the current one.
    pub(super) fn open(&self, epoch: u32, stretch: u32, thresholds: &Thresholds) {
        let counters = self.begun.iter().chain(&self.neutral).chain(&self.sampled).chain(&self.under_way);
        counters.chain([&self.sticky]).for_each(|counter| counter.store(0, Relaxed));
        self.stretch.store(stretch, Relaxed);
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(NONE);
        let of = |limits: Option<SideLimits<u64>>| {
            limits.map_or([NONE; 2], |limits| [limits.canary, limits.baseline])
        };
        let longer = |limits: Option<SideLimits<Duration>>| {
            of(limits.map(|SideLimits { canary, baseline }| SideLimits {
                canary: nanos(canary),
                baseline: nanos(baseline),
            }))
        };
        let [slow, slow_baseline] = longer(thresholds.slow_above);
        let [large, large_baseline] = of(thresholds.large_above);
        let ceiling = thresholds.ceiling.map_or(NONE, nanos);
        let limits = [slow, slow_baseline, large, large_baseline, ceiling];
        self.limits.iter().zip(limits).for_each(|(limit, value)| limit.store(value, Relaxed));
        let median = self.median.iter().zip(longer(thresholds.median_above));
        median.for_each(|(limit, value)| limit.store(value, Relaxed));
        self.ended.store(tag(epoch), SeqCst);
    }

    pub(super) fn stretch(&self) -> u32 {
        self.stretch.load(Relaxed)
    }

    /// Records that a request on `lane` begins. Returns how many began before it.
    pub(super) fn begin(&self, lane: Lane) -> u64 {
        self.begun[lane as usize].fetch_add(1, SeqCst)
    }

    pub(super) fn begin_sticky(&self) {
        self.sticky.fetch_add(1, Relaxed);
    }

    /// Undoes [`begin`](Self::begin), unless the slot was reopened meanwhile.
    pub(super) fn unbegin(&self, lane: Lane) {
        let _ = self.begun[lane as usize].fetch_update(SeqCst, SeqCst, |begun| begun.checked_sub(1));
    }

    /// Records that a request on `lane` begins that is held to the median, and whether it drew its version.
    #[cold]
    pub(super) fn begin_sampled(&self, lane: Lane, drawn: bool) {
        if let Some(side) = lane.sampled_side() {
            self.sampled[side].fetch_add(1, Relaxed);
            self.under_way[side].fetch_add(drawn.into(), Relaxed);
        }
    }

    /// Records its end. Returns what it means to the gate, where it is `judged` for everything but the
    /// median.
    #[cold]
    pub(super) fn end_sampled(&self, epoch: u32, lane: Lane, ending: &Ending, judged: Judged) -> Judged {
        let Some(side) = lane.sampled_side() else { return judged };
        let nanos = u64::try_from(ending.latency.as_nanos()).unwrap_or(NONE - 1);
        let says_something = matches!(ending.outcome, Outcome::Success | Outcome::Cancelled);
        let above = says_something && nanos > self.median[side].load(Relaxed);
        let judged = if above { Judged::Bad } else { judged };
        if self.is_of(epoch) {
            // Never below zero: the slot may be reopened at this moment.
            let take =
                |counter: &AtomicU64| counter.fetch_update(Relaxed, Relaxed, |count| count.checked_sub(1));
            let _ = matches!(judged, Judged::Neutral).then(|| take(&self.sampled[side]));
            let _ = ending.user.is_none().then(|| take(&self.under_way[side]));
        }
        judged
    }

    /// Requests of the canary and of the baseline that are held to the median, and those of them in flight
    /// that drew their version.
    pub(super) fn sampled(&self) -> [(Arm, u64, u64); 2] {
        let read = |counter: &AtomicU64| counter.load(Relaxed);
        [Arm::Canary, Arm::Baseline].map(|arm| {
            let side = usize::from(arm == Arm::Baseline);
            (arm, read(&self.sampled[side]), read(&self.under_way[side]))
        })
    }

    /// Counts a request of `epoch` as ended, unless another epoch has taken the place.
    pub(super) fn end(&self, epoch: u32) {
        let before = self.ended.fetch_add(1, SeqCst);
        if before >> COUNT_BITS != tag(epoch) >> COUNT_BITS {
            self.ended.fetch_sub(1, SeqCst);
        }
    }

    /// What `ending` of a request on `lane` means to the gate.
    pub(super) fn judge(&self, lane: Lane, ending: &Ending) -> Judged {
        let over = |limit: usize, value: u64| value > self.limits[limit].load(Relaxed);
        let nanos = u64::try_from(ending.latency.as_nanos()).unwrap_or(NONE - 1);
        let (slow, large) = match lane {
            Lane::Canary | Lane::Clustered | Lane::Cohort => {
                (over(0, nanos), over(2, ending.memory_peak_bytes))
            }
            Lane::Baseline => (over(1, nanos), over(3, ending.memory_peak_bytes)),
            Lane::Stable => (false, false),
        };
        let slow = slow || over(4, nanos);
        match ending.outcome {
            Outcome::Success if slow || large => Judged::Bad,
            Outcome::Success => Judged::Good,
            Outcome::Cancelled if slow => Judged::Bad,
            outcome if Class::of(outcome).is_some() => Judged::Bad,
            _ => Judged::Neutral,
        }
    }

    /// Leaves a request of `epoch` out.
    pub(super) fn neutral(&self, epoch: u32, lane: Lane) {
        if self.is_of(epoch) {
            self.neutral[lane as usize].fetch_add(1, SeqCst);
        }
    }

    /// Whether `epoch` still has the place.
    fn is_of(&self, epoch: u32) -> bool {
        self.ended.load(SeqCst) >> COUNT_BITS == tag(epoch) >> COUNT_BITS
    }

    pub(super) fn has_begun(&self) -> bool {
        self.begun() > 0
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended.load(SeqCst) & !tag(u32::MAX) >= self.begun()
    }

    /// Requests of `arm` that have begun.
    pub(super) fn begun_of(&self, arm: Arm) -> u64 {
        let lanes = Lane::ALL.into_iter().filter(|lane| lane.arm().0 == arm);
        lanes.map(|lane| self.begun[lane as usize].load(SeqCst)).sum()
    }

    /// Requests on `lane` that say something about their version.
    pub(super) fn counted(&self, lane: Lane) -> u64 {
        let neutral = self.neutral[lane as usize].load(SeqCst);
        self.begun[lane as usize].load(SeqCst).saturating_sub(neutral)
    }

    /// Requests of the canary that drew it.
    pub(super) fn drawn(&self) -> u64 {
        self.begun_of(Arm::Canary).saturating_sub(self.sticky.load(SeqCst))
    }

    fn begun(&self) -> u64 {
        self.begun.iter().map(|begun| begun.load(SeqCst)).sum()
    }
}

/// The number of `epoch` above the count.
fn tag(epoch: u32) -> u64 {
    u64::from(epoch) << COUNT_BITS
}

impl Voices {
    /// Records a user.
    pub(super) fn hear(&self, user: u64) {
        // The lowest bits: the highest are what places the user.
        let word = &self.0[(user >> 6 & 3) as usize];
        let bit = 1 << (user & 63);
        if word.load(Relaxed) & bit == 0 {
            word.fetch_or(bit, Relaxed);
        }
    }

    /// Estimated number of different users.
    pub(super) fn count(&self) -> u64 {
        VoiceBits(self.bits()).count()
    }

    /// The bits that are set.
    pub(super) fn bits(&self) -> [u64; 4] {
        [0, 1, 2, 3].map(|word| self.0[word].load(Relaxed))
    }

    /// Forgets everybody.
    pub(super) fn forget(&self) {
        self.0.iter().for_each(|word| word.store(0, Relaxed));
    }
}

impl VoiceBits {
    /// Estimated number of different users.
    pub fn count(&self) -> u64 {
        let bits = self.0.len() as f64 * 64.0;
        let set: u32 = self.0.iter().map(|word| word.count_ones()).sum();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most 256 ln 256")]
        let estimate = (-bits * (1.0 - f64::from(set).min(bits - 1.0) / bits).ln()).floor() as u64;
        estimate.max(set.into())
    }

    /// Adds the users of `other`.
    pub fn unite(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0).for_each(|(word, bits)| *word |= bits);
    }
}
