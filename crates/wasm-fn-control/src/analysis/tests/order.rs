//! Evidence counts in the order in which requests began, however they end.

use super::*;

const FAILS: Outcome = Outcome::ServerError;

#[test]
fn failures_count_once_the_requests_that_began_before_have_ended() {
    let court = court(&rollout(|_, _| ()));
    let good = heard(Side::Stable, Outcome::Success);
    let before = court.observer.begins(&good, epoch());
    court.hear(10, &heard(Side::Canary, FAILS));
    assert!(!court.observer.is_withheld() && !court.is_told());
    assert_eq!(court.analysis.report(String::new()).canary.requests, 0);
    court.observer.ends(before, &good);
    assert!(court.observer.is_withheld() && court.is_told());
    assert_eq!(court.analysis.report(String::new()).canary.failures, 10);
}

#[test]
fn request_is_waited_for_so_long_and_no_longer() {
    let court = court(&rollout(|_, _| ()));
    let before = court.observer.begins(&heard(Side::Stable, FAILS), epoch());
    let failed = |after| Observation { at: epoch() + after, ..heard(Side::Canary, FAILS) };
    court.hear(10, &failed(Duration::from_millis(1)));
    court.hear(1, &failed(WAIT_MAX - Duration::from_millis(1)));
    assert!(!court.observer.is_withheld());
    court.hear(1, &failed(WAIT_MAX + Duration::from_millis(1)));
    assert!(court.observer.is_withheld());
    // What comes later counts when it comes.
    court.observer.ends(before, &Observation { at: epoch() + 2 * WAIT_MAX, ..heard(Side::Stable, FAILS) });
    assert_eq!(court.analysis.report(String::new()).stable.failures, 1);
}

#[test]
fn request_is_waited_for_until_the_later_of_two_deadlines() {
    for (base, waits) in [(Duration::from_secs(60), true), (Duration::from_millis(300), false)] {
        let court = court_with(&rollout(|_, _| ()), |analysis| {
            analysis.with_deadlines(Duration::from_millis(300), base)
        });
        let _before = court.observer.begins(&heard(Side::Stable, FAILS), epoch());
        let failed = |after| Observation { at: epoch() + after, ..heard(Side::Canary, FAILS) };
        court.hear(10, &failed(Duration::from_millis(1)));
        court.hear(1, &failed(Duration::from_secs(59)));
        assert_ne!(court.observer.is_withheld(), waits, "{base:?}");
        court.hear(1, &failed(Duration::from_secs(62)));
        assert!(court.observer.is_withheld(), "{base:?}");
    }
}

#[test]
fn more_failures_than_there_are_stretches_of_evidence_wait_no_longer() {
    let court = court(&rollout(|_, _| ()));
    let _under_way = court.observer.begins(&heard(Side::Stable, Outcome::Success), epoch());
    let failed = |after| Observation { at: epoch() + after, ..heard(Side::Canary, FAILS) };
    court.hear(1000, &failed(Duration::from_millis(1)));
    // Others are always under way.
    let next = court.observer.begins(&heard(Side::Stable, Outcome::Success), epoch());
    assert!(!court.observer.is_withheld());
    court.hear(1, &failed(WAIT_MAX + Duration::from_millis(1)));
    assert!(court.observer.is_withheld());
    court.observer.ends(next, &heard(Side::Stable, Outcome::Success));
}

#[test]
fn version_that_fails_sooner_than_it_answers_is_no_worse() {
    // One of ten fails, at once; answers take until all of them have begun.
    let court = court(&rollout(|_, _| ()));
    let (fails, answers) = (heard(Side::Canary, FAILS), heard(Side::Canary, Outcome::Success));
    let mut under_way = Vec::new();
    for number in 0..200 {
        let stable = heard(Side::Stable, if number % 10 == 0 { FAILS } else { Outcome::Success });
        (0..9).for_each(|_| court.observer.hear_whole(&stable));
        if number % 10 == 0 {
            court.hear(1, &fails);
        } else {
            under_way.push(court.observer.begins(&answers, epoch()));
        }
    }
    assert!(!court.observer.is_withheld());
    // Whatever the order in which they end.
    under_way.drain(..).rev().for_each(|ticket| court.observer.ends(ticket, &answers));
    assert!(!court.observer.is_withheld());
    let report = court.analysis.report(String::new());
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
        let court = court(&rollout);
        let failed = heard(Side::Canary, FAILS);
        let begin = |observer: &TableObserver| (0..4).map(|_| observer.begins(&failed, epoch())).collect();
        let mut tickets: Vec<_> = if began_before { begin(&court.observer) } else { Vec::new() };
        let later = observer(&court.analysis, "50%".parse().unwrap(), None);
        court.analysis.activate(&later, Place::Step(1));
        if !began_before {
            tickets = begin(&later);
        }
        let its = if began_before { &court.observer } else { &later };
        tickets.into_iter().for_each(|ticket| its.ends(ticket, &failed));
        assert_eq!(later.is_withheld(), withheld);
        assert_eq!(court.analysis.step_requests(), if began_before { 0 } else { 4 });
    }
}

#[test]
fn requests_that_begin_by_a_table_of_before_are_left_out() {
    let court = court(&rollout(|_, _| ()));
    let later = observer(&court.analysis, "50%".parse().unwrap(), None);
    court.analysis.activate(&later, Place::Step(1));
    court.hear(100, &heard(Side::Canary, FAILS));
    assert_eq!(court.analysis.report(String::new()).canary.requests, 0);
    assert!(!court.observer.is_withheld());
    assert_eq!(court.analysis.verdict(), later.analysis.verdict());
}

#[test]
fn tables_without_end_lose_no_failure_of_requests_that_are_under_way() {
    let court = court(&rollout(|_, _| ()));
    let failed = heard(Side::Canary, FAILS);
    let under_way = court.observer.begins(&failed, epoch());
    for _ in 0..200 {
        let next = observer(&court.analysis, "50%".parse().unwrap(), None);
        court.analysis.activate(&next, Place::Step(0));
    }
    court.observer.ends(under_way, &failed);
    assert_eq!(court.analysis.report(String::new()).canary.failures, 1);
}

#[test]
fn users_who_call_before_the_step_before_is_over_are_heard() {
    let court = court(&rollout(|_, gate| gate.min_requests = 10));
    let good = heard(Side::Canary, Outcome::Success);
    let before = court.observer.begins(&good, epoch());
    let later = observer(&court.analysis, "50%".parse().unwrap(), None);
    court.analysis.activate(&later, Place::Step(1));
    later.hear_whole(&heard(Side::Stable, Outcome::Success));
    for user in 0..40 {
        later.hear_whole(&Observation { user: Some(user), ..good.clone() });
        later.hear_whole(&heard(Side::Stable, Outcome::Success));
    }
    assert!(matches!(court.analysis.verdict(), Verdict::Wait(_)), "the step before is not over");
    court.observer.ends(before, &good);
    assert_eq!(court.analysis.verdict(), Verdict::Pass);
    assert_eq!(court.analysis.step_requests(), 40);
}
