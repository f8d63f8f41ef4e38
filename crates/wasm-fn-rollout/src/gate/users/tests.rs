//! Tests of who counts, and of the bound.

use super::UserSet;
use crate::{Class, Event};

#[test]
fn each_event_counts_once_for_a_user() {
    let mut users = UserSet::new(10);
    for event in [Event::Failed(Class::Trap), Event::FailedAtAll, Event::Slow, Event::OverCeiling] {
        assert!(users.counts(7, event));
        assert!(!users.counts(7, event));
        assert!(users.counts(8, event));
    }
    assert_eq!(users.len(), 2);
}

#[test]
fn any_number_of_users_is_held_within_the_bound() {
    let mut users = UserSet::new(100);
    let counted = (0..100_000).filter(|&user| users.counts(user, Event::Slow)).count();
    assert!(users.len() <= 100 && users.len() > 20, "{}", users.len());
    assert!((100..2_000).contains(&counted), "{counted}");
    assert!((0..100_000).all(|user| !users.counts(user, Event::Slow) || users.len() <= 100));
}

#[test]
fn who_is_sampled_does_not_depend_on_the_side() {
    let mut users = UserSet::new(50);
    let canary = |user: u64| user.leading_zeros() >= 1;
    let spread = |user: u64| user.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (0..100_000).for_each(|user| _ = users.counts(spread(user), Event::Slow));
    let on_canary = users.seen.keys().filter(|&&user| canary(user)).count();
    assert!((8..=42).contains(&on_canary), "{on_canary} of {}", users.len());
}

#[test]
fn a_set_of_one_does_not_loop() {
    let mut users = UserSet::new(0);
    (0..1_000).for_each(|user| _ = users.counts(user, Event::Slow));
    assert!(users.len() <= 1 && (users.is_empty() || users.len() == 1));
}
