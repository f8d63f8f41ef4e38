//! Tests of the e-process: that it is fair, and what it has learnt from whom.

use super::{EProcess, PRIOR, RATIOS, RUNS_MAX};

/// The e-value after `hits` of `trials` trials.
fn e(hits: u64, misses: u64, odds: f64) -> f64 {
    let mut process = EProcess::default();
    process.update(hits, misses, odds);
    process.log_e().exp()
}

#[test]
fn prior_weights_add_up_to_one() {
    assert!((PRIOR.iter().sum::<f64>() - 1.0).abs() < 1e-12);
    assert!(RATIOS.iter().all(|&ratio| ratio > 1.0));
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

#[test]
fn batches_and_single_trials_say_the_same() {
    let mut single = EProcess::default();
    for hit in [true, false, true, true, false] {
        single.update(u64::from(hit), u64::from(!hit), 0.2);
    }
    assert!((single.log_e().exp() - e(3, 2, 0.2)).abs() < 1e-9);
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
    process.update(1_000, 100_000, 0.12);
    process.restart();
    process.update(7, 0, 0.12);
    assert!(process.log_e() > 1_000_f64.ln(), "{}", process.log_e());
}

#[test]
fn starts_are_bounded_and_never_worth_more_than_everything() {
    let mut process = EProcess::default();
    (0..1_000).for_each(|_| process.restart());
    assert_eq!(process.logs().len(), RUNS_MAX);
    assert!(process.log_e().abs() < 1e-9);
}

#[test]
fn logs_are_taken_back_only_when_they_are_sound() {
    let mut process = EProcess::default();
    process.update(3, 1, 0.12);
    assert_eq!(EProcess::from_logs(process.logs().to_vec()), Some(process));
    assert_eq!(EProcess::from_logs(Vec::new()), None);
    assert_eq!(EProcess::from_logs(vec![[f64::NAN; RATIOS.len()]]), None);
    assert_eq!(EProcess::from_logs(vec![[0.0; RATIOS.len()]; RUNS_MAX + 1]), None);
}
