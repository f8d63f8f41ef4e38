//! Tests for `delivery`.

use std::num::NonZeroU32;

use proptest::{prelude::*, test_runner::RngSeed};

use super::*;

const NOW: Timestamp = Timestamp::from_unix_seconds(784_111_777);

fn response(status: u16) -> Disposition {
    let status = StatusCode::from_u16(status).unwrap();
    Answer::Response { status, retry_after: None }.disposition(NOW)
}

#[track_caller]
fn check_wait(retry_after: &str, seconds: Option<u64>) {
    let answer = Answer::Response { status: StatusCode::SERVICE_UNAVAILABLE, retry_after: Some(retry_after) };
    let expected = Disposition::Retry { after: seconds.map(Duration::from_secs) };
    assert_eq!(answer.disposition(NOW), expected, "{retry_after:?}");
}

#[test]
fn every_status_has_its_disposition() {
    let retried = [408, 425, 429];
    for status in 100..=999 {
        let expected = match status {
            200..=299 => Disposition::Acknowledge,
            500..=599 => Disposition::Retry { after: None },
            _ if retried.contains(&status) => Disposition::Retry { after: None },
            _ => {
                let status = StatusCode::from_u16(status).unwrap();
                Disposition::DeadLetter { reason: DeadLetterReason::Refused { status } }
            }
        };
        assert_eq!(response(status), expected, "{status}");
    }
}

#[test]
fn every_end_without_a_response_is_retried() {
    for outcome in Outcome::ALL {
        let expected = Disposition::Retry { after: None };
        assert_eq!(Answer::NoResponse(outcome).disposition(NOW), expected, "{outcome}");
    }
}

#[test]
fn every_row_of_the_table_is_reached() {
    for (index, rule) in DISPOSITIONS.iter().enumerate() {
        let answer = match &rule.answers {
            AnswerPattern::Status(statuses) => Answer::Response {
                status: StatusCode::from_u16(*statuses.start()).unwrap(),
                retry_after: None,
            },
            AnswerPattern::NoResponse(outcome) => Answer::NoResponse(*outcome),
        };
        let first = DISPOSITIONS.iter().position(|rule| rule.answers.has(&answer));
        assert_eq!(first, Some(index), "{}", rule.answers);
    }
}

#[test]
fn retry_after_is_seconds_or_a_date_within_bounds() {
    check_wait("0", Some(0));
    check_wait("120", Some(120));
    check_wait(" 120 ", Some(120));
    check_wait("99999999999999999999999999", Some(6 * 3600));
    check_wait("Sun, 06 Nov 1994 08:51:37 GMT", Some(120));
    check_wait("Sun, 06 Nov 1994 08:00:00 GMT", Some(0));
    check_wait("Sat, 06 Nov 2094 08:00:00 GMT", Some(6 * 3600));
    for malformed in ["", "soon", "-1", "1.5", "+5", "10 s"] {
        check_wait(malformed, None);
    }
}

#[test]
fn refused_events_are_not_held_back_by_retry_after() {
    let answer = Answer::Response { status: StatusCode::NOT_FOUND, retry_after: Some("10") };
    let reason = DeadLetterReason::Refused { status: StatusCode::NOT_FOUND };
    assert_eq!(answer.disposition(NOW), Disposition::DeadLetter { reason });
    assert_eq!(reason.to_string(), "the function refused it with status 404");
}

#[test]
fn default_backoff_doubles_from_a_second_to_an_hour() {
    let policy = RetryPolicy::default();
    let seconds = |attempt| policy.backoff(attempt).as_secs();
    assert_eq!([1, 2, 3, 4, 12].map(seconds), [1, 2, 4, 8, 2048]);
    assert_eq!([13, 20, 64, u32::MAX].map(seconds), [3600; 4]);
    let slowest = RetryOptions { backoff_max: BACKOFF_MAX_MAX, ..RetryOptions::default() };
    assert_eq!(RetryPolicy::new(slowest).unwrap().backoff(u32::MAX), BACKOFF_MAX_MAX);
}

#[test]
fn jitter_is_full() {
    let policy = RetryPolicy::default();
    let wait = |draw| match policy.next(3, draw, NOW, NOW, None) {
        Next::At(at) => at.since(NOW).as_millis(),
        Next::GiveUp(reason) => panic!("{reason}"),
    };
    assert_eq!([0, 1 << 62, 1 << 63, u64::MAX].map(wait), [0, 1000, 2000, 4000]);
}

#[test]
fn next_delivery_comes_after_the_wait_that_was_asked_for() {
    let policy = RetryPolicy::default();
    let after = Duration::from_secs(60);
    let next = policy.next(1, 1 << 63, NOW, NOW, Some(after));
    assert_eq!(next, Next::At(NOW.saturating_add(Duration::from_millis(60_500))));
}

#[test]
fn events_are_given_up_by_attempts_and_by_age() {
    let policy = RetryPolicy::default();
    assert!(matches!(policy.next(19, 0, NOW, NOW, None), Next::At(_)));
    let attempts = DeadLetterReason::Attempts { attempts: 20 };
    assert_eq!(policy.next(20, 0, NOW, NOW, None), Next::GiveUp(attempts));
    assert_eq!(attempts.to_string(), "it was delivered 20 times, as often as allowed");

    let day = Duration::from_secs(24 * 3600);
    let end = NOW.saturating_add(day);
    let age = DeadLetterReason::Age { age_max: day };
    assert_eq!(policy.next(1, 0, end, NOW, None), Next::At(end));
    assert_eq!(policy.next(1, 1 << 63, end, NOW, None), Next::GiveUp(age));
    assert_eq!(policy.next(1, 0, end, NOW, Some(Duration::from_secs(1))), Next::GiveUp(age));
    assert_eq!(age.to_string(), "the next delivery would have come more than 86400 s after it");
}

#[test]
fn numbers_out_of_bounds_are_no_policy() {
    #[track_caller]
    fn check(change: impl FnOnce(&mut RetryOptions), text: &str) {
        let mut options = RetryOptions::default();
        change(&mut options);
        assert_eq!(RetryPolicy::new(options).unwrap_err().to_string(), text);
    }
    let (ms, seconds) = (Duration::from_millis, Duration::from_secs);
    check(
        |options| options.attempts_max = NonZeroU32::MAX,
        "4294967295 attempts are too many, expected at most 1000",
    );
    check(
        |options| options.age_max = seconds(1_209_601),
        "an age of 1209601 s is too long, expected at most 1209600 s",
    );
    check(
        |options| options.backoff_min = ms(99),
        "a first backoff of 99 ms is too short, expected at least 100 ms",
    );
    check(
        |options| options.backoff_max = seconds(86_401),
        "a longest backoff of 86401 s is too long, expected at most 86400 s",
    );
    check(
        |options| options.backoff_max = ms(500),
        "the longest backoff, 500 ms, is shorter than the first, 1000 ms",
    );
}

proptest! {
    #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(1), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn waits_stay_within_the_backoff_and_the_age(
        attempt in 1_u32..30,
        draw: u64,
        age_s in 0_u64..100_000,
        after_s in proptest::option::of(0_u64..30_000),
    ) {
        let policy = RetryPolicy::default();
        let now = NOW.saturating_add(Duration::from_secs(age_s));
        let after = after_s.map(Duration::from_secs);
        match policy.next(attempt, draw, now, NOW, after) {
            Next::At(at) => {
                prop_assert!(attempt < 20);
                prop_assert!(at >= now.saturating_add(after.unwrap_or_default()));
                prop_assert!(at.since(now) <= after.unwrap_or_default() + policy.backoff(attempt));
                prop_assert!(at.since(NOW) <= policy.options().age_max);
            }
            Next::GiveUp(DeadLetterReason::Attempts { attempts }) => prop_assert!(attempts >= 20),
            Next::GiveUp(reason) => {
                prop_assert_eq!(reason, DeadLetterReason::Age { age_max: policy.options().age_max });
                let latest = after.unwrap_or_default() + policy.backoff(attempt);
                prop_assert!(Duration::from_secs(age_s) + latest > policy.options().age_max);
            }
        }
    }
}

#[test]
fn the_documentation_has_the_table_of_dispositions() {
    let page = include_str!("../../../../docs/how-to/events.md");
    let table = page.split("| answer | what is done | because |\n| --- | --- | --- |\n").nth(1).unwrap();
    let rows: Vec<_> = table.lines().take_while(|line| line.starts_with('|')).collect();
    let expected = DISPOSITIONS.iter().map(|rule| {
        let DispositionRule { answers, kind, because } = rule;
        format!("| {answers} | {} | {because} |", kind.as_str())
    });
    assert_eq!(rows, expected.collect::<Vec<_>>());
}
