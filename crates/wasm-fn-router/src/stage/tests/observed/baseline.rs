//! Facts about the users of stable whom another handle serves.

use super::*;

/// The target of the baseline's handle.
const APART: u32 = 101;

/// v2 with `canary` basis points beside v1, of which the baseline has as many where it has so many.
fn beside(canary: u16, change: impl FnOnce(&mut StageSpec<u32>)) -> Arc<Stage<u32>> {
    let weight = Weight::from_basis_points(canary).unwrap();
    let (stage, _) = tried(|spec| {
        spec.split = TrafficSplit::between(v(1), v(2), weight);
        let entry = VersionEntry { target: APART, ..entry(1) };
        spec.baseline = Some(BaselineSpec { share: weight.min(weight.complement()), entry });
        change(spec);
    });
    stage
}

/// How many of all points are the canary's, the baseline's and stable's.
fn shares(stage: &Arc<Stage<u32>>) -> [u16; 3] {
    let mut shares = [0; 3];
    for place in 0..Point::COUNT {
        let (target, reason, seen) = part(stage, None, "", place);
        let (side, placement, ..) = seen.unwrap();
        assert_eq!((reason, placement), (Reason::Draw, Placement::Chance));
        let (at, expected) = match side {
            Side::Canary => (0, 2),
            Side::Baseline => (1, APART),
            Side::Stable => (2, 1),
        };
        assert_eq!(target, expected, "{place}");
        shares[at] += 1;
    }
    shares
}

#[test]
fn baseline_has_exactly_the_canary_s_share_as_far_as_stable_has_so_much() {
    for canary in [0, 1, 100, 4999, 5000, 5001, 9999, 10_000] {
        let rest = 10_000 - canary;
        let apart = canary.min(rest);
        assert_eq!(shares(&beside(canary, |_| ())), [canary, apart, rest - apart], "{canary}");
    }
}

#[test]
fn baseline_is_at_the_far_end_on_whichever_side_the_canary_is() {
    for (first, second) in [(2, 1), (1, 2)] {
        let stage = beside(1000, |spec| {
            let weight = |version| Weight::from_basis_points(if version == 2 { 1000 } else { 9000 }).unwrap();
            let shares = [first, second].map(|version| (v(version), weight(version)));
            spec.split = TrafficSplit::new(shares).unwrap();
        });
        let sides: Vec<_> = (0..10_000).map(|place| part(&stage, None, "", place).2.unwrap().0).collect();
        let from_canary: Vec<_> =
            if sides[0] == Side::Canary { sides } else { sides.into_iter().rev().collect() };
        assert!(from_canary[..1000].iter().all(|side| *side == Side::Canary));
        assert!(from_canary[1000..9000].iter().all(|side| *side == Side::Stable));
        assert!(from_canary[9000..].iter().all(|side| *side == Side::Baseline));
    }
}

#[test]
fn users_of_the_baseline_stay_in_it_while_the_canary_grows() {
    let steps = [100, 1000, 2500, 5000].map(|canary| beside(canary, |_| ()));
    let (mut in_first, mut in_last) = (0, 0);
    for user in 0..20_000 {
        let key = format!("user-{user}");
        let sides: Vec<_> =
            steps.iter().map(|stage| part(stage, Some(("wasm-fn-key", &key)), "", 0).2.unwrap().0).collect();
        let apart: Vec<_> = sides.iter().map(|side| *side == Side::Baseline).collect();
        assert!(apart.is_sorted(), "{key}: {sides:?}");
        in_first += u32::from(apart[0]);
        in_last += u32::from(apart[3]);
    }
    // Three standard deviations of a binomial count.
    assert!((158..=242).contains(&in_first), "{in_first}");
    assert!((9787..=10_213).contains(&in_last), "{in_last}");
}

#[test]
fn beyond_the_half_the_canary_takes_the_baseline_s_users_last() {
    let (half, most) = (beside(5000, |_| ()), beside(8000, |_| ()));
    for place in 0..10_000 {
        let sides = [&half, &most].map(|stage| part(stage, None, "", place).2.unwrap().0);
        assert!(sides != [Side::Canary, Side::Baseline] && sides[1] != Side::Stable, "{place}: {sides:?}");
    }
}

#[test]
fn only_chance_places_in_the_baseline() {
    let stage = beside(5000, |_| ());
    for (header, asked) in [(Some(("x-beta", "0")), ""), (None, "v1"), (None, "stable")] {
        let (target, _, seen) = part(&stage, header, asked, 9999);
        assert_eq!((target, seen.unwrap().0), (1, Side::Stable), "{header:?} {asked:?}");
    }
}

#[test]
fn baseline_counts_as_stable_s_version_and_is_not_listed() {
    let stage = beside(5000, |_| ());
    let headers = HeaderMap::new();
    let attributes = RequestAttributes { headers: &headers, query: None, client: Ipv6Addr::LOCALHOST.into() };
    let chosen = stage.choose(&attributes, None, || Point::new(9999).unwrap()).unwrap();
    assert_eq!((chosen.version.no, chosen.version.target), (v(1), APART));
    assert_eq!(stage.versions().iter().map(|version| version.target).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(stage.stable().target, 1);
    let latest = stage.choose(&attributes, Some(VersionRef::Latest), || unreachable!()).unwrap();
    assert_eq!(latest.version.no, v(3));
}

#[test]
fn canary_falls_back_on_stable_s_own_handle() {
    let stage = beside(5000, |_| ());
    assert_eq!(part(&stage, None, "", 0).2.unwrap().3, Some((1, AFTER)));
    let headers = HeaderMap::new();
    let attributes = RequestAttributes { headers: &headers, query: None, client: Ipv6Addr::LOCALHOST.into() };
    let apart = stage.choose(&attributes, None, || Point::new(9999).unwrap()).unwrap();
    assert_eq!(apart.assignment.unwrap().fallback_after, None);
}

#[test]
fn without_a_comparison_there_is_no_baseline() {
    let stage = beside(5000, |spec| spec.comparison = None);
    assert_eq!(part(&stage, None, "", 9999), (1, Reason::Draw, None));
}
