//! Tests of the e-process: that it is fair, what its runs share, and what it has learnt from whom.

use super::{EProcess, HITS_MIN, PRIOR, RATIOS, RUNS_MAX, Run, hits_needed, start_weight};

/// The e-value of the first run after `hits` and `misses`, without its part of alpha.
fn e(hits: u64, misses: u64, odds: f64) -> f64 {
    let mut process = EProcess::default();
    process.update(odds, |_| (hits, misses));
    process.log_e().exp() / start_weight(0)
}

#[test]
fn prior_weights_add_up_to_one() {
    assert!((PRIOR.iter().sum::<f64>() - 1.0).abs() < 1e-12);
    assert!(RATIOS.iter().all(|&ratio| ratio > 1.0));
}

#[test]
fn parts_of_all_runs_add_up_to_one_at_most() {
    let sum: f64 = (0..1_000_000).map(start_weight).sum();
    assert!(sum <= 1.0 && sum > 0.999_99, "{sum}");
    assert!((0..1000).all(|start| start_weight(start) > start_weight(start + 1)));
}

#[test]
fn a_fair_bet_is_expected_to_return_its_stake() {
    for odds in [0.0001, 0.01, 0.12, 1.0, 30.0] {
        let hit = odds / (1.0 + odds);
        let mean = hit * e(1, 0, odds) + (1.0 - hit) * e(0, 1, odds);
        assert!((mean - 1.0).abs() < 1e-9, "odds {odds}: {mean}");
    }
}

#[test]
fn a_canary_better_than_tolerated_loses_the_bet() {
    let (odds, hit) = (0.12, 0.05);
    assert!(hit * e(1, 0, odds) + (1.0 - hit) * e(0, 1, odds) < 1.0);
}

/// The probability that a process of `trials` trials of these odds, at their null, ever reaches
/// `log_threshold`: exact, by the number of hits so far.
fn reach(odds: f64, trials: usize, log_threshold: f64) -> f64 {
    let hit = odds / (1.0 + odds);
    let (mut alive, mut reached) = (vec![1.0], 0.0);
    for trial in 1..=trials {
        let mut next = vec![0.0; trial + 1];
        for (hits, probability) in alive.iter().enumerate() {
            next[hits] += probability * (1.0 - hit);
            next[hits + 1] += probability * hit;
        }
        for (hits, probability) in next.iter_mut().enumerate().filter(|(_, probability)| **probability > 0.0)
        {
            let mut process = EProcess::default();
            process.update(odds, |_| (hits as u64, (trial - hits) as u64));
            if process.reaches(log_threshold) {
                reached += std::mem::take(probability);
            }
        }
        alive = next;
    }
    reached
}

#[test]
fn an_equal_canary_reaches_the_threshold_no_more_often_than_alpha_says() {
    for odds in [0.01, 0.12, 1.1, 9.0] {
        for alpha in [0.05, 0.001] {
            let reached = reach(odds, 150, -f64::ln(alpha));
            assert!(reached <= alpha * start_weight(0), "odds {odds}, alpha {alpha}: {reached}");
        }
    }
}

#[test]
fn batches_and_single_trials_say_the_same() {
    let mut single = EProcess::default();
    for hit in [true, false, true, true, false] {
        single.update(0.2, |_| (u64::from(hit), u64::from(!hit)));
    }
    assert!((single.log_e().exp() / start_weight(0) - e(3, 2, 0.2)).abs() < 1e-9);
}

#[test]
fn odds_without_information_change_nothing() {
    for odds in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!((e(100, 100, odds) - 1.0).abs() < 1e-12, "{odds}");
    }
}

#[test]
fn a_late_fault_is_found_though_the_past_was_good() {
    let mut process = EProcess::default();
    process.update(0.12, |_| (1_000, 100_000));
    process.restart(1);
    process.update(0.12, |_| (7, 0));
    assert!(process.reaches(1_000_f64.ln()), "{}", process.log_e());
}

#[test]
fn each_run_takes_its_own_trials() {
    let mut process = EProcess::default();
    process.restart(3);
    process.update(0.12, |run| if run == 0 { (0, 4) } else { (5, 0) });
    let hits: Vec<_> = process.runs().iter().map(|run| (run.start, run.hits)).collect();
    assert_eq!(hits, [(0, 0), (3, 5)]);
    assert!(process.runs()[0].log_e() < process.runs()[1].log_e());
}

#[test]
fn runs_are_bounded_and_the_first_stays() {
    let mut process = EProcess::default();
    (0..1_000).for_each(|start| process.restart(start));
    let starts: Vec<_> = process.runs().iter().map(|run| run.start).collect();
    assert_eq!(starts, [0, 993, 994, 995, 996, 997, 998, 999]);
    assert_eq!(starts.len(), RUNS_MAX);
    assert!(
        (process.log_e() - start_weight(0).ln()).abs() < 1e-9,
        "a new run is worth no more than the first"
    );
    process.restart(999);
    process.restart(5);
    assert_eq!(process.runs().len(), RUNS_MAX, "starts only grow");
    assert_eq!(process.runs()[RUNS_MAX - 1].start, 999);
}

#[test]
fn two_hits_are_a_coincidence_at_any_odds() {
    let mut process = EProcess::default();
    process.update(1e-9, |_| (HITS_MIN - 1, 0));
    assert!(!process.reaches(0.0) && process.log_e() > 5.0);
    process.update(1e-9, |_| (1, 0));
    assert!(process.reaches(0.0));
}

#[test]
fn hits_that_are_needed_are_those_that_reach() {
    assert_eq!(hits_needed(0, 1e-6, 5.0, 100), Some(HITS_MIN));
    for odds in [0.01, 0.122, 1.1] {
        let needed = hits_needed(0, odds, 8.0, 200).unwrap();
        let reaches = |hits| {
            let mut process = EProcess::default();
            process.update(odds, |_| (hits, 0));
            process.reaches(8.0)
        };
        assert!(reaches(needed) && (needed == HITS_MIN || !reaches(needed - 1)), "odds {odds}: {needed}");
    }
    assert!(
        hits_needed(9, 0.122, 8.0, 200) > hits_needed(0, 0.122, 8.0, 200),
        "a later run has less of alpha"
    );
    assert_eq!(hits_needed(0, 1e6, 8.0, 200), None, "a share of nearly everything says next to nothing");
}

#[test]
fn runs_are_taken_back_only_when_they_are_sound() {
    let mut process = EProcess::default();
    process.update(0.12, |_| (3, 1));
    process.restart(4);
    let from = |runs: Vec<Run>| EProcess::from_runs(runs);
    assert_eq!(from(process.runs().to_vec()), Some(process.clone()));
    assert_eq!(from(Vec::new()), None);
    let [first, second] = [&process.runs()[0], &process.runs()[1]].map(Clone::clone);
    assert_eq!(from(vec![second, first.clone()]), None);
    assert_eq!(from(vec![first.clone(), first.clone()]), None);
    assert_eq!(from(vec![Run { logs: [f64::NAN; RATIOS.len()], ..first.clone() }]), None);
    let many = (0..=RUNS_MAX).map(|start| Run { start: u32::try_from(start).unwrap(), ..first.clone() });
    assert_eq!(from(many.collect()), None);
}
