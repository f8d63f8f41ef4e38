//! Facts about `memory_budget`.

use super::*;

fn shares<const N: usize>(max_bytes: u64) -> (Arc<MemoryBudget>, [MemoryShare; N]) {
    let budget = Arc::new(MemoryBudget::new(max_bytes));
    let shares = std::array::from_fn(|_| budget.share());
    (budget, shares)
}

/// Takes `bytes` again and again until refused.
fn take_all(share: &MemoryShare, bytes: u64) {
    while share.try_reserve(bytes) {}
}

#[test]
fn what_was_given_back_can_be_taken_again() {
    let (budget, [share]) = shares(100);
    assert!(share.try_reserve(80));
    assert!(!share.try_reserve(21));
    assert_eq!((budget.used_bytes(), share.used_bytes()), (80, 80));
    share.release(80);
    assert!(share.try_reserve(100));
    assert_eq!(budget.used_bytes(), 100);
}

#[test]
fn a_leaking_version_leaves_room_for_others() {
    let (budget, [leaking, quiet]) = shares(8000);
    take_all(&leaking, 10);
    assert_eq!(leaking.used_bytes(), 7000);
    assert!(quiet.try_reserve(500));
    assert!(!leaking.try_reserve(10), "it took what was left for others");
    quiet.release(500);
    assert_eq!(budget.used_bytes(), 7000);
}

#[test]
fn a_version_that_holds_nothing_may_take_whatever_is_left() {
    let (_, [leaking, quiet]) = shares(800);
    take_all(&leaking, 1);
    assert!(quiet.try_reserve(100));
    assert!(!quiet.try_reserve(1));
}

#[test]
fn amounts_beyond_counting_are_refused() {
    let (budget, [share]) = shares(u64::MAX);
    assert!(share.try_reserve(u64::MAX - 1));
    assert!(!share.try_reserve(u64::MAX));
    assert_eq!(budget.used_bytes(), u64::MAX - 1);
}

#[test]
fn threads_never_take_more_than_there_is() {
    let (budget, shares) = shares::<4>(1000);
    std::thread::scope(|scope| {
        for share in &shares {
            scope.spawn(|| {
                for bytes in (1..60).cycle().take(20_000) {
                    if share.try_reserve(bytes) {
                        assert!(budget.used_bytes() <= 1000);
                        share.release(bytes);
                    }
                }
            });
        }
    });
    assert_eq!(budget.used_bytes(), 0);
}
