//! Facts about the vote.

use super::*;

/// What is told of `samples` keys, the `n`th of which is `key(n)`.
fn told(samples: u64, key: impl Fn(u64) -> u64) -> Vec<u32> {
    let crowd = KeySkew::default();
    (0..samples).filter_map(|n| crowd.sample(key(n))).collect()
}

#[test]
fn one_key_is_told_once_a_window() {
    assert_eq!(told(124, |_| 7), []);
    assert_eq!(told(125, |_| 7), [100]);
    assert_eq!(told(500, |_| 7), [100; 4]);
}

#[test]
fn many_keys_are_no_crowd() {
    assert_eq!(told(100_000, |n| n % 40), []);
    assert_eq!(told(100_000, |n| n), [], "each key once");
    assert_eq!(told(100_000, |n| n % 2), [], "half each");
}

#[test]
fn only_more_than_four_fifths_are_most() {
    assert_eq!(told(1000, |n| if n % 5 == 4 { n } else { 0 }), [], "four of five");
    assert_eq!(told(125, |n| if n % 10 == 9 { n } else { 0 }), [90]);
    // The others come first, and cost the key a few votes.
    assert_eq!(told(125, |n| if n < 12 { n + 1 } else { 0 }), [90]);
}

#[test]
fn share_is_told_at_a_sample_of_the_key_that_has_it() {
    let crowd = KeySkew::default();
    assert!((0..124).all(|_| crowd.sample(7).is_none()));
    assert_eq!(crowd.sample(8), None, "the window is full, but this is another's");
    assert_eq!(crowd.sample(7), Some(99));
}

#[test]
fn sample_is_left_out_while_another_is_counted() {
    let crowd = KeySkew::default();
    let counting = crowd.0.lock().unwrap();
    assert_eq!(crowd.sample(7), None);
    assert_eq!(counting.samples, 0);
}
