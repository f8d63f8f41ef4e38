//! Tests of the gate in the steps of a cohort: what passes them, and what does not.

use std::time::{Duration, Instant};

use wasm_fn_core::{Outcome, Weight};

use crate::{
    Arm, Bad, Baseline, Batch, Class, Counts, Ending, Event, Feed, Gate, GateSpec, PastCounts, Stretch,
    Thresholds, Verdict,
};

fn failing(requests: u64, bad: u64, units: u64) -> Counts {
    let events = [Event::FailedAtAll, Event::Failed(Class::Trap)];
    let bad = Bad { requests: bad, units };
    events.into_iter().fold(Counts::of(requests), |counts, event| counts.with(event, bad))
}

/// A gate of a rollout whose stable version did `stable` before, and for the cohort `cohort`.
fn gate(stable: Counts, cohort: Counts) -> Gate {
    let history = Box::new(PastCounts { stable, cohort });
    let mut gate = Gate::new(GateSpec::default(), 1, Baseline::Concurrent(history)).unwrap();
    gate.set_by_cohort(true);
    gate
}

fn take(gate: &mut Gate, cohort: Counts, stable: Counts) {
    let mut batch = Batch::new(Weight::ZERO, Weight::ZERO);
    (batch.cohort, batch.stable) = (cohort, stable);
    gate.observe(&batch);
}

#[track_caller]
fn waits(gate: &Gate, text: &str) {
    let Verdict::Wait(waiting) = gate.verdict() else { panic!("{:?}", gate.verdict()) };
    assert_eq!(waiting.to_string(), text);
}

#[test]
fn the_cohorts_requests_pass_its_step_and_no_others() {
    let mut gate = gate(Counts::of(1000), Counts::default());
    take(&mut gate, failing(99, 0, 0), failing(5000, 3, 3));
    waits(&gate, "99 requests of the cohort, 100 needed");
    assert_eq!(gate.step_requests(), 99);
    take(&mut gate, failing(1, 0, 0), Counts::default());
    assert_eq!(gate.verdict(), Verdict::Pass);
    // Nobody else asks: the cohort is all there is.
    let mut alone = self::gate(Counts::default(), Counts::default());
    take(&mut alone, failing(100, 0, 0), Counts::default());
    assert_eq!(alone.verdict(), Verdict::Pass);
}

#[test]
fn each_step_needs_requests_of_its_own() {
    let mut gate = gate(Counts::of(1000), Counts::default());
    take(&mut gate, failing(100, 0, 0), failing(900, 0, 0));
    gate.step();
    waits(&gate, "0 requests of the cohort, 100 needed");
    take(&mut gate, failing(100, 0, 0), Counts::default());
    assert_eq!(gate.verdict(), Verdict::Pass);
    // Whom a rule places counts for no share.
    gate.step();
    gate.set_by_cohort(false);
    take(&mut gate, failing(100, 0, 0), failing(900, 0, 0));
    waits(&gate, "0 requests on the canary and 1800 on stable, 100 needed of each");
}

#[test]
fn a_cohort_for_which_everything_fails_fails_within_20_requests() {
    for (stable, cohort) in [(0, 0), (50, 50), (1000, 0), (1000, 1000)] {
        let mut gate = gate(Counts::of(stable), Counts::of(cohort));
        let failed = (1..=100).find(|_| {
            take(&mut gate, failing(1, 1, 1), failing(9, 0, 0));
            matches!(gate.verdict(), Verdict::Fail(_))
        });
        assert!(failed <= Some(20) && failed.is_some(), "{stable} {cohort}: {failed:?}");
    }
}

#[test]
fn nobody_is_blamed_for_what_fails_for_everybody_at_the_moment() {
    let mut gate = gate(Counts::default(), Counts::default());
    for _ in 0..100 {
        take(&mut gate, failing(1, 1, 1), failing(9, 9, 9));
    }
    assert!(matches!(gate.verdict(), Verdict::Wait(_)), "{:?}", gate.verdict());
}

#[test]
fn one_user_for_whom_everything_fails_passes_nothing_and_ends_nothing() {
    let mut one = gate(Counts::of(1000), Counts::of(1000));
    take(&mut one, failing(200, 200, 1), failing(2000, 0, 0));
    waits(
        &one,
        "200 of 200 requests of the cohort failed: of too few users to call it worse, and too many to pass",
    );
    // Who failed on stable too is no obstacle.
    let mut known = gate(Counts::of(1000), failing(1000, 900, 900));
    take(&mut known, failing(200, 180, 1), failing(2000, 0, 0));
    assert_eq!(known.verdict(), Verdict::Pass);
}

#[expect(clippy::disallowed_methods, reason = "some instant to count from: which one does not matter")]
fn some_instant() -> Instant {
    Instant::now()
}

/// Steps of 1,000 requests by a feed, the way a rollout begins them.
#[test]
fn a_feed_passes_no_step_by_the_requests_of_the_one_before() {
    let zero = Weight::ZERO;
    let stretch =
        |no, by_cohort| Stretch { no, share: zero, baseline_share: zero, begins_step: true, by_cohort };
    let at = some_instant();
    let good = |user| Ending {
        outcome: Outcome::Success,
        latency: Duration::from_millis(1),
        memory_peak_bytes: 0,
        user,
        at,
    };
    let history = Box::new(PastCounts { stable: Counts::of(1000), cohort: Counts::default() });
    let gate = Gate::new(GateSpec::default(), 1, Baseline::Concurrent(history)).unwrap();
    let feed = Feed::new(gate, stretch(0, false), Thresholds::default());
    feed.begin_stretch(stretch(1, true), Thresholds::default(), at);
    let ask = |no| {
        for _ in 0..100 {
            let ticket = feed.begin(no, Arm::Cohort, None, at);
            feed.end(ticket, &good(None));
        }
    };
    ask(1);
    assert_eq!(feed.verdict_at(at), Verdict::Pass);
    // One request of the first step is under way while the second has all that it needs.
    let late = feed.begin(1, Arm::Cohort, None, at);
    feed.begin_stretch(stretch(2, true), Thresholds::default(), at);
    ask(2);
    assert!(matches!(feed.verdict_at(at), Verdict::Wait(_)));
    feed.end(late, &good(None));
    assert_eq!(feed.verdict_at(at), Verdict::Pass);
    feed.begin_stretch(stretch(3, false), Thresholds::default(), at);
    assert!(matches!(feed.verdict_at(at), Verdict::Wait(_)), "a step without requests passes");
}
