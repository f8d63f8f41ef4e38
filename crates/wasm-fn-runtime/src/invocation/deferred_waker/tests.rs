//! The task is never woken without need, and never misses a wake-up.

use std::sync::atomic::AtomicU32;

use super::*;

#[derive(Default)]
struct Task(AtomicU32);

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

/// A deferred waker, and a task with its waker.
fn fixture() -> (Arc<DeferredWaker>, Arc<Task>, Waker) {
    let task = Arc::new(Task::default());
    (Arc::default(), Arc::clone(&task), Waker::from(task))
}

#[test]
fn wake_ups_while_the_guest_runs_wake_no_task_that_does_not_wait() {
    let (deferred, task, waker) = fixture();
    deferred.waker().wake();
    // The guest runs again, to its end this time.
    let _ = deferred.waker();
    assert_eq!(task.0.load(SeqCst), 0);
    // And if it had not: there was no wake-up since.
    deferred.wait(&Context::from_waker(&waker));
    assert_eq!(task.0.load(SeqCst), 0);
}

#[test]
fn a_wake_up_before_the_task_waits_is_not_lost() {
    let (deferred, task, waker) = fixture();
    deferred.waker().wake();
    deferred.wait(&Context::from_waker(&waker));
    assert_eq!(task.0.load(SeqCst), 1);
}

#[test]
fn a_waiting_task_is_woken_once_for_all_wake_ups() {
    let (deferred, task, waker) = fixture();
    let guest = deferred.waker();
    deferred.wait(&Context::from_waker(&waker));
    guest.wake_by_ref();
    guest.wake_by_ref();
    assert_eq!(task.0.load(SeqCst), 1);
    // The task has not looked yet: so that wake-up still counts.
    deferred.wait(&Context::from_waker(&waker));
    assert_eq!(task.0.load(SeqCst), 2);
}

#[test]
fn a_guest_that_runs_wakes_no_task_that_waited_before() {
    let (deferred, task, waker) = fixture();
    deferred.wait(&Context::from_waker(&waker));
    deferred.waker().wake();
    assert_eq!(task.0.load(SeqCst), 0);
}
