//! Facts about `budget`.

use super::*;

fn parts<const N: usize>(max_bytes: u64) -> (Arc<Budget>, [BudgetPart; N]) {
    let budget = Arc::new(Budget::new(max_bytes));
    let parts = std::array::from_fn(|_| budget.part());
    (budget, parts)
}

/// Takes `bytes` again and again until refused.
fn take_all(part: &BudgetPart, bytes: u64) {
    while part.try_take(bytes) {}
}

#[test]
fn what_was_given_back_can_be_taken_again() {
    let (budget, [part]) = parts(100);
    assert!(part.try_take(80));
    assert!(!part.try_take(21));
    assert_eq!((budget.used_bytes(), part.used_bytes()), (80, 80));
    part.give_back(80);
    assert!(part.try_take(100));
    assert_eq!(budget.used_bytes(), 100);
}

#[test]
fn a_leaking_version_leaves_room_for_others() {
    let (budget, [leaking, quiet]) = parts(8000);
    take_all(&leaking, 10);
    assert_eq!(leaking.used_bytes(), 7000);
    assert!(quiet.try_take(500));
    assert!(!leaking.try_take(10), "it took what was left for others");
    quiet.give_back(500);
    assert_eq!(budget.used_bytes(), 7000);
}

#[test]
fn a_version_that_holds_nothing_may_take_whatever_is_left() {
    let (_, [leaking, quiet]) = parts(800);
    take_all(&leaking, 1);
    assert!(quiet.try_take(100));
    assert!(!quiet.try_take(1));
}

#[test]
fn amounts_beyond_counting_are_refused() {
    let (budget, [part]) = parts(u64::MAX);
    assert!(part.try_take(u64::MAX - 1));
    assert!(!part.try_take(u64::MAX));
    assert_eq!(budget.used_bytes(), u64::MAX - 1);
}

#[test]
fn threads_never_take_more_than_there_is() {
    let (budget, parts) = parts::<4>(1000);
    std::thread::scope(|scope| {
        for part in &parts {
            scope.spawn(|| {
                for bytes in (1..60).cycle().take(20_000) {
                    if part.try_take(bytes) {
                        assert!(budget.used_bytes() <= 1000);
                        part.give_back(bytes);
                    }
                }
            });
        }
    });
    assert_eq!(budget.used_bytes(), 0);
}
