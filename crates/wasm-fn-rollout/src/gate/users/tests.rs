//! Tests of who counts, and of the bound.

use super::{UserSeen, UserSet};
use crate::{Class, Event};

#[test]
fn each_event_of_a_user_tells_in_which_run_it_happened_last() {
    let mut users = UserSet::new(10);
    for event in [Event::Failed(Class::Trap), Event::FailedAtAll, Event::Slow, Event::OverCeiling] {
        assert_eq!(users.take(7, event, 0), UserSeen::First);
        assert_eq!(users.take(7, event, 0), UserSeen::Since(0));
        assert_eq!(users.take(7, event, 3), UserSeen::Since(0));
        assert_eq!(users.take(7, event, 3), UserSeen::Since(3));
        assert_eq!(users.take(8, event, 3), UserSeen::First);
    }
    assert_eq!(users.len(), 2);
}

#[test]
fn runs_beyond_the_largest_number_that_is_kept_count_nobody_anew() {
    let mut users = UserSet::new(10);
    assert_eq!(users.take(7, Event::Slow, 1_000_000), UserSeen::First);
    assert_eq!(users.take(7, Event::Slow, 2_000_000), UserSeen::Since(u32::from(u16::MAX) - 1));
}

#[test]
fn any_number_of_users_is_held_within_the_bound() {
    let mut users = UserSet::new(100);
    let counted = (0..100_000).filter(|&user| users.take(user, Event::Slow, 0) == UserSeen::First).count();
    assert!(users.len() <= 100 && users.len() > 20, "{}", users.len());
    assert!((100..2_000).contains(&counted), "{counted}");
    let sampled =
        (0..100_000).filter(|&user| users.take(user, Event::Slow, 0) != UserSeen::Unsampled).count();
    assert!(users.len() <= 100 && sampled < 2_000, "{sampled}");
}

#[test]
fn who_is_sampled_does_not_depend_on_the_side() {
    let mut users = UserSet::new(50);
    let canary = |user: u64| user.leading_zeros() >= 1;
    let spread = |user: u64| user.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (0..100_000).for_each(|user| _ = users.take(spread(user), Event::Slow, 0));
    let on_canary = users.seen.keys().filter(|&&user| canary(user)).count();
    assert!((8..=42).contains(&on_canary), "{on_canary} of {}", users.len());
}

#[test]
fn a_set_of_one_does_not_loop() {
    let mut users = UserSet::new(0);
    (0..1_000).for_each(|user| _ = users.take(user, Event::Slow, 0));
    assert!(users.len() <= 1 && (users.is_empty() || users.len() == 1));
}
