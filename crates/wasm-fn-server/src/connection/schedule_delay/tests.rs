//! Facts about `turn`.

use std::sync::atomic::AtomicU32;

use super::*;

/// A task that counts how often it is woken.
#[derive(Default)]
struct Task(AtomicU32);

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Relaxed);
    }
}

#[test]
fn the_wait_is_from_the_first_wake_to_the_next_poll() {
    let origin = clock::now();
    let at = |ms| origin + Duration::from_millis(ms);
    let waker = Waker::from(Arc::new(Task::default()));
    let turn = ScheduleDelay::new(waker.clone(), origin);
    assert_eq!(turn.begin(&waker, at(0)), Duration::ZERO);
    turn.woken_at(at(10));
    turn.woken_at(at(30));
    assert_eq!(turn.begin(&waker, at(50)), Duration::from_millis(40));
    // Polled without having been woken: nobody waited.
    assert_eq!(turn.begin(&waker, at(90)), Duration::ZERO);
    turn.woken_at(at(100));
    assert_eq!(turn.begin(&waker, at(101)), Duration::from_millis(1));
}

#[test]
fn whoever_is_woken_wakes_the_task() {
    let task = Arc::new(Task::default());
    let turn = ScheduleDelay::new(Waker::from(Arc::clone(&task)), clock::now());
    Waker::from(Arc::clone(&turn)).wake_by_ref();
    assert_eq!(task.0.load(Relaxed), 1);
    assert!(turn.woken.load(Relaxed) > 0);
}
