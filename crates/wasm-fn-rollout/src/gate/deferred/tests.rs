//! Tests of when a cohort's batch is judged, and by what of stable.

use super::{BATCHES_MAX, COHORT_AFTER, Counts, Deferred, STABLE_AFTER};
use crate::{Bad, Event};

fn failing(requests: u64, failed: u64) -> Counts {
    Counts::of(requests).with(Event::FailedAtAll, Bad::each(failed))
}

#[test]
fn a_batch_waits_for_some_requests_of_stable() {
    let mut deferred = Deferred::default();
    deferred.push(failing(1, 1), Vec::new(), 0.0);
    deferred.note(&failing(STABLE_AFTER - 1, 3), 1);
    assert!(deferred.pop().is_none());
    deferred.note(&failing(1, 1), 0);
    let batch = deferred.pop().unwrap();
    assert_eq!((batch.cohort, batch.stable_rate()), (failing(1, 1), 4.0 / STABLE_AFTER as f64));
    assert!(deferred.pop().is_none());
}

#[test]
fn the_worse_of_before_and_after_counts() {
    for (before, failed, expected) in [(0.9, 0, 0.9), (0.1, 10, 1.0), (0.0, 0, 0.0)] {
        let mut deferred = Deferred::default();
        deferred.push(failing(1, 1), Vec::new(), before);
        deferred.note(&failing(10, failed), 1);
        assert!((deferred.pop().unwrap().stable_rate() - expected).abs() < 1e-12);
    }
}

#[test]
fn a_stable_that_is_silent_is_not_waited_for_without_end() {
    let mut deferred = Deferred::default();
    for _ in 0..COHORT_AFTER {
        assert!(deferred.pop().is_none());
        deferred.push(failing(1, 1), Vec::new(), 0.25);
        deferred.note(&Counts::default(), 1);
    }
    assert!((deferred.pop().unwrap().stable_rate() - 0.25).abs() < 1e-12);
    assert!(deferred.pop().is_none());
}

#[test]
fn batches_that_wait_have_a_bound() {
    let mut deferred = Deferred::default();
    for _ in 0..1_000 {
        deferred.push(Counts::default(), vec![(7, Event::FailedAtAll)], 0.0);
        deferred.note(&Counts::default(), 0);
        while deferred.pop().is_some() {}
        assert!(deferred.batches.len() <= BATCHES_MAX);
    }
}
