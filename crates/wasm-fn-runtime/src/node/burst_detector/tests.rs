//! When a burst counts as over.

use super::*;

/// The seconds at which `is_over`, asked once a second with these numbers of instances.
fn ends(alive: impl IntoIterator<Item = usize>) -> Vec<u64> {
    let mut detector = BurstDetector::default();
    let seconds = (0..).zip(alive);
    seconds
        .filter(|&(now, alive)| detector.is_over(Duration::from_secs(now), alive))
        .map(|(now, _)| now)
        .collect()
}

fn phases(phases: &[(usize, usize)]) -> Vec<usize> {
    phases.iter().flat_map(|&(seconds, alive)| std::iter::repeat_n(alive, seconds)).collect()
}

#[test]
fn burst_is_over_once_when_the_load_stayed_low() {
    assert_eq!(ends(phases(&[(5, 10), (5, 1000), (100, 64)])), [20]);
}

#[test]
fn steady_and_rising_load_is_no_burst() {
    assert!(ends(phases(&[(60, 1000)])).is_empty());
    assert!(ends(0..1000).is_empty());
}

#[test]
fn load_that_comes_back_within_the_calm_is_one_burst() {
    let wave = [(5, 1000), (9, 20)];
    assert_eq!(ends(phases(&[wave, wave, [(5, 1000), (50, 20)]].concat())), [43]);
}

#[test]
fn each_burst_ends() {
    let burst = [(5, 1000), (35, 20)];
    assert_eq!(ends(phases(&[burst, burst].concat())), [15, 55]);
}

#[test]
fn a_small_fall_is_not_worth_it() {
    assert!(ends(phases(&[(5, 60), (100, 0)])).is_empty());
    assert!(ends(phases(&[(5, 1000), (100, 600)])).is_empty());
}
