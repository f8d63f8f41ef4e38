//! Facts about what is free: in which order it is taken, and that nothing is lost.

use super::*;

#[test]
fn what_was_put_back_last_is_taken_first() {
    let list = FreeList::new();
    (1..=3).for_each(|free| list.put(free));
    assert_eq!([list.take(), list.take(), list.take(), list.take()], [Some(3), Some(2), Some(1), None]);
}

#[test]
fn what_other_threads_put_back_is_found() {
    let list = FreeList::new();
    thread::scope(|scope| {
        for free in 0..20 {
            let list = &list;
            scope.spawn(move || list.put(free));
        }
    });
    let mut found: Vec<_> = std::iter::from_fn(|| list.take()).collect();
    found.sort_unstable();
    assert_eq!(found, (0..20).collect::<Vec<_>>());
}

#[test]
fn work_is_done_once_with_each_and_none_is_lost() {
    let list = FreeList::new();
    (0..5).for_each(|free| list.put(free));
    list.for_each(|free| *free += 10);
    let mut found: Vec<_> = std::iter::from_fn(|| list.take()).collect();
    found.sort_unstable();
    assert_eq!(found, [10, 11, 12, 13, 14]);
}
