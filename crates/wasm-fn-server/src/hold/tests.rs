//! What is sent waits for one poll, and for none where polls are long.

use std::{
    sync::{Arc, atomic::AtomicU32},
    task::{Wake, Waker},
};

use super::*;

#[derive(Default)]
struct Task(AtomicU32);

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Relaxed);
    }
}

/// A connection that sends a whole answer.
fn whole() -> Hold {
    let hold = Hold::default();
    hold.answer(true);
    hold
}

/// Has this thread's polls be short or long.
pub(crate) fn polls(short: bool) {
    POLLS.set(Polls { average_ns: if short { 0 } else { u64::MAX } });
}

#[test]
fn what_is_sent_waits_for_the_next_poll() {
    polls(true);
    let (hold, task) = (whole(), Arc::new(Task::default()));
    let waker = Waker::from(Arc::clone(&task));
    let cx = Context::from_waker(&waker);
    hold.begin();
    assert!(hold.poll_send(&cx).is_pending());
    assert!(hold.poll_send(&cx).is_pending(), "whoever asks again in the same poll waits as well");
    assert_eq!(task.0.load(Relaxed), 1, "it is woken once");
    hold.begin();
    assert!(hold.poll_send(&cx).is_ready() && hold.poll_send(&cx).is_ready());
    hold.begin();
    assert!(hold.poll_send(&cx).is_pending());
}

#[test]
fn nothing_is_held_while_polls_are_long() {
    polls(false);
    let (hold, cx) = (whole(), Context::from_waker(Waker::noop()));
    hold.begin();
    assert!(hold.poll_send(&cx).is_ready());
    polls(true);
    assert!(hold.poll_send(&cx).is_pending());
    polls(false);
    hold.begin();
    assert!(hold.poll_send(&cx).is_ready(), "and what was held goes");
}

#[test]
fn an_answer_that_is_not_whole_is_not_held() {
    polls(true);
    let (hold, cx) = (whole(), Context::from_waker(Waker::noop()));
    hold.answer(false);
    hold.begin();
    assert!(hold.poll_send(&cx).is_ready());
}

#[test]
fn one_long_poll_is_remembered_for_a_while_and_short_ones_make_it_forgotten() {
    let quick = Duration::from_micros(10);
    let mut polls = (0..100).fold(Polls { average_ns: 0 }, |polls, _| polls.and(quick));
    assert!(polls.are_short());
    polls = polls.and(Duration::from_millis(1));
    assert!(!polls.are_short());
    let forgotten = (1..).find(|_| {
        polls = polls.and(quick);
        polls.are_short()
    });
    assert_eq!(forgotten, Some(9));
    let endless = Polls { average_ns: u64::MAX }.and(Duration::MAX);
    assert!(!endless.are_short());
}

#[test]
fn the_average_of_equal_polls_is_their_length() {
    let check = |micros| {
        let time = Duration::from_micros(micros);
        let polls = (0..200).fold(Polls { average_ns: 0 }, |polls, _| polls.and(time));
        assert!(polls.average_ns.abs_diff(micros * 1000) < 10, "{polls:?} of {time:?}");
    };
    [0, 1, 49, 51, 10_000].into_iter().for_each(check);
}
