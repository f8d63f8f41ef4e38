//! Facts about `poll_average`.

use super::*;

/// Has this thread's polls have taken `time`.
pub(crate) fn polls_took(time: Duration) {
    AVERAGE.set(PollAverage { ns: u64::try_from(time.as_nanos()).unwrap() });
}

#[test]
fn answers_wait_where_polls_are_short() {
    let check = |micros, expected| {
        polls_took(Duration::from_micros(micros));
        assert_eq!(is_short(), expected, "{micros} µs");
    };
    [(0, true), (50, true), (51, false), (10_000, false)]
        .into_iter()
        .for_each(|(micros, expected)| check(micros, expected));
}

#[test]
fn a_long_poll_counts_and_is_forgotten() {
    polls_took(Duration::ZERO);
    polled(Duration::from_millis(1));
    assert!(!is_short(), "a guest computes on this thread");
    let forgotten = (1..).find(|_| {
        polled(Duration::from_micros(10));
        is_short()
    });
    assert_eq!(forgotten, Some(8));
}

#[test]
fn the_average_of_equal_polls_is_their_length() {
    let check = |micros: u64| {
        let average =
            (0..200).fold(PollAverage { ns: 0 }, |average, _| average.and(Duration::from_micros(micros)));
        assert!(average.ns.abs_diff(micros * 1000) < 10, "{average:?} of {micros} µs");
    };
    [0, 1, 49, 51, 10_000].into_iter().for_each(check);
    assert!(PollAverage { ns: u64::MAX }.and(Duration::MAX).ns > POLL_NS_MAX);
}
