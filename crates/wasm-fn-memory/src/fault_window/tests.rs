//! When a guest is vouched for. The tests run beside others, whose guests may move at any time: what has to
//! hold whenever nothing happened is tried until it does.

use std::{hint::black_box, thread};

use super::*;
use crate::ThreadAffinity;

const TRIES: usize = 100_000;

#[test]
fn a_window_on_one_thread_that_does_not_fault_is_vouched_for() {
    // Nothing is known of a thread before its faults were counted once.
    assert!(thread::spawn(|| !FaultWindow::begin().end()).join().unwrap());
    assert!((0..TRIES).any(|_| FaultWindow::begin().end()));
}

#[test]
fn this_kernel_counts() {
    assert!(faults_are_counted().unwrap());
}

#[test]
fn a_fault_ends_it() {
    let area = Area::reserve(page_bytes() * TRIES).unwrap();
    let range = area.start()..area.start() + page_bytes() * TRIES;
    area.open(&range).unwrap();
    for page in range.step_by(page_bytes()).take(1000) {
        FaultWindow::begin().end();
        let window = FaultWindow::begin();
        area.zero(&black_box(page..page + 1));
        assert!(!window.end());
    }
}

#[test]
fn a_window_that_ends_on_another_thread_is_not_vouched_for() {
    let pages = 10_000;
    let area = Area::reserve(page_bytes() * 3 * pages).unwrap();
    let range = area.start()..area.start() + page_bytes() * 3 * pages;
    area.open(&range).unwrap();
    let mut fresh = range.step_by(page_bytes());
    let mut fault = |area: &Area| area.zero(&fresh.next().map(|page| page..page + 1).unwrap());
    (0..pages).for_each(|_| fault(&area));
    FaultWindow::begin().end();
    let window = FaultWindow::begin();
    let known = thread::scope(|scope| {
        let elsewhere = scope.spawn(|| {
            // It has faulted as often.
            while faults() < window.0.faults {
                fault(&area);
            }
            assert_eq!(faults(), window.0.faults);
            window.end()
        });
        elsewhere.join().unwrap()
    });
    assert!(!known);
}

#[test]
fn a_guest_that_was_elsewhere_and_came_back_is_not_vouched_for() {
    let guest = ThreadAffinity::new();
    for _ in 0..1000 {
        let window = FaultWindow::begin();
        thread::scope(|scope| {
            let noted = scope.spawn(|| {
                let _noted = guest.arrive();
            });
            noted.join().expect("it does not panic");
        });
        guest.arrive();
        assert!(!window.end());
    }
}

#[test]
fn an_instance_made_while_others_are_taken_down_together_is_not_vouched_for() {
    let begin = || restore_batched(FaultWindow::begin);
    if cfg!(debug_assertions) {
        assert!(std::panic::catch_unwind(begin).is_err());
    } else {
        assert!((0..1000).all(|_| !begin().end()));
    }
}

#[test]
fn a_guest_that_stays_moves_nothing() {
    let guest = ThreadAffinity::new();
    let windows = (0..TRIES).any(|_| {
        let window = FaultWindow::begin();
        guest.arrive();
        window.end()
    });
    assert!(windows);
}
