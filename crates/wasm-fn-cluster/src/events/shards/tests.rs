//! Tests for `shards`.

use super::*;

#[test]
fn triggers_are_spread_over_the_shards() {
    let mut counts = [0_u32; SHARDS as usize];
    for number in 0..6400 {
        counts[usize::from(shard_of(&format!("function-{number}/live/nightly")))] += 1;
    }
    assert!(counts.iter().all(|count| (50..=160).contains(count)), "{counts:?}");
}

#[test]
fn a_shard_has_a_lease() {
    assert_eq!(leases().len(), usize::from(SHARDS));
    assert_eq!(shard_of_lease(&lease_of(63)), Some(63));
    assert_eq!(["events/64", "events/x", "rollout/1"].map(shard_of_lease), [None; 3]);
}
