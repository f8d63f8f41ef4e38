//! Tests for `split`.

use proptest::{prelude::*, test_runner::RngSeed};

use super::*;

fn v(number: u32) -> VersionNo {
    VersionNo::new(number).unwrap()
}

fn bp(basis_points: u16) -> Weight {
    Weight::from_basis_points(basis_points).unwrap()
}

fn owners(split: &TrafficSplit) -> Vec<VersionNo> {
    (0..Point::COUNT).map(|place| split.pick(Point::new(place).unwrap())).collect()
}

#[track_caller]
fn refused(shares: &[(u32, u16)], expected: SplitError) {
    let found = TrafficSplit::new(shares.iter().map(|&(no, points)| (v(no), bp(points))));
    assert_eq!(found, Err(expected), "{shares:?}");
}

#[test]
fn shares_that_do_not_add_up_are_refused() {
    refused(&[], SplitError::Sum { found: 0 });
    refused(&[(1, 9900)], SplitError::Sum { found: 9900 });
    refused(&[(1, 10_000), (2, 1)], SplitError::Sum { found: 10_001 });
    refused(&[(1, 10_000), (2, 10_000), (3, 10_000)], SplitError::Sum { found: 30_000 });
    let many = (1..=100_000).map(|no| (v(no), Weight::FULL));
    assert_eq!(TrafficSplit::new(many), Err(SplitError::Sum { found: 1_000_000_000 }));
}

#[test]
fn a_share_of_nothing_is_refused() {
    refused(&[(1, 10_000), (2, 0)], SplitError::Zero { version: v(2) });
}

#[test]
fn a_version_named_twice_is_refused() {
    refused(&[(1, 5000), (2, 1000), (1, 4000)], SplitError::Duplicate { version: v(1) });
}

#[test]
fn messages_say_what_was_found() {
    let error = TrafficSplit::new([(v(1), bp(9900))]).unwrap_err();
    assert_eq!(error.to_string(), "weights add up to 99%, expected 100%");
}

#[test]
fn newer_versions_take_the_lower_points() {
    let split = TrafficSplit::new([(v(1), bp(9000)), (v(3), bp(400)), (v(2), bp(600))]).unwrap();
    let owners = owners(&split);
    assert!(owners[..400].iter().all(|&owner| owner == v(3)));
    assert!(owners[400..1000].iter().all(|&owner| owner == v(2)));
    assert!(owners[1000..].iter().all(|&owner| owner == v(1)));
}

#[test]
fn between_two_versions_every_share_is_exact() {
    for share in [0, 1, 100, 5000, 9999, 10_000] {
        let split = TrafficSplit::between(v(1), v(2), bp(share));
        let canary = owners(&split).iter().filter(|&&owner| owner == v(2)).count();
        assert_eq!(canary, usize::from(share));
        assert_eq!(split.weight(v(2)), bp(share));
        assert_eq!(split.weight(v(1)), bp(share).complement());
    }
    assert_eq!(TrafficSplit::between(v(1), v(1), bp(500)), TrafficSplit::all(v(1)));
}

#[test]
fn a_version_without_a_share_has_weight_zero() {
    assert_eq!(TrafficSplit::all(v(1)).weight(v(2)), Weight::ZERO);
}

/// Up to eight versions with weights above zero that add up.
fn splits() -> impl Strategy<Value = Vec<(VersionNo, Weight)>> {
    let cuts = proptest::collection::btree_set(1u16..10_000, 0..8);
    (cuts, any::<u32>()).prop_map(|(cuts, salt)| {
        let ends: Vec<u16> = cuts.into_iter().chain([10_000]).collect();
        let starts = std::iter::once(0).chain(ends.iter().copied());
        let weights = starts.zip(&ends).map(|(start, end)| bp(end - start));
        // Different numbers, in an order that depends on the salt.
        (0u32..).zip(weights).map(|(i, weight)| (v(((i ^ (salt & 7)) + 1) * 10), weight)).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(1), failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn every_version_owns_exactly_its_share_of_all_points(shares in splits()) {
        let split = TrafficSplit::new(shares.iter().copied()).unwrap();
        let owners = owners(&split);
        for (version, weight) in shares {
            let owned = owners.iter().filter(|&&owner| owner == version).count();
            prop_assert_eq!(owned, usize::from(weight.basis_points()));
            prop_assert_eq!(split.weight(version), weight);
        }
    }

    #[test]
    fn raising_a_canary_moves_no_point_off_it(low in 0u16..=10_000, high in 0u16..=10_000) {
        let (low, high) = (low.min(high), low.max(high));
        let before = owners(&TrafficSplit::between(v(1), v(2), bp(low)));
        let after = owners(&TrafficSplit::between(v(1), v(2), bp(high)));
        prop_assert!(before.iter().zip(&after).all(|(&before, &after)| before == v(1) || after == v(2)));
    }
}
