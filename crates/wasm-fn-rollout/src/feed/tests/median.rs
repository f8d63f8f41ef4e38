//! Tests of the sample that is held to the median.

use super::{super::MEDIAN_AFTER, *};

/// Canary and baseline in turn.
fn sides(request: u64) -> Arm {
    if request.is_multiple_of(2) { Arm::Canary } else { Arm::Baseline }
}

/// What the gate has taken by itself, without anybody who asks it.
fn heard(fed: &Fed) -> (Counts, Counts) {
    let evidence = fed.feed.inner().gate.evidence();
    (evidence.canary, evidence.baseline)
}

#[test]
fn all_requests_are_sampled_at_low_rates_and_the_first_of_a_second_at_high_ones() {
    // So many requests in each of four seconds, of both sides together.
    for rate in [10, 100, 500, 1_000, 10_000] {
        let fed = with_median(Baseline::Concurrent(Box::default()), 1_000);
        for request in 0..4 * rate {
            let millis = request * 1_000 / rate;
            let ticket = fed.begin(sides(hash(request)), millis);
            fed.end(ticket, Outcome::Success, millis);
        }
        let evidence = fed.evidence(4_000);
        let (canary, baseline) = (evidence.canary, evidence.baseline);
        assert_eq!(canary.requests + baseline.requests, 4 * rate);
        assert_eq!(canary.sampled + baseline.sampled, 4 * rate.min(sample::SAMPLED_MAX), "{rate}");
        assert!(canary.sampled.abs_diff(baseline.sampled) < 60, "{rate}: {canary:?} {baseline:?}");
    }
}

#[test]
fn the_sample_falls_on_both_sides_by_their_shares() {
    let fed = with_median(Baseline::Concurrent(Box::default()), 8_000);
    for request in 0..40_000 {
        let arm = if hash(request).is_multiple_of(5) { Arm::Baseline } else { Arm::Canary };
        fed.whole(arm, Outcome::Success, request / 5);
    }
    let evidence = fed.evidence(8_000);
    let (canary, baseline) = (evidence.canary.sampled, evidence.baseline.sampled);
    assert_eq!(canary + baseline, 8 * sample::SAMPLED_MAX);
    assert!(canary.abs_diff(4 * baseline) < 200, "{canary} {baseline}");
}

#[test]
fn how_a_request_ends_selects_none() {
    let fed = with_median(Baseline::Concurrent(Box::default()), 1_000);
    // By end: requests, and of them those in the sample.
    let ends = [(Outcome::Success, 1), (Outcome::Success, 9), (Outcome::Trap, 1), (Outcome::Cancelled, 9)];
    let mut seen = [(0_u32, 0_u32); 4];
    for request in 0..80_000 {
        let (millis, end) = (request / 2, usize::try_from(hash(request) >> 62).unwrap());
        let ticket = fed.begin(sides(hash(request)), millis);
        let (outcome, latency) = ends[end];
        fed.feed.end(ticket, &fed.ending(outcome, latency, millis));
        seen[end].0 += 1;
        seen[end].1 += u32::from(ticket.is_sampled());
    }
    let shares = seen.map(|(requests, sampled)| f64::from(sampled) / f64::from(requests));
    assert!(shares.iter().all(|share| (share - 0.064).abs() < 0.006), "{shares:?}");
}

#[test]
fn only_the_canary_and_a_baseline_beside_it_are_sampled() {
    let is_sampled = |fed: &Fed, arm| fed.begin(arm, 0).is_sampled();
    let beside = with_median(Baseline::Concurrent(Box::default()), 1_000);
    let arms = [Arm::Canary, Arm::Baseline, Arm::Stable, Arm::Cohort];
    assert_eq!(arms.map(|arm| is_sampled(&beside, arm)), [true, true, false, false]);
    let past = Counts::of(10_000).with(Event::AboveMedian, Bad::each(100));
    let watch = with_median(Baseline::Past(past), 10_000);
    let everybody = with_median(Baseline::Concurrent(Box::default()), 10_000);
    let nobody = with_median(Baseline::Concurrent(Box::default()), 0);
    let unknown = Fed::beside(1_000);
    for fed in [watch, everybody, nobody, unknown] {
        assert_eq!(arms.map(|arm| is_sampled(&fed, arm)), [false; 4]);
    }
    // A stretch with a baseline begins, and one without.
    beside.feed.begin_stretch(stretch(2, 10_000), median(Duration::from_millis(4)), beside.at(1));
    assert!(!beside.feed.begin(2, Arm::Canary, None, beside.at(2)).is_sampled());
    beside.feed.begin_stretch(stretch(3, 5_000), median(Duration::from_millis(4)), beside.at(3));
    assert!(beside.feed.begin(3, Arm::Canary, None, beside.at(4)).is_sampled());
}

#[test]
fn latencies_above_the_median_reach_the_gate_soon_and_close_few_epochs() {
    let fed = with_median(Baseline::Concurrent(Box::default()), 1_000);
    for request in 0..200 {
        let millis = 10 * request;
        let ticket = fed.begin(sides(request), millis);
        fed.feed.end(ticket, &fed.ending(Outcome::Success, 6, millis + 6));
        let (canary, baseline) = heard(&fed);
        let behind = request + 1 - canary.requests - baseline.requests;
        assert!(behind <= 25, "{behind} of {request}");
    }
    let (canary, baseline) = heard(&fed);
    assert_eq!(canary.bad(Event::AboveMedian).requests, canary.requests);
    assert_eq!((canary.sampled, baseline.sampled), (canary.requests, baseline.requests));
    let epochs = fed.feed.current.load(std::sync::atomic::Ordering::SeqCst);
    let most = 2 + u32::try_from(Duration::from_secs(2).as_millis() / MEDIAN_AFTER.as_millis()).unwrap();
    assert!(epochs <= most, "{epochs}");
    // What is worse goes to the gate at once.
    fed.whole(Arm::Stable, Outcome::Trap, 2_001);
    assert_eq!(fed.feed.current.load(std::sync::atomic::Ordering::SeqCst), epochs + 1);
}

#[test]
fn a_canary_that_takes_half_as_long_again_fails_by_the_median() {
    let time_to_fail = |canary: u64| {
        let fed = with_median(Baseline::Concurrent(Box::default()), 1_000);
        (0..6_000).find(|&request| {
            let arm = sides(hash(request) >> 20);
            // Around 4 ms.
            let latency = if arm == Arm::Canary { canary } else { 3 + (hash(request) >> 40) % 2 * 2 };
            let ticket = fed.begin(arm, 10 * request);
            fed.feed.end(ticket, &fed.ending(Outcome::Success, latency, 10 * request + 7));
            failed(&fed.feed.verdict())
        })
    };
    let found = time_to_fail(6);
    assert!(found.is_some_and(|requests| requests < 600), "{found:?}");
    assert_eq!(time_to_fail(4), None);
}

#[test]
fn what_says_nothing_of_its_version_is_not_in_the_sample() {
    let fed = with_median(Baseline::Concurrent(Box::default()), 1_000);
    (0..10).for_each(|_| fed.whole(Arm::Canary, Outcome::Shed, 0));
    let ends =
        [(Outcome::Success, 1), (Outcome::Success, 9), (Outcome::Cancelled, 9), (Outcome::Cancelled, 1)];
    for (outcome, latency) in ends {
        let ticket = fed.begin(Arm::Canary, 0);
        fed.feed.end(ticket, &fed.ending(outcome, latency, 10));
    }
    let taken = fed.taken(20);
    assert_eq!((taken.requests, taken.sampled, taken.bad(Event::AboveMedian)), (3, 3, Bad::each(2)));
}

#[test]
fn what_is_under_way_when_its_epoch_is_taken_is_above_the_median_and_counts_once() {
    let fed = with_median(Baseline::Concurrent(Box::default()), 1_000);
    let hanging = [Arm::Canary, Arm::Canary, Arm::Baseline].map(|arm| fed.begin(arm, 0));
    fed.whole(Arm::Stable, Outcome::Trap, 1);
    assert_eq!(fed.evidence(29_000).baseline.requests, 0);
    let above = |millis| {
        let evidence = fed.evidence(millis);
        [evidence.canary, evidence.baseline].map(|counts| (counts.sampled, counts.bad(Event::AboveMedian)))
    };
    assert_eq!(above(31_001), [(2, Bad::each(2)), (1, Bad::each(1))]);
    for ticket in hanging {
        fed.feed.end(ticket, &fed.ending(Outcome::Success, 40_000, 40_000));
    }
    assert_eq!(above(40_001), [(2, Bad::each(2)), (1, Bad::each(1))]);
    // Nobody would wait for so long.
    fed.feed.hold_to(median(WAIT_MAX), fed.at(41_000));
    assert!(!fed.begin(Arm::Canary, 42_000).is_sampled());
}
