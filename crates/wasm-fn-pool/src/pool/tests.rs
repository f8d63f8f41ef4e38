//! Facts about `pool`.

use std::sync::Barrier;

use super::*;

mod simulation;

/// The thread of all instances, where threads do not matter.
const HERE: u64 = 1;

fn pool(slots: usize, ceiling: usize) -> (Arc<Slots>, Pool<(u32, StartPermit)>) {
    let slots = Arc::new(Slots::new(slots));
    let idle_after = Duration::from_secs(60);
    let pool = Pool::new(PoolOptions { slots: Arc::clone(&slots), floor: 1, ceiling, idle_after });
    (slots, pool)
}

/// Checks out, cold, and puts back the instances called 1 to `count`.
fn stock(pool: &Pool<(u32, StartPermit)>, count: u32) {
    let permits: Vec<_> = (0..count).map(|_| cold(pool)).collect();
    for (name, permit) in (1..).zip(permits) {
        assert!(pool.check_in(HERE, (name, permit)).is_none());
    }
}

fn cold(pool: &Pool<(u32, StartPermit)>) -> StartPermit {
    match pool.checkout(HERE) {
        Checkout::Cold(permit) => permit,
        other => panic!("{other:?}, expected a cold start"),
    }
}

fn warm(pool: &Pool<(u32, StartPermit)>) -> (u32, StartPermit) {
    match pool.checkout(HERE) {
        Checkout::Warm(instance) => instance,
        other => panic!("{other:?}, expected a warm start"),
    }
}

/// A target of `target` exactly, of a guest that starts slowly: that many are busy at the first resize, with
/// a floor of 1.
fn aim(pool: &Pool<(u32, StartPermit)>, target: usize) {
    pool.record_starts(1, Duration::from_millis(1));
    let busy: Vec<_> = (1..target).map(|_| pool.checkout(HERE)).collect();
    assert!(pool.resize(Duration::ZERO, busy.len()).is_empty());
    assert!(pool.target() >= target);
    drop(busy);
}

#[test]
fn the_instance_put_back_last_serves_first() {
    let (_, pool) = pool(9, 9);
    stock(&pool, 3);
    let names: Vec<_> = (0..3).map(|_| warm(&pool)).map(|(name, _)| name).collect();
    assert_eq!(names, [3, 2, 1]);
    assert_eq!((pool.warm_starts(), pool.cold_starts(), pool.live()), (3, 3, 0));
}

#[test]
fn a_request_without_slot_or_instance_is_refused() {
    let (slots, pool) = pool(1, 9);
    let permit = cold(&pool);
    assert!(matches!(pool.checkout(HERE), Checkout::Full));
    assert!(pool.check_in(HERE, (1, permit)).is_none());
    let kept = warm(&pool);
    assert!(matches!(pool.checkout(HERE), Checkout::Full));
    drop(kept);
    assert_eq!((slots.used(), pool.live()), (0, 0));
}

#[test]
fn a_full_pool_returns_the_instance() {
    let (_, pool) = pool(9, 2);
    let permits = [cold(&pool), cold(&pool), cold(&pool)];
    let returned: Vec<_> = (1..).zip(permits).filter_map(|instance| pool.check_in(HERE, instance)).collect();
    assert_eq!(returned.iter().map(|(name, _)| *name).collect::<Vec<_>>(), [3]);
    assert_eq!(pool.ready(), 2);
}

#[test]
fn a_closed_pool_keeps_nothing_but_still_serves() {
    let (slots, pool) = pool(9, 9);
    aim(&pool, 5);
    stock(&pool, 2);
    assert_eq!(pool.close().len(), 2);
    let permit = cold(&pool);
    assert!(pool.check_in(HERE, (1, permit)).is_some());
    assert!(pool.refill().is_none());
    assert!(pool.close().is_empty());
    assert_eq!(slots.used(), 0);
}

#[test]
fn refills_stop_at_the_target() {
    let (_, pool) = pool(90, 90);
    assert!(pool.refill().is_none());
    aim(&pool, 5);
    let permits: Vec<_> = std::iter::from_fn(|| pool.refill()).collect();
    assert_eq!(permits.len(), pool.target());
}

#[test]
fn refills_stop_at_the_ceiling() {
    let (_, pool) = pool(90, 3);
    aim(&pool, 30);
    while let Some(permit) = pool.refill() {
        assert!(pool.check_in(HERE, (0, permit)).is_none());
    }
    assert_eq!((pool.ready(), pool.live()), (3, 3));
}

#[test]
fn a_start_that_fails_is_forgotten() {
    let (slots, pool) = pool(90, 90);
    aim(&pool, 2);
    for _ in 0..100 {
        drop(pool.refill().unwrap());
    }
    assert_eq!((slots.used(), pool.live()), (0, 0));
}

#[test]
fn refills_leave_slots_to_the_first_requests_of_others() {
    let (slots, pool) = pool(16, 90);
    aim(&pool, 16);
    let permits: Vec<_> = std::iter::from_fn(|| pool.refill()).collect();
    assert_eq!(permits.len(), 14);
    assert!(slots.try_take().is_some());
}

#[test]
fn a_slot_can_be_reclaimed_for_another_version() {
    let (slots, pool) = pool(2, 9);
    stock(&pool, 2);
    let (name, permit) = pool.reclaim().unwrap();
    assert_eq!(name, 1);
    assert!(slots.try_take().is_none());
    drop(permit);
    assert!(slots.try_take().is_some());
    drop(pool.reclaim());
    assert!(pool.reclaim().is_none());
}

/// A pool of a guest that starts in 5 µs and has `per_second` requests.
fn quick(per_second: u64) -> (Arc<Slots>, Pool<(u32, StartPermit)>) {
    let (slots, pool) = pool(90, 20);
    pool.record_starts(1, Duration::from_micros(5));
    assert!(pool.resize(Duration::ZERO, 0).is_empty());
    for _ in 0..per_second {
        drop(pool.checkout(HERE));
    }
    assert!(pool.resize(Duration::from_secs(1), 0).is_empty());
    (slots, pool)
}

#[test]
fn what_is_taken_down_is_replaced_under_load_in_the_same_place() {
    let (slots, busy) = quick(100_000);
    let permits: Vec<_> = (0..10).map(|_| cold(&busy)).collect();
    for permit in permits {
        let permit = busy.replace(permit).expect("a request will come");
        assert!(busy.check_in(HERE, (1, permit)).is_none());
    }
    assert_eq!((slots.used(), busy.ready(), busy.live()), (10, 10, 10));
    assert!(busy.resize(Duration::from_millis(1100), 0).is_empty(), "they are wanted");
    let (slots, idle) = quick(500);
    assert!(idle.replace(cold(&idle)).is_none());
    assert_eq!(slots.used(), 0);
}

#[test]
fn nothing_is_replaced_in_a_full_or_a_closed_pool() {
    let (slots, pool) = quick(100_000);
    stock(&pool, 20);
    let taken = slots.used();
    let permit = match pool.checkout(HERE + 1) {
        Checkout::Cold(permit) => permit,
        other => panic!("{other:?}, expected a start of this thread's own"),
    };
    assert!(pool.replace(permit).is_none());
    assert_eq!(slots.used(), taken);
    let (_, served) = warm(&pool);
    drop(pool.close());
    assert!(pool.replace(served).is_none());
    assert_eq!(slots.used(), 0);
}

#[test]
fn threads_get_what_they_made_and_of_others_what_starts_slowly() {
    let (_, slow) = pool(90, 90);
    for (thread, name) in [(1, 1), (2, 2), (1, 3), (2, 4)] {
        let permit = slow.live.try_take(90, 0).unwrap();
        assert!(slow.check_in(thread, (name, permit)).is_none());
    }
    let take = |pool: &Pool<(u32, StartPermit)>, thread| pool.take_ready(thread).map(|(name, _)| name);
    assert_eq!([1, 2, 1, 1].map(|thread| take(&slow, thread)), [Some(3), Some(4), Some(1), Some(2)]);
    assert_eq!(take(&slow, 1), None);
    let (_, quick) = quick(100_000);
    stock(&quick, 1);
    assert_eq!([2, HERE].map(|thread| take(&quick, thread)), [None, Some(1)]);
}

#[test]
fn what_starts_quickly_is_started_for_a_request_without_a_wait_and_counted_when_it_is_there() {
    let (_, unknown) = pool(9, 9);
    assert!(unknown.start_quick().is_none());
    let (slots, quick) = quick(500);
    let (arrivals, others) = (quick.cold_starts(), slots.max() - slots.used());
    let permits: Vec<_> = (0..others).map(|_| quick.start_quick().unwrap()).collect();
    assert!(quick.start_quick().is_none());
    assert_eq!(quick.cold_starts(), arrivals);
    quick.record_cold_start(Duration::from_micros(5));
    assert_eq!((quick.cold_starts(), quick.warm_starts()), (arrivals + 1, 0));
    drop(permits);
    assert!(quick.start_quick().is_some());
}

#[test]
fn a_pool_is_passive_while_starts_are_quick_and_nothing_is_made_ahead() {
    let (_, unknown) = pool(9, 9);
    assert!(!unknown.is_passive());
    let (_, slow) = pool(9, 9);
    aim(&slow, 2);
    assert!(!slow.is_passive());
    assert!(!quick(100_000).1.is_passive(), "what is taken down is replaced");
    let (_, rare) = quick(500);
    assert!(rare.is_passive());
    rare.keep_until(Duration::from_secs(9));
    assert!(rare.resize(Duration::from_secs(2), 0).is_empty());
    assert!(!rare.is_passive(), "one is kept ready");
}

#[test]
fn surplus_instances_are_those_unused_longest() {
    let (_, pool) = pool(90, 90);
    stock(&pool, 4);
    let surplus: Vec<_> = pool.resize(Duration::ZERO, 0).into_iter().map(|(name, _)| name).collect();
    assert_eq!((surplus, pool.target(), pool.ready()), (vec![1, 2, 3], 1, 1));
}

#[test]
fn resizing_twice_at_one_time_changes_nothing() {
    let (_, pool) = pool(90, 90);
    aim(&pool, 5);
    let target = pool.target();
    drop(pool.checkout(HERE));
    assert!(pool.resize(Duration::ZERO, 1).is_empty());
    assert_eq!(pool.target(), target);
}

#[test]
fn a_target_never_exceeds_the_node() {
    let (_, pool) = pool(4, 90);
    let busy: Vec<_> = (0..4).map(|_| pool.checkout(HERE)).collect();
    assert!(pool.resize(Duration::ZERO, busy.len()).is_empty());
    assert_eq!(pool.target(), 4);
}

#[test]
fn threads_that_refill_at_once_stop_at_the_target() {
    for _ in 0..200 {
        let (_, pool) = pool(90, 90);
        aim(&pool, 5);
        let start = Barrier::new(3);
        let permits = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    start.wait();
                    while let Some(permit) = pool.refill() {
                        lock(&permits).push(permit);
                    }
                });
            }
        });
        assert_eq!(lock(&permits).len(), pool.target());
    }
}

#[test]
fn threads_lose_no_instance_and_no_permit() {
    let (slots, pool) = pool(6, 4);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let pool = &pool;
            scope.spawn(move || {
                for turn in 0..5000u32 {
                    let instance = match pool.checkout(HERE) {
                        Checkout::Warm(instance) => Some(instance),
                        Checkout::Cold(permit) => Some((turn, permit)),
                        Checkout::Full => None,
                    };
                    pool.record(Duration::from_micros(50));
                    // Every third instance ends, the others serve again.
                    if let Some(instance) = instance.filter(|_| turn % 3 != 0) {
                        drop(pool.check_in(HERE, instance));
                    }
                    match turn % 100 {
                        0 => drop(pool.resize(Duration::from_millis(u64::from(turn) + thread), 1)),
                        50 => drop(pool.reclaim()),
                        _ => drop(pool.refill().and_then(|permit| pool.check_in(HERE, (turn, permit)))),
                    }
                    assert!(pool.ready() <= 4);
                    assert!(slots_used(pool) <= 6);
                }
            });
        }
    });
    assert_eq!((slots.used(), pool.live()), (pool.ready(), pool.ready()));
    drop(pool.close());
    assert_eq!(slots.used(), 0);
}

fn slots_used<I>(pool: &Pool<I>) -> usize {
    pool.live.slots().used()
}

#[test]
fn a_pool_that_is_kept_refills_without_requests() {
    let (_, pool) = pool(9, 9);
    let second = Duration::from_secs;
    pool.keep_until(second(3600));
    assert!(pool.is_kept(second(3599)) && !pool.is_kept(second(3600)));
    assert!(pool.resize(second(1), 0).is_empty());
    let permit = pool.refill().expect("one is wanted");
    assert!(pool.check_in(HERE, (1, permit)).is_none());
    assert!(pool.refill().is_none(), "and no more");
    assert!(pool.resize(second(3599), 0).is_empty());
    assert_eq!(pool.resize(second(3600), 0).len(), 1);
}
