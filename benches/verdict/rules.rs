//! The rules that are compared: ours, and two that are in use elsewhere.

use std::time::{Duration, Instant};

use wasm_fn_core::{Outcome, Weight};
use wasm_fn_rollout::{Arm, Baseline, Counts, Ending, Feed, Gate, GateSpec, Stretch, Verdict};

use crate::{
    record::{Latencies, Percentiles, limits},
    sim::start,
    stream::{Item, baseline_share},
};

/// Requests in a minute, at 100 a second.
const MINUTE: u64 = 6_000;

/// Requests that make one point of the Mann-Whitney rule: ten seconds.
const POINT: u64 = 1_000;

/// Points on each side of the Mann-Whitney rule.
const POINTS: usize = 50;

/// Where its one-sided test fails: 98 % confidence on two sides, 2.326 standard deviations.
const DEVIATIONS: f64 = 2.326;

/// A rule that sees each response and says when it aborts.
pub(crate) trait Rule {
    /// Whether it aborts after `item`.
    fn aborts(&mut self, item: &Item) -> bool;

    /// A step began, in which the canary has this share.
    fn step(&mut self, _share: Weight) {}
}

/// The gate, with its defaults, behind its feed: every signal takes its part of alpha. Nothing takes any
/// time, and 100 requests come in a second.
pub(crate) struct Ours {
    feed: Feed,
    start: Instant,
    sent: u32,
    stretch: Stretch,
    // Those of the baseline, in p99s of stable before.
    latencies: Latencies,
    // Those of stable before, in the same.
    before: Percentiles,
}

/// Time between two requests.
const APART: Duration = Duration::from_millis(10);

impl Ours {
    /// `past` is what the previous version did, where the canary has everybody; `median` is that of stable
    /// before, in its p99s.
    pub(crate) fn new(share: Weight, past: Option<Counts>, median: f64) -> Self {
        let baseline = past.map_or(Baseline::Concurrent(Box::default()), Baseline::Past);
        let gate = Gate::new(GateSpec::default(), 1, baseline).expect("the default is a gate");
        let stretch = Stretch {
            no: 0,
            share,
            baseline_share: baseline_share(share),
            begins_step: true,
            by_cohort: false,
        };
        let before = Percentiles { median, p99: 1.0 };
        let feed = Feed::new(gate, stretch, limits(before));
        Self { feed, start: start(), sent: 0, stretch, latencies: Latencies::default(), before }
    }

    fn now(&self) -> Instant {
        self.start + APART * self.sent
    }
}

impl Rule for Ours {
    fn aborts(&mut self, item: &Item) -> bool {
        self.sent += 1;
        let now = self.now();
        let ticket = self.feed.begin(self.stretch.no, item.arm, item.user, now);
        let failed = item.bad && item.latency.is_none();
        let ending = Ending {
            outcome: if failed { Outcome::ServerError } else { Outcome::Success },
            latency: Duration::from_secs_f64(item.latency.unwrap_or(0.0)),
            memory_peak_bytes: 0,
            user: item.user,
            at: now,
        };
        let learnt = self.feed.end(ticket, &ending);
        if item.arm == Arm::Baseline
            && let Some(latency) = item.latency
            && let Some(compared) = self.latencies.take(latency)
        {
            self.feed.hold_to(limits(compared), now);
        }
        learnt && matches!(self.feed.verdict(), Verdict::Fail(_))
    }

    fn step(&mut self, share: Weight) {
        let no = self.stretch.no + 1;
        self.stretch =
            Stretch { no, share, baseline_share: baseline_share(share), begins_step: true, by_cohort: false };
        let compared = self.latencies.percentiles().unwrap_or(self.before);
        self.feed.begin_stretch(self.stretch, limits(compared), self.now());
    }
}

/// Over 1 % of the canary's responses bad in a minute.
#[derive(Default)]
pub(crate) struct Fixed {
    seen: u64,
    requests: u64,
    bad: u64,
}

impl Rule for Fixed {
    fn aborts(&mut self, item: &Item) -> bool {
        self.seen += 1;
        self.requests += u64::from(item.on_canary);
        self.bad += u64::from(item.on_canary && item.bad);
        if !self.seen.is_multiple_of(MINUTE) {
            return false;
        }
        let over = self.bad * 100 > self.requests;
        (self.requests, self.bad) = (0, 0);
        over
    }
}

/// Rates of ten seconds as points; when there are 50 on each side, the Mann-Whitney U test of the canary's
/// being higher; then 50 new ones.
#[derive(Default)]
pub(crate) struct MannWhitney {
    seen: u64,
    requests: [u64; 2],
    bad: [u64; 2],
    points: [Vec<f64>; 2],
}

impl Rule for MannWhitney {
    fn aborts(&mut self, item: &Item) -> bool {
        let side = usize::from(item.on_canary);
        self.seen += 1;
        self.requests[side] += 1;
        self.bad[side] += u64::from(item.bad);
        if !self.seen.is_multiple_of(POINT) {
            return false;
        }
        for side in 0..2 {
            if self.requests[side] > 0 {
                self.points[side].push(self.bad[side] as f64 / self.requests[side] as f64);
            }
        }
        (self.requests, self.bad) = ([0; 2], [0; 2]);
        if self.seen < POINT * POINTS as u64 || self.points.iter().any(|points| points.len() < POINTS) {
            return false;
        }
        let [stable, canary] = std::mem::take(&mut self.points);
        deviations(&stable, &canary) > DEVIATIONS
    }
}

/// Standard deviations by which `canary` ranks above `stable`, by the normal approximation with ties.
fn deviations(stable: &[f64], canary: &[f64]) -> f64 {
    let above = canary.iter().flat_map(|c| stable.iter().map(move |s| (c, s)));
    let u: f64 = above.map(|(c, s)| if c > s { 1.0 } else { f64::from(u8::from(c == s)) / 2.0 }).sum();
    let mut all: Vec<_> = stable.iter().chain(canary).copied().collect();
    all.sort_by(f64::total_cmp);
    let ties: f64 = all
        .chunk_by(|a, b| a == b)
        .map(|run| {
            let run = run.len() as f64;
            run * run * run - run
        })
        .sum();
    let (a, b) = (stable.len() as f64, canary.len() as f64);
    let n = a + b;
    let variance = a * b / 12.0 * (n + 1.0 - ties / (n * (n - 1.0)));
    if variance <= 0.0 { 0.0 } else { (u - a * b / 2.0) / variance.sqrt() }
}

#[cfg(test)]
mod tests;
