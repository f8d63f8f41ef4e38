//! What versions did, as a node keeps it, and what requests are held to because of it.

use std::time::Duration;

use wasm_fn_core::Outcome;
use wasm_fn_rollout::{Bad, Class, Counts, Event, SideLimits, Thresholds};

use crate::sim::Answer;

/// Responses below which a percentile is no measure.
const PERCENTILE_MIN: usize = 100;

/// Latencies, of which the percentiles are looked at whenever they have doubled.
#[derive(Default)]
pub(crate) struct Latencies {
    all: Vec<f64>,
}

/// What requests are held to, seconds.
#[derive(Clone, Copy)]
pub(crate) struct Percentiles {
    pub(crate) median: f64,
    pub(crate) p99: f64,
}

/// What a version did until now.
#[derive(Default)]
pub(crate) struct Record {
    failed: [u64; Class::ALL.len()],
    left: u64,
    pub(crate) latencies: Latencies,
    pub(crate) traps: Vec<u64>,
}

/// What requests are held to when these are the percentiles that they are compared with.
pub(crate) fn limits(compared: Percentiles) -> Thresholds {
    let above = |seconds| {
        let baseline = Duration::from_secs_f64(seconds);
        Some(SideLimits { canary: baseline.mul_f64(1.2), baseline })
    };
    let (slow_above, median_above) = (above(compared.p99), above(compared.median));
    Thresholds { slow_above, median_above, ..Thresholds::default() }
}

impl Latencies {
    /// Takes one more; the percentiles when they are to be looked at.
    pub(crate) fn take(&mut self, latency: f64) -> Option<Percentiles> {
        self.all.push(latency);
        let doubled = self.all.len().is_multiple_of(PERCENTILE_MIN)
            && (self.all.len() / PERCENTILE_MIN).is_power_of_two();
        if doubled { self.percentiles() } else { None }
    }

    /// The percentiles, if they are of enough.
    pub(crate) fn percentiles(&self) -> Option<Percentiles> {
        if self.all.len() < PERCENTILE_MIN {
            return None;
        }
        let mut sorted = self.all.clone();
        let mut below = |hundredths: usize| {
            let at = (sorted.len() * hundredths).div_ceil(100) - 1;
            *sorted.select_nth_unstable_by(at, f64::total_cmp).1
        };
        Some(Percentiles { median: below(50), p99: below(99) })
    }
}

impl Record {
    pub(crate) fn take(&mut self, answer: &Answer) {
        match answer.outcome {
            Outcome::Cancelled => self.left += 1,
            Outcome::Shed | Outcome::Internal => {}
            outcome => {
                if let Some(class) = Class::of(outcome) {
                    self.failed[class as usize] += 1;
                }
                self.latencies.all.push(answer.latency);
            }
        }
        if let Some(trap) = answer.trap.filter(|trap| !self.traps.contains(trap)) {
            self.traps.push(trap);
        }
    }

    /// As the control plane gives it to a gate.
    pub(crate) fn counts(&self) -> Counts {
        let requests = self.latencies.all.len() as u64;
        let p99 = self.latencies.percentiles().map_or(f64::INFINITY, |found| found.p99);
        let slow = self.latencies.all.iter().filter(|&&latency| latency > p99).count() as u64;
        let counts = Counts::of(requests)
            .with(Event::FailedAtAll, Bad::each(self.failed.iter().sum()))
            .with(Event::Slow, Bad::each(slow + self.left))
            .with(Event::Large, Bad::each(requests.div_ceil(100)));
        let failed = Class::ALL.into_iter().zip(self.failed);
        failed.fold(counts, |counts, (class, failed)| counts.with(Event::Failed(class), Bad::each(failed)))
    }
}
