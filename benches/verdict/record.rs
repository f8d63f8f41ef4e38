//! What versions did, as a node keeps it, and what requests are held to because of it.

use std::time::Duration;

use wasm_fn_core::Outcome;
use wasm_fn_rollout::{Bad, Class, Counts, Event, Limits, Thresholds};

use crate::sim::Answer;

/// Responses below which a percentile is no measure.
const PERCENTILE_MIN: usize = 100;

/// Latencies, of which the 99th percentile is looked at whenever they have doubled.
#[derive(Default)]
pub(crate) struct Latencies {
    all: Vec<f64>,
}

/// What a version did until now.
#[derive(Default)]
pub(crate) struct Record {
    failed: [u64; Class::ALL.len()],
    left: u64,
    pub(crate) latencies: Latencies,
    pub(crate) traps: Vec<u64>,
}

/// What requests are held to when the p99 that they are compared with is `p99` seconds.
pub(crate) fn limits(p99: f64) -> Thresholds {
    let baseline = Duration::from_secs_f64(p99);
    let limits = Limits { canary: baseline.mul_f64(1.2), baseline };
    Thresholds { slow_above: Some(limits), ..Thresholds::default() }
}

impl Latencies {
    /// Takes one more; the percentile when it is to be looked at.
    pub(crate) fn take(&mut self, latency: f64) -> Option<f64> {
        self.all.push(latency);
        let doubled = self.all.len().is_multiple_of(PERCENTILE_MIN)
            && (self.all.len() / PERCENTILE_MIN).is_power_of_two();
        if doubled { self.p99() } else { None }
    }

    /// The 99th percentile, if they are enough.
    pub(crate) fn p99(&self) -> Option<f64> {
        if self.all.len() < PERCENTILE_MIN {
            return None;
        }
        let mut sorted = self.all.clone();
        let at = (sorted.len() * 99).div_ceil(100) - 1;
        Some(*sorted.select_nth_unstable_by(at, f64::total_cmp).1)
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
        let p99 = self.latencies.p99().unwrap_or(f64::INFINITY);
        let slow = self.latencies.all.iter().filter(|&&latency| latency > p99).count() as u64;
        let counts = Counts::of(requests)
            .with(Event::FailedAtAll, Bad::each(self.failed.iter().sum()))
            .with(Event::Slow, Bad::each(slow + self.left))
            .with(Event::Large, Bad::each(requests.div_ceil(100)));
        let failed = Class::ALL.into_iter().zip(self.failed);
        failed.fold(counts, |counts, (class, failed)| counts.with(Event::Failed(class), Bad::each(failed)))
    }
}
