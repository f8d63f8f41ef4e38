//! Evidence counts in the order in which requests began, however they end.

use super::*;

const FAILS: Outcome = Outcome::ServerError;

#[test]
fn failures_count_once_the_requests_that_began_before_have_ended() {
    let fixture = fixture(&rollout(|_, _| ()));
    let good = observation(Side::Stable, Outcome::Success);
    let before = fixture.observer.begins(&good, epoch());
    fixture.observe(10, &observation(Side::Canary, FAILS));
    assert!(!fixture.observer.is_withheld() && !fixture.is_told());
    assert_eq!(fixture.analysis.report(String::new()).canary.requests, 0);
    fixture.observer.ends(before, &good);
    assert!(fixture.observer.is_withheld() && fixture.is_told());
    assert_eq!(fixture.analysis.report(String::new()).canary.failures, 10);
}

#[test]
fn request_is_waited_for_so_long_and_no_longer() {
    let fixture = fixture(&rollout(|_, _| ()));
    let before = fixture.observer.begins(&observation(Side::Stable, FAILS), epoch());
    let failed = |after| Observation { at: epoch() + after, ..observation(Side::Canary, FAILS) };
    fixture.observe(10, &failed(Duration::from_millis(1)));
    fixture.observe(1, &failed(WAIT_MAX - Duration::from_millis(1)));
    assert!(!fixture.observer.is_withheld());
    fixture.observe(1, &failed(WAIT_MAX + Duration::from_millis(1)));
    assert!(fixture.observer.is_withheld());
    // What comes later counts when it comes.
    fixture
        .observer
        .ends(before, &Observation { at: epoch() + 2 * WAIT_MAX, ..observation(Side::Stable, FAILS) });
    assert_eq!(fixture.analysis.report(String::new()).stable.failures, 1);
}

#[test]
fn request_is_waited_for_until_the_later_of_two_deadlines() {
    for (base, waits) in [(Duration::from_secs(60), true), (Duration::from_millis(300), false)] {
        let fixture = fixture_with(&rollout(|_, _| ()), |analysis| {
            analysis.with_deadlines(Duration::from_millis(300), base)
        });
        let _before = fixture.observer.begins(&observation(Side::Stable, FAILS), epoch());
        let failed = |after| Observation { at: epoch() + after, ..observation(Side::Canary, FAILS) };
        fixture.observe(10, &failed(Duration::from_millis(1)));
        fixture.observe(1, &failed(Duration::from_secs(59)));
        assert_ne!(fixture.observer.is_withheld(), waits, "{base:?}");
        fixture.observe(1, &failed(Duration::from_secs(62)));
        assert!(fixture.observer.is_withheld(), "{base:?}");
    }
}

#[test]
fn more_failures_than_there_are_stretches_of_evidence_wait_no_longer() {
    let fixture = fixture(&rollout(|_, _| ()));
    let _under_way = fixture.observer.begins(&observation(Side::Stable, Outcome::Success), epoch());
    let failed = |after| Observation { at: epoch() + after, ..observation(Side::Canary, FAILS) };
    fixture.observe(1000, &failed(Duration::from_millis(1)));
    // Others are always under way.
    let next = fixture.observer.begins(&observation(Side::Stable, Outcome::Success), epoch());
    assert!(!fixture.observer.is_withheld());
    fixture.observe(1, &failed(WAIT_MAX + Duration::from_millis(1)));
    assert!(fixture.observer.is_withheld());
    fixture.observer.ends(next, &observation(Side::Stable, Outcome::Success));
}

#[test]
fn version_that_fails_sooner_than_it_answers_is_no_worse() {
    // One of ten fails, at once; answers take until all of them have begun.
    let fixture = fixture(&rollout(|_, _| ()));
    let (fails, answers) = (observation(Side::Canary, FAILS), observation(Side::Canary, Outcome::Success));
    let mut under_way = Vec::new();
    for number in 0..200 {
        let stable = observation(Side::Stable, if number % 10 == 0 { FAILS } else { Outcome::Success });
        (0..9).for_each(|_| fixture.observer.hear_whole(&stable));
        if number % 10 == 0 {
            fixture.observe(1, &fails);
        } else {
            under_way.push(fixture.observer.begins(&answers, epoch()));
        }
    }
    assert!(!fixture.observer.is_withheld());
    // Whatever the order in which they end.
    under_way.drain(..).rev().for_each(|ticket| fixture.observer.ends(ticket, &answers));
    assert!(!fixture.observer.is_withheld());
    let report = fixture.analysis.report(String::new());
    assert_eq!((report.canary.requests, report.canary.failures), (200, 20));
    assert_eq!((report.stable.requests, report.stable.failures), (1800, 180));
}

#[test]
fn requests_count_under_the_share_that_they_began_under() {
    let rollout = rollout(|plan, _| {
        plan.strategy =
            rollout::Strategy::Canary { steps: vec!["1%".parse().unwrap(), "50%".parse().unwrap()] };
    });
    // Four failures in a row are a wonder at a hundredth, and none at a half.
    for (began_before, withheld) in [(true, true), (false, false)] {
        let fixture = fixture(&rollout);
        let failed = observation(Side::Canary, FAILS);
        let begin = |observer: &TableObserver| (0..4).map(|_| observer.begins(&failed, epoch())).collect();
        let mut tickets: Vec<_> = if began_before { begin(&fixture.observer) } else { Vec::new() };
        let later = observer(&fixture.analysis, "50%".parse().unwrap(), None);
        fixture.analysis.activate(&later, Place::Step(1));
        if !began_before {
            tickets = begin(&later);
        }
        let its = if began_before { &fixture.observer } else { &later };
        tickets.into_iter().for_each(|ticket| its.ends(ticket, &failed));
        assert_eq!(later.is_withheld(), withheld);
        assert_eq!(fixture.analysis.step_requests(), if began_before { 0 } else { 4 });
    }
}

#[test]
fn requests_that_begin_by_a_table_of_before_are_left_out() {
    let fixture = fixture(&rollout(|_, _| ()));
    let later = observer(&fixture.analysis, "50%".parse().unwrap(), None);
    fixture.analysis.activate(&later, Place::Step(1));
    fixture.observe(100, &observation(Side::Canary, FAILS));
    assert_eq!(fixture.analysis.report(String::new()).canary.requests, 0);
    assert!(!fixture.observer.is_withheld());
    assert_eq!(fixture.analysis.verdict(), later.analysis.verdict());
}

#[test]
fn tables_without_end_lose_no_failure_of_requests_that_are_under_way() {
    let fixture = fixture(&rollout(|_, _| ()));
    let failed = observation(Side::Canary, FAILS);
    let under_way = fixture.observer.begins(&failed, epoch());
    for _ in 0..200 {
        let next = observer(&fixture.analysis, "50%".parse().unwrap(), None);
        fixture.analysis.activate(&next, Place::Step(0));
    }
    fixture.observer.ends(under_way, &failed);
    assert_eq!(fixture.analysis.report(String::new()).canary.failures, 1);
}

#[test]
fn users_who_call_before_the_step_before_is_over_are_heard() {
    let fixture = fixture(&rollout(|_, gate| gate.min_requests = 10));
    let good = observation(Side::Canary, Outcome::Success);
    let before = fixture.observer.begins(&good, epoch());
    let later = observer(&fixture.analysis, "50%".parse().unwrap(), None);
    fixture.analysis.activate(&later, Place::Step(1));
    later.hear_whole(&observation(Side::Stable, Outcome::Success));
    for user in 0..40 {
        later.hear_whole(&Observation { user: Some(user), ..good.clone() });
        later.hear_whole(&observation(Side::Stable, Outcome::Success));
    }
    assert!(matches!(fixture.analysis.verdict(), Verdict::Wait(_)), "the step before is not over");
    fixture.observer.ends(before, &good);
    assert_eq!(fixture.analysis.verdict(), Verdict::Pass);
    assert_eq!(fixture.analysis.step_requests(), 40);
}
