//! What is compared with the past: versions that everybody has.

use super::*;

/// How long slow responses of one cause follow one another.
const SECOND: Duration = Duration::from_secs(1);

/// A version that everybody has since `base` did so much.
fn watched(base: Arc<Tally>, change: impl FnOnce(&mut GateSpec)) -> Fixture {
    let mut watched = rollout(|_, gate| change(gate));
    watched.phase = Phase::Running { place: Place::Watch, since: Time(0) };
    watched.past = Some(super::past(watched.spec.gate(), &base.snapshot()));
    fixture_after(&watched, Before { base, ..Before::default() })
}

/// A base that is slow in one of so many.
fn base(good: u64, slow: u64) -> Arc<Tally> {
    let base = Before::good(good, 0).base;
    (0..slow).for_each(|_| base.record(taking(SLOW, observation(Side::Stable, Outcome::Success)).record));
    base
}

/// Whether a version that everybody has is taken back for slow responses, one each so much after the other.
fn taken_back(responses: u32, apart: Duration, change: impl FnOnce(&mut GateSpec)) -> bool {
    let fixture = watched(base(10_000, 60), change);
    for number in 0..responses {
        let slow = taking(SLOW, observation(Side::Canary, Outcome::Success));
        fixture.observe(1, &Observation { at: slow.at + apart * number, ..slow });
    }
    fixture.observer.is_withheld()
}

#[test]
fn one_stall_of_the_machine_takes_nothing_back_and_slowness_does() {
    let none = |_: &mut GateSpec| ();
    assert!(!taken_back(1000, Duration::ZERO, none));
    assert!(!taken_back(1000, SECOND / 1000, none));
    let moments = (1..30).find(|&moments| taken_back(moments, SECOND, none));
    assert!(moments.is_some_and(|moments| (3..8).contains(&moments)), "{moments:?}");
    assert!(taken_back(10_000, SECOND / 1000, none));
}

#[test]
fn one_stall_is_no_breach_of_a_ceiling() {
    let only_ceiling = |gate: &mut GateSpec| {
        *gate = GateSpec { max_latency_p99: Some(SLOW / 2), latency_p99: None, ..gate.clone() };
    };
    assert!(!taken_back(1000, Duration::ZERO, only_ceiling));
    assert!(taken_back(10, SECOND, only_ceiling));
}

#[test]
fn version_that_fails_for_everybody_is_taken_back_by_the_past() {
    let fixture = watched(base(1000, 0), |_| ());
    let found = fixture.withheld_after(&observation(Side::Canary, Outcome::Trap)).unwrap();
    assert!((3..10).contains(&found), "{found}");
    let report = fixture.analysis.report(String::new());
    assert_eq!((report.baseline.as_str(), report.stable.requests), ("past", 1000));
    // Without a past there is the floor.
    let unknown = watched(Arc::default(), |_| ());
    assert_eq!(unknown.withheld_after(&observation(Side::Canary, Outcome::Trap)), Some(20));
}

#[test]
fn version_that_is_as_it_was_before_is_not_taken_back() {
    let before = base(980, 0);
    (0..20).for_each(|_| before.record(ended(Outcome::ServerError)));
    let fixture = watched(before, |_| ());
    for number in 0..2000 {
        let outcome = if number % 50 == 0 { Outcome::ServerError } else { Outcome::Success };
        fixture.observe(1, &observation(Side::Canary, outcome));
    }
    assert!(!fixture.observer.is_withheld());
    assert_eq!(fixture.analysis.verdict(), Verdict::Pass);
}

#[test]
fn canary_is_compared_with_the_past_while_stable_has_nobody() {
    let fixture = fixture_after(&rollout(|_, _| ()), Before::good(1000, 0));
    let all = observer(&fixture.analysis, Weight::FULL, None);
    fixture.analysis.activate(&all, Place::Step(1));
    let failed = observation(Side::Canary, Outcome::ServerError);
    let found = (1..100).find(|_| {
        all.hear_whole(&failed);
        all.is_withheld()
    });
    assert!(found.is_some_and(|found| (3..10).contains(&found)), "{found:?}");
    assert_eq!(fixture.analysis.report(String::new()).baseline, "alone");
}

#[test]
fn past_has_the_same_failures_and_as_many_slow_answers_as_the_tally() {
    let tally = Tally::new();
    (0..990).for_each(|_| tally.record(ended(Outcome::Success)));
    let slow = InvocationRecord { latency: Duration::from_secs(1), ..ended(Outcome::Trap) };
    (0..5).for_each(|_| tally.record(slow));
    let counts = super::past(&GateSpec::default(), &tally.snapshot());
    assert_eq!(counts.requests, 995);
    assert_eq!(counts.bad(Event::FailedAtAll), Bad::each(5));
    assert_eq!(counts.bad(Event::Failed(Class::Trap)), Bad::each(5));
    assert_eq!(counts.bad(Event::Slow), Bad::each(5));
}
