//! When keys are used, and when they are fetched.

use super::*;

const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;

#[test]
fn keys_are_used_fetched_and_given_up_by_their_age() {
    let now = 1_000 * HOUR;
    let ago = |time_ms: u64| Some(now - time_ms);
    let none = Fetches::default();
    let tried = |time_ms| Fetches { tried_ms: ago(time_ms), ..Fetches::default() };
    let missed = |time_ms| Fetches { missed_ms: ago(time_ms), ..tried(time_ms) };
    let failed = |fetches: Fetches| Fetches { failure: Some("down".to_owned()), ..fetches };
    let table = [
        // No keys: ask, but not all the time.
        (None, false, none.clone(), Plan::Seek),
        (None, false, failed(tried(9_999)), Plan::Unknown),
        (None, false, failed(tried(10_000)), Plan::Seek),
        // A known key.
        (Some(0), true, none.clone(), Plan::Use),
        (Some(HOUR - 1), true, none.clone(), Plan::Use),
        (Some(HOUR), true, none.clone(), Plan::Renew),
        (Some(HOUR), true, failed(tried(MINUTE - 1)), Plan::Use),
        (Some(HOUR), true, failed(tried(MINUTE)), Plan::Renew),
        (Some(24 * HOUR - 1), true, failed(tried(1)), Plan::Use),
        (Some(24 * HOUR), true, failed(tried(1)), Plan::Unknown),
        (Some(24 * HOUR), true, failed(tried(10_000)), Plan::Seek),
        // An unknown key: one fetch a minute, also just after the first.
        (Some(0), false, tried(0), Plan::Seek),
        (Some(0), false, missed(0), Plan::Refuse),
        (Some(0), false, missed(MINUTE - 1), Plan::Refuse),
        (Some(0), false, missed(MINUTE), Plan::Seek),
        (Some(0), false, failed(missed(1)), Plan::Unknown),
    ];
    for (age_ms, has, fetches, expected) in table {
        assert_eq!(plan(age_ms, has, &fetches, now), expected, "{age_ms:?} {has} {fetches:?}");
    }
}

#[test]
fn clock_that_goes_back_does_not_cause_fetches() {
    let fetches = Fetches { tried_ms: Some(HOUR), missed_ms: Some(HOUR), failure: None };
    assert_eq!(plan(Some(0), false, &fetches, HOUR - 1), Plan::Refuse);
}
