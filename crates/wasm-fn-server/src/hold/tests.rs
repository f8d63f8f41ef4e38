//! What is sent waits for one poll, and for none where that does not pay.

use std::{
    sync::{Arc, atomic::AtomicU32},
    task::{Wake, Waker},
};

use super::*;

/// A length of polls at which holding pays.
pub(crate) const PAYING: Duration = Duration::from_micros(30);

#[derive(Default)]
struct Task(AtomicU32);

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Relaxed);
    }
}

/// Has this thread's polls have taken `time`.
pub(crate) fn polls_took(time: Duration) {
    POLLS.set(Polls { average_ns: u64::try_from(time.as_nanos()).unwrap() });
}

/// A connection that sends a whole answer.
fn whole() -> Hold {
    let hold = Hold::default();
    hold.answer(true);
    hold
}

/// Whether a connection that is polled for `time` may send at its end then.
fn sends(hold: &Hold, time: Duration) -> bool {
    hold.begin();
    let sends = hold.poll_send(&Context::from_waker(Waker::noop()), || time).is_ready();
    hold.end(|| panic!("measured twice"));
    sends
}

#[test]
fn what_is_sent_waits_for_the_next_poll() {
    polls_took(PAYING);
    let (hold, task) = (whole(), Arc::new(Task::default()));
    let waker = Waker::from(Arc::clone(&task));
    let cx = Context::from_waker(&waker);
    hold.begin();
    assert!(hold.poll_send(&cx, || PAYING).is_pending());
    let again = hold.poll_send(&cx, || panic!("measured twice"));
    assert!(again.is_pending(), "whoever asks again in the same poll waits as well");
    assert_eq!(task.0.load(Relaxed), 1, "it is woken once");
    hold.begin();
    for _ in 0..2 {
        assert!(hold.poll_send(&cx, || panic!("sending is no answering")).is_ready());
    }
    hold.end(|| panic!("sending is no answering"));
    hold.begin();
    assert!(hold.poll_send(&cx, || PAYING).is_pending());
}

#[test]
fn nothing_is_held_where_polls_are_too_short_or_too_long() {
    let check = |micros, expected| {
        let time = Duration::from_micros(micros);
        polls_took(time);
        assert_eq!(sends(&whole(), time), expected, "{time:?}");
    };
    [(0, true), (7, true), (9, false), (49, false), (51, true), (10_000, true)]
        .into_iter()
        .for_each(|(micros, expected)| check(micros, expected));
}

#[test]
fn what_was_held_goes_whatever_polls_take_meanwhile() {
    polls_took(PAYING);
    let (hold, cx) = (whole(), Context::from_waker(Waker::noop()));
    assert!(!sends(&hold, PAYING));
    polls_took(Duration::ZERO);
    hold.begin();
    assert!(hold.poll_send(&cx, || Duration::ZERO).is_ready());
}

#[test]
fn an_answer_that_is_not_whole_is_not_held() {
    polls_took(PAYING);
    let hold = whole();
    hold.answer(false);
    hold.begin();
    assert!(hold.poll_send(&Context::from_waker(Waker::noop()), || PAYING).is_ready());
}

#[test]
fn polls_that_send_nothing_count_as_well() {
    polls_took(PAYING);
    let hold = whole();
    hold.begin();
    hold.end(|| Duration::from_millis(1));
    assert!(sends(&hold, PAYING), "a guest computes on this thread");
    let held = (1..).find(|_| !sends(&hold, PAYING));
    assert_eq!(held, Some(13), "and is forgotten");
}

#[test]
fn the_average_of_equal_polls_is_their_length() {
    let check = |micros: u64| {
        let polls =
            (0..200).fold(Polls { average_ns: 0 }, |polls, _| polls.and(Duration::from_micros(micros)));
        assert!(polls.average_ns.abs_diff(micros * 1000) < 10, "{polls:?} of {micros} µs");
    };
    [0, 1, 49, 51, 10_000].into_iter().for_each(check);
    assert!(!Polls { average_ns: u64::MAX }.and(Duration::MAX).holding_pays());
}
