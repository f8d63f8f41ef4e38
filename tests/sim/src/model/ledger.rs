//! The requests of one gate, in the order in which they began, as the model counts them.
//!
//! A gate takes requests in that order, in stretches whose ends are its own affair, so what it has counted is
//! a prefix of the ledger: of requests that have ended, or were waited for long enough. It knows nothing else
//! of when they ended.

use std::collections::{BTreeSet, VecDeque};

use wasm_fn_core::{Outcome, Revision, Side, Weight};
use wasm_fn_rollout::{Counts, Event, GateState};
use wasm_fn_router::Placement;

/// How long evidence waits for a request, milliseconds.
const WAIT_MS: u64 = 30_000;

/// Ends after which a gate that waits for a request may have no room to tell later ones apart.
const ENDS_APART: u64 = 40;

/// Requests of the canary in a step, of which stable has less than one in a hundred, after which it is
/// silent.
const SILENT_AFTER: u64 = 100;

/// Whose evidence a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arm {
    Canary,
    Stable,
    Baseline,
    Cohort,
}

/// A request that counts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Beginning {
    pub(super) arm: Arm,
    pub(super) user: Option<u64>,
    pub(super) began_ms: u64,
    /// The revision whose table placed it.
    pub(super) stretch: Revision,
    /// The canary's share in it.
    pub(super) share: Weight,
}

/// What a request came to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ending {
    pub(super) outcome: Outcome,
    /// Whether its client left before there was an answer, having sent everything.
    pub(super) abandoned: bool,
}

/// Requests that a gate has counted, and failures among them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counted {
    pub(super) canary: (u64, u64),
    /// With the baseline's.
    pub(super) stable: (u64, u64),
    pub(super) baseline: (u64, u64),
    pub(super) cohort: (u64, u64),
    /// Whether stable is that of the same time.
    pub(super) concurrent: bool,
}

/// A failure that the gate has taken.
pub(super) struct Failed {
    pub(super) begun: Beginning,
    pub(super) in_step: bool,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    begun: Beginning,
    step: u32,
    /// Ends of the gate's requests when it began.
    ends_before: u64,
    end: Option<End>,
}

/// How an entry counts: in so few requests and so many.
#[derive(Clone, Copy, Debug)]
struct End {
    least: u64,
    most: u64,
    failed: bool,
}

/// A failure that waits for the requests that began before it ended.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    index: usize,
    /// Requests that had begun.
    begun: usize,
    ended_ms: u64,
}

/// Requests and failures, each at least and at most.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    least: u64,
    most: u64,
    failed: u64,
}

/// Everything that one gate was told of.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// Tells this ledger from all others.
    pub(super) no: u64,
    before: [Sum; 4],
    entries: Vec<Entry>,
    open: BTreeSet<usize>,
    step: u32,
    ends: u64,
    waiting: VecDeque<Waiting>,
    /// For each end that others were open at, how many had begun.
    begun_at_ends: VecDeque<usize>,
    /// Requests that a gate which is asked at each end has taken for sure.
    settled: usize,
}

impl Arm {
    const ALL: [Self; 4] = [Self::Canary, Self::Stable, Self::Baseline, Self::Cohort];

    /// That of a request on `side` that came there by `placement`.
    pub(super) fn of(side: Side, placement: Placement) -> Option<Self> {
        match (side, placement) {
            (Side::Canary, Placement::Chance) => Some(Self::Canary),
            (Side::Canary, Placement::Rule) => Some(Self::Cohort),
            (Side::Stable, Placement::Chance) => Some(Self::Stable),
            (Side::Baseline, Placement::Chance) => Some(Self::Baseline),
            (Side::Stable | Side::Baseline, Placement::Rule) | (_, Placement::Request) => None,
        }
    }
}

impl Ending {
    fn counts(self) -> End {
        match self.outcome {
            Outcome::Success => End { least: 1, most: 1, failed: false },
            // Whether it waited for too long is the gate's to say.
            Outcome::Cancelled if self.abandoned => End { least: 0, most: 1, failed: false },
            Outcome::Cancelled | Outcome::Shed | Outcome::Internal => {
                End { least: 0, most: 0, failed: false }
            }
            Outcome::ServerError
            | Outcome::Trap
            | Outcome::Timeout
            | Outcome::OutOfMemory
            | Outcome::InvalidResponse => End { least: 1, most: 1, failed: true },
        }
    }
}

impl Sum {
    fn of(counts: &Counts) -> Self {
        let (requests, failed) = (counts.requests, counts.bad(Event::FailedAtAll).requests);
        Self { least: requests, most: requests, failed }
    }

    fn add(&mut self, end: Option<End>) {
        // One that was waited for long enough counts as good.
        let End { least, most, failed } = end.unwrap_or(End { least: 1, most: 1, failed: false });
        self.least += least;
        self.most += most;
        self.failed += u64::from(failed);
    }

    fn is(self, side: (u64, u64)) -> bool {
        (self.least..=self.most).contains(&side.0) && self.failed == side.1
    }
}

impl Ledger {
    /// The ledger number `no`, of a gate that goes on from `kept`.
    pub(super) fn new(no: u64, kept: Option<&GateState>) -> Self {
        let before = kept
            .filter(|kept| !kept.checks.is_empty())
            .map(|kept| [&kept.canary, &kept.stable, &kept.baseline, &kept.cohort].map(Sum::of));
        Self { no, before: before.unwrap_or_default(), ..Self::default() }
    }

    /// Another step begins.
    pub(super) fn step(&mut self) {
        self.step += 1;
    }

    pub(super) fn begin(&mut self, begun: Beginning) -> usize {
        let index = self.entries.len();
        self.entries.push(Entry { begun, step: self.step, ends_before: self.ends, end: None });
        self.open.insert(index);
        index
    }

    /// Whose evidence request number `index` is.
    pub(super) fn arm(&self, index: usize) -> Arm {
        self.entries[index].begun.arm
    }

    /// Request number `index` ends so; gives the failures that the gate must have taken by it.
    pub(super) fn end(&mut self, index: usize, ending: Ending, now_ms: u64) -> Vec<Failed> {
        let mut end = ending.counts();
        if self.is_let_go(&self.entries[index], now_ms) {
            end.most = 1;
        }
        self.entries[index].end = Some(end);
        self.ends += 1;
        let oldest = self.open.first().map(|&oldest| self.entries[oldest].ends_before);
        let apart = oldest.is_none_or(|before| self.ends - before < ENDS_APART);
        self.open.remove(&index);
        let begun = self.entries.len();
        if end.failed && apart {
            self.waiting.push_back(Waiting { index, begun, ended_ms: now_ms });
        }
        self.begun_at_ends.push_back(begun);
        let ended = self.open.first().copied().unwrap_or(begun);
        while self.begun_at_ends.front().is_some_and(|&begun| begun <= ended) {
            self.settled = self.begun_at_ends.pop_front().unwrap_or(self.settled);
        }
        let mut taken = Vec::new();
        while let Some(waiting) = self.waiting.front() {
            let late = end.failed && now_ms > waiting.ended_ms + WAIT_MS;
            if waiting.begun > ended && !late {
                break;
            }
            let Entry { begun, step, .. } = self.entries[waiting.index];
            taken.push(Failed { begun, in_step: step == self.step });
            self.waiting.pop_front();
        }
        taken
    }

    /// Requests of `arm` in this step that a gate may have counted.
    pub(super) fn most(&self, arm: Arm) -> u64 {
        self.in_step(arm, self.entries.len()).map(|entry| entry.end.map_or(1, |end| end.most)).sum()
    }

    /// Those that a gate which is asked at each end has counted.
    pub(super) fn least(&self, arm: Arm) -> u64 {
        self.in_step(arm, self.settled).filter_map(|entry| entry.end).map(|end| end.least).sum()
    }

    /// Failures of `arm` in this step, taken by the gate or not.
    pub(super) fn failed(&self, arm: Arm) -> u64 {
        let ends = self.in_step(arm, self.entries.len()).filter_map(|entry| entry.end);
        ends.filter(|end| end.failed).count() as u64
    }

    /// The same of stable, since the gate began.
    pub(super) fn stable_most(&self) -> u64 {
        let new: u64 =
            self.of_stable(self.entries.len()).map(|entry| entry.end.map_or(1, |end| end.most)).sum();
        new + self.before[1].most + self.before[2].most
    }

    /// The same of stable, in this life.
    pub(super) fn stable_least(&self) -> u64 {
        self.of_stable(self.settled).filter_map(|entry| entry.end).map(|end| end.least).sum()
    }

    /// Whether so little may be heard of stable in this step that the gate compares the canary with the past.
    pub(super) fn may_be_silent(&self) -> bool {
        let (mut canary, mut stable) = (0, 0);
        let mut of_step = self.entries.iter().filter(|entry| entry.step == self.step);
        of_step.any(|entry| {
            let End { least, most, .. } = entry.end.unwrap_or(End { least: 0, most: 1, failed: false });
            match entry.begun.arm {
                Arm::Canary => canary += most,
                Arm::Stable | Arm::Baseline => stable += least,
                Arm::Cohort => {}
            }
            canary >= SILENT_AFTER && stable * 100 < canary
        })
    }

    /// Requests of the canary in this step that drew it, and users of the others; among all, or those that
    /// are settled.
    pub(super) fn voices(&self, settled: bool) -> (u64, u64) {
        let to = if settled { self.settled } else { self.entries.len() };
        let drawn = self.in_step(Arm::Canary, to).filter(|entry| entry.begun.user.is_none()).count();
        let users: BTreeSet<_> = self.in_step(Arm::Canary, to).filter_map(|entry| entry.begun.user).collect();
        (drawn as u64, users.len() as u64)
    }

    /// Whether what the gate has counted is what the first of its requests came to.
    pub(super) fn check(&self, counted: &Counted, now_ms: u64) -> Result<(), String> {
        let &Counted { canary, stable, baseline, cohort, concurrent } = counted;
        let mut sums = self.before;
        let first_open = self.open.first().copied();
        // Tables close what was before them, so all of it is taken.
        let least = first_open.map_or(self.entries.len(), |open| {
            let stretch = self.entries[open].begun.stretch;
            self.entries.iter().position(|entry| entry.begun.stretch == stretch).unwrap_or(open)
        });
        for taken in 0..=self.entries.len() {
            let beside = Sum {
                least: sums[1].least + sums[2].least,
                most: sums[1].most + sums[2].most,
                failed: sums[1].failed + sums[2].failed,
            };
            let fits = sums[0].is(canary)
                && sums[2].is(baseline)
                && sums[3].is(cohort)
                && (!concurrent || beside.is(stable));
            if fits && taken >= least {
                return Ok(());
            }
            let Some(entry) = self.entries.get(taken) else { break };
            if entry.end.is_none() && !self.is_let_go(entry, now_ms) {
                break;
            }
            sums[Arm::ALL.iter().position(|arm| *arm == entry.begun.arm).unwrap_or(0)].add(entry.end);
        }
        Err(format!(
            "{counted:?} is none of the beginnings of {} requests, {} of them under way, from {least} on: {sums:?}",
            self.entries.len(),
            self.open.len()
        ))
    }

    /// Whether a gate that takes requests in some order can have counted so much: each request once at most.
    pub(super) fn check_bounds(&self, counted: &Counted) -> Result<(), String> {
        let &Counted { canary, stable, baseline, cohort, concurrent } = counted;
        let mut sums = self.before;
        for entry in &self.entries {
            sums[Arm::ALL.iter().position(|arm| *arm == entry.begun.arm).unwrap_or(0)].add(entry.end);
        }
        let [of_canary, of_stable, of_baseline, of_cohort] = sums.map(|sum| (sum.most, sum.failed));
        let beside = (of_stable.0 + of_baseline.0, of_stable.1 + of_baseline.1);
        let fits = |(requests, failed): (u64, u64), most: (u64, u64)| requests <= most.0 && failed <= most.1;
        if fits(canary, of_canary)
            && fits(baseline, of_baseline)
            && fits(cohort, of_cohort)
            && (!concurrent || fits(stable, beside))
        {
            return Ok(());
        }
        Err(format!("{counted:?} is more than all requests came to: {sums:?}"))
    }

    /// Whether the gate may have gone on without `entry`, which is under way.
    fn is_let_go(&self, entry: &Entry, now_ms: u64) -> bool {
        let waited = now_ms.saturating_sub(entry.begun.began_ms) >= WAIT_MS;
        waited || self.ends - entry.ends_before >= ENDS_APART
    }

    fn in_step(&self, arm: Arm, to: usize) -> impl Iterator<Item = &Entry> {
        let step = self.step;
        self.entries[..to].iter().filter(move |entry| entry.step == step && entry.begun.arm == arm)
    }

    fn of_stable(&self, to: usize) -> impl Iterator<Item = &Entry> {
        self.entries[..to].iter().filter(|entry| matches!(entry.begun.arm, Arm::Stable | Arm::Baseline))
    }
}
