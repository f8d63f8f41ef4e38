//! The last hour of every version, in steps of ten seconds.
//!
//! A step without requests takes no room, one with requests 16 bytes. There are at most [`POINTS_MAX`] of
//! them, 32 MiB: enough for a whole hour of 5,800 versions that are never idle. With more, everything older
//! goes first.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use wasm_fn_core::{FunctionName, StageName, VersionNo};
use wasm_fn_router::{LatencyCounts, RouteTable, Tally};

use super::STEP_MS;

/// How many steps are kept: an hour.
pub(crate) const STEPS: u64 = 360;

/// Most steps with requests, of all versions.
pub(super) const POINTS_MAX: usize = 2 << 20;

/// Bytes of a step with requests.
#[cfg(test)]
pub(super) const POINT_BYTES: usize = size_of::<Point>();

/// The last hour of all versions.
#[derive(Debug)]
pub(crate) struct Traffic {
    functions: BTreeMap<FunctionName, Vec<Version>>,
    /// Steps with requests, of all versions.
    points: usize,
    points_max: usize,
    /// When the last step ended, Unix milliseconds.
    pub(crate) read_ms: u64,
}

/// The last hour of a version in a stage.
#[derive(Debug)]
pub(crate) struct Version {
    pub(crate) stage: StageName,
    pub(crate) no: VersionNo,
    /// Requests and failures when they were last read.
    totals: (u64, u64),
    latencies: LatencyCounts,
    // Invariant: ascending by step.
    points: VecDeque<Point>,
}

/// A step with requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Point {
    /// The number of the step since 1970.
    step: u32,
    requests: u32,
    failures: u32,
    latency_p50: Micros,
    latency_p99: Micros,
}

/// A duration on a logarithmic scale, 2,048 steps an octave: exact to 0.04 %.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Micros(u16);

/// A step with requests, as others see it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Step {
    /// When it began, Unix milliseconds.
    pub(crate) at_ms: u64,
    pub(crate) requests: u64,
    pub(crate) failures: u64,
    /// Milliseconds; 0 if no latency counted.
    pub(crate) latency_p50_ms: f64,
    /// Milliseconds; 0 if no latency counted.
    pub(crate) latency_p99_ms: f64,
}

impl Micros {
    const STEPS_PER_OCTAVE: f64 = 2048.0;

    fn new(time: Option<Duration>) -> Self {
        let micros = time.map_or(0.0, |time| time.as_secs_f64() * 1e6);
        let steps = ((micros + 1.0).log2() * Self::STEPS_PER_OCTAVE).round();
        // 2³² microseconds, above the longest timeout, are the largest.
        #[expect(clippy::cast_possible_truncation, reason = "within the range")]
        Self(steps.clamp(0.0, f64::from(u16::MAX)) as u16)
    }

    fn millis(self) -> f64 {
        ((f64::from(self.0) / Self::STEPS_PER_OCTAVE).exp2() - 1.0) / 1e3
    }
}

impl Default for Traffic {
    fn default() -> Self {
        Self::with_points(POINTS_MAX)
    }
}

impl Traffic {
    pub(crate) fn with_points(points_max: usize) -> Self {
        Self { functions: BTreeMap::new(), points: 0, points_max, read_ms: 0 }
    }

    /// Whether a step has ended since the last time.
    pub(super) fn is_due(&self, now_ms: u64) -> bool {
        now_ms / STEP_MS > self.read_ms / STEP_MS
    }

    /// Reads the tallies of `table` at the end of a step.
    pub(crate) fn read<V>(&mut self, table: &RouteTable<V>, now_ms: u64) {
        // What was counted until now belongs to the step that has just ended.
        let step = (now_ms / STEP_MS).saturating_sub(1);
        self.read_ms = now_ms / STEP_MS * STEP_MS;
        for stage in table.stages() {
            for version in stage.versions() {
                let (tally, no) = (&version.tally, version.no);
                self.read_one(stage.function(), stage.name(), no, tally, step);
            }
        }
        self.forget((step + 1).saturating_sub(STEPS));
        let mut oldest = (step + 1).saturating_sub(STEPS);
        while self.points > self.points_max {
            oldest += 1;
            self.forget(oldest);
        }
    }

    fn read_one(
        &mut self,
        function: &FunctionName,
        stage: &StageName,
        no: VersionNo,
        tally: &Tally,
        step: u64,
    ) {
        let totals = tally.totals();
        if totals.0 == 0 {
            return;
        }
        if !self.functions.contains_key(function) {
            self.functions.insert(function.clone(), Vec::new());
        }
        let Some(versions) = self.functions.get_mut(function) else { return };
        let found = versions.iter().position(|version| version.no == no && version.stage == *stage);
        let at = found.unwrap_or_else(|| {
            let (latencies, points) = (LatencyCounts::default(), VecDeque::new());
            versions.push(Version { stage: stage.clone(), no, totals: (0, 0), latencies, points });
            versions.len() - 1
        });
        let version = &mut versions[at];
        if totals == version.totals {
            return;
        }
        if totals.0 < version.totals.0 {
            // A new function of the same name.
            (version.totals, version.latencies) = ((0, 0), LatencyCounts::default());
        }
        let latencies = tally.latencies();
        let since = latencies.since(&version.latencies);
        let count = |now: u64, before: u64| u32::try_from(now.saturating_sub(before)).unwrap_or(u32::MAX);
        version.points.push_back(Point {
            step: u32::try_from(step).unwrap_or(u32::MAX),
            requests: count(totals.0, version.totals.0),
            failures: count(totals.1, version.totals.1),
            latency_p50: Micros::new(since.quantile(0.5)),
            latency_p99: Micros::new(since.quantile(0.99)),
        });
        (version.totals, version.latencies) = (totals, latencies);
        self.points += 1;
    }

    /// Forgets all steps before `oldest`.
    fn forget(&mut self, oldest: u64) {
        let mut forgotten = 0;
        for version in self.functions.values_mut().flatten() {
            while version.points.front().is_some_and(|point| u64::from(point.step) < oldest) {
                version.points.pop_front();
                forgotten += 1;
            }
            if version.points.is_empty() {
                // It was idle for an hour. What it was last at is needed to tell what is new.
                version.points = VecDeque::new();
            }
        }
        self.points -= forgotten;
    }

    /// Forgets the functions for which `is_there` is not.
    pub(crate) fn retain(&mut self, is_there: impl Fn(&FunctionName) -> bool) {
        self.functions.retain(|name, _| is_there(name));
        self.points = self.functions.values().flatten().map(|version| version.points.len()).sum();
    }

    /// The versions of `function` that had requests.
    pub(crate) fn versions(&self, function: &FunctionName) -> &[Version] {
        self.functions.get(function).map_or(&[], Vec::as_slice)
    }

    /// The largest 99th percentile of the latency of a version of `function` in `stage`, each in its last
    /// step with requests; milliseconds.
    pub(crate) fn latency_p99_ms(&self, function: &FunctionName, stage: &StageName) -> Option<f64> {
        let versions = self.versions(function).iter().filter(|version| version.stage == *stage);
        versions.filter_map(|version| Some(version.steps().next_back()?.latency_p99_ms)).reduce(f64::max)
    }

    /// The largest median latency in the same steps, milliseconds.
    pub(crate) fn latency_p50_ms(&self, function: &FunctionName, stage: &StageName) -> Option<f64> {
        let versions = self.versions(function).iter().filter(|version| version.stage == *stage);
        versions.filter_map(|version| Some(version.steps().next_back()?.latency_p50_ms)).reduce(f64::max)
    }
}

impl Version {
    /// The steps with requests, oldest first.
    pub(crate) fn steps(&self) -> impl DoubleEndedIterator<Item = Step> {
        self.points.iter().map(|point| Step {
            at_ms: u64::from(point.step) * STEP_MS,
            requests: u64::from(point.requests),
            failures: u64::from(point.failures),
            latency_p50_ms: point.latency_p50.millis(),
            latency_p99_ms: point.latency_p99.millis(),
        })
    }
}
