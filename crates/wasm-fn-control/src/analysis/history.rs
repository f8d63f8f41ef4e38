//! What versions did before a rollout: the past that its gate compares with.

use std::{sync::Arc, time::Instant};

use wasm_fn_core::Outcome;
use wasm_fn_rollout::{Bad, Class, Counts, Event, GateSpec, SideLimits, Thresholds};
use wasm_fn_router::{
    Assignment, Observation, ObservationTicket, Placement, Recalled, Tally, TallySnapshot, TrafficObserver,
};

/// How many responses a percentile needs before it can be a limit.
pub(super) const PERCENTILE_MIN: u64 = 100;

/// Counts what stable does for users whom a cohort rule would place on a canary, while there is none. A
/// cohort is later compared with this past.
pub(crate) struct CohortRecord(pub(crate) Arc<Tally>);

impl TrafficObserver for CohortRecord {
    fn request_began(&self, _: &Assignment, _: Instant) -> ObservationTicket {
        ObservationTicket::default()
    }

    fn request_ended(&self, heard: &Observation<'_>) {
        if heard.placement == Placement::Rule {
            self.0.record(heard.record);
        }
    }

    fn is_withheld(&self) -> bool {
        false
    }

    fn recalled(&self) -> Recalled {
        Box::pin(std::future::pending())
    }
}

/// The limits above which a response is slow or large, from the past of `compared`.
pub(super) fn limits(spec: &GateSpec, compared: &TallySnapshot) -> Thresholds {
    let enough = compared.latency_count() >= PERCENTILE_MIN;
    let times = |tolerate: Option<f64>| tolerate.filter(|_| enough);
    let above = |quantile| {
        let found = times(spec.latency_p99).zip(compared.latency_quantile(quantile));
        found.map(|(tolerate, time)| SideLimits { canary: time.mul_f64(tolerate), baseline: time })
    };
    let large = times(spec.memory_p99).zip(compared.memory_peak_bytes_quantile(0.99));
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "memory is below 2^52 bytes")]
    let scaled = |tolerate: f64, bytes: u64| (tolerate * bytes as f64) as u64;
    Thresholds {
        slow_above: above(0.99),
        median_above: above(0.5),
        large_above: large.map(|(tolerate, p99)| SideLimits { canary: scaled(tolerate, p99), baseline: p99 }),
        ceiling: spec.max_latency_p99,
    }
}

/// The past of a version, for a comparison with it.
pub(crate) fn past(spec: &GateSpec, tally: &TallySnapshot) -> Counts {
    let requests = tally.latency_count();
    let thresholds = limits(spec, tally);
    let failed = |class: Class| match class {
        Class::Trap => tally.count(Outcome::Trap),
        Class::Timeout => tally.count(Outcome::Timeout),
        Class::OutOfMemory => tally.count(Outcome::OutOfMemory),
        Class::ServerError => tally.count(Outcome::ServerError),
        Class::InvalidResponse => tally.count(Outcome::InvalidResponse),
    };
    let above = |limit| requests.saturating_sub(tally.latency_at_most(limit));
    // No histogram holds requests whose client left. A canary's request of this kind counts as slow if it
    // waited for too long. Here all of them count as slow, because a past that looks too bad fails no canary.
    let left = tally.count(Outcome::Cancelled);
    let slow = thresholds.slow_above.map_or(0, |limits| above(limits.baseline).saturating_add(left));
    Class::ALL
        .into_iter()
        .fold(Counts::of(requests), |counts, class| {
            counts.with(Event::Failed(class), Bad::each(failed(class)))
        })
        .with(Event::FailedAtAll, Bad::each(tally.failures()))
        .with(Event::Slow, Bad::each(slow))
        // The histogram of memory peaks gives no counts. At most this many lie above the 99th percentile.
        .with(Event::Large, Bad::each(requests.div_ceil(100)))
        .with(Event::OverCeiling, Bad::each(thresholds.ceiling.map_or(0, above)))
}
