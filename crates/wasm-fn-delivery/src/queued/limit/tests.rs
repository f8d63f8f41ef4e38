//! Tests for `limit`.

use super::*;

#[test]
fn a_refusal_halves_the_limit_once_for_all_that_began_under_it() {
    let mut limit = AdaptiveLimit::new(16);
    (0..16).for_each(|_| limit.refused());
    assert_eq!(limit.get(), 8);
    (0..8).for_each(|_| limit.refused());
    assert_eq!(limit.get(), 4);
    (0..100).for_each(|_| limit.refused());
    assert_eq!(limit.get(), 1, "one message always goes on trying");
}

#[test]
fn messages_that_are_taken_raise_it_up_to_its_bound() {
    let mut limit = AdaptiveLimit::new(4);
    (0..20).for_each(|_| limit.refused());
    let mut taken = 0;
    while limit.get() < 4 {
        limit.succeeded();
        taken += 1;
    }
    assert!((4..=12).contains(&taken), "{taken}");
    (0..100).for_each(|_| limit.succeeded());
    assert_eq!(limit.get(), 4);
    assert_eq!(AdaptiveLimit::new(0).get(), 1);
}
