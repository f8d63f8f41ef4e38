//! Facts about `slots`.

use super::*;

#[test]
fn slots_are_taken_and_given_back() {
    let slots = Arc::new(Slots::new(2));
    let (first, second) = (slots.try_take(), slots.try_take());
    assert!(first.is_some() && second.is_some());
    assert!(slots.try_take().is_none());
    assert_eq!((slots.used(), slots.max()), (2, 2));
    drop(first);
    assert_eq!(slots.used(), 1);
    assert!(slots.try_take().is_some());
    drop(second);
    assert_eq!(slots.used(), 0);
}

#[test]
fn a_node_without_slots_gives_none() {
    assert!(Arc::new(Slots::new(0)).try_take().is_none());
}

#[test]
fn spared_slots_are_left_to_others() {
    let live = Arc::new(Live::new(Arc::new(Slots::new(3))));
    let kept: Vec<_> = std::iter::from_fn(|| live.try_take(usize::MAX, 1)).collect();
    assert_eq!((kept.len(), live.count()), (2, 2));
    assert!(live.try_take(usize::MAX, usize::MAX).is_none());
    assert!(live.try_take(usize::MAX, 0).is_some());
}

#[test]
fn a_refused_take_counts_nothing() {
    let slots = Arc::new(Slots::new(1));
    let live = Arc::new(Live::new(Arc::clone(&slots)));
    let _kept = slots.try_take().unwrap();
    assert!(live.try_take(5, 0).is_none());
    let wide = Arc::new(Live::new(Arc::new(Slots::new(9))));
    assert!(wide.try_take(0, 0).is_none());
    assert_eq!((live.count(), slots.used()), (0, 1));
    assert_eq!((wide.count(), wide.slots().used()), (0, 0));
}

#[test]
fn threads_never_hold_more_than_there_are() {
    let slots = Arc::new(Slots::new(3));
    let held = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..10_000 {
                    if let Some(permit) = slots.try_take() {
                        assert!(held.fetch_add(1, Relaxed) < 3);
                        held.fetch_sub(1, Relaxed);
                        drop(permit);
                    }
                }
            });
        }
    });
    assert_eq!(slots.used(), 0);
}
