//! Facts about cohorts of which a part is placed.

use std::iter;

use super::*;

fn weight(basis_points: u16) -> Weight {
    Weight::from_basis_points(basis_points).unwrap()
}

/// A stage whose canary has `canary` basis points, and `share` of those with `x-beta: 1`.
fn partly(canary: u16, share: u16) -> Arc<Stage<u32>> {
    stage(canary, |spec| {
        let rule = rule(Source::header("x-beta").unwrap(), &["1"], Role::Canary);
        spec.cohorts = vec![PlacedCohort { share: weight(share), ..rule }];
    })
}

/// Where a request with `headers` goes whose draws fall on `points`; it must draw them all.
fn drawn(stage: &Arc<Stage<u32>>, headers: &[(&'static str, &str)], points: &[u16]) -> (u32, Reason) {
    let headers = header_map(headers);
    let attributes = RequestAttributes { headers: &headers, query: None, client: Ipv6Addr::LOCALHOST.into() };
    let mut points = points.iter().map(|&point| Point::new(point).unwrap());
    let chosen = stage.choose(&attributes, None, || points.next().expect("a draw more than needed")).unwrap();
    assert_eq!(points.next(), None, "a draw less than expected");
    (chosen.version.target, chosen.reason)
}

#[test]
fn exactly_the_share_of_all_points_is_placed_by_rule() {
    for share in [1, 1000, 5000, 9999] {
        let stage = partly(0, share);
        for point in 0..Point::COUNT {
            // Whoever is left out draws again, for the split.
            let (points, expected) = if point < share {
                (vec![point], (2, Reason::Cohort))
            } else {
                (vec![point, 0], (1, Reason::Draw))
            };
            assert_eq!(drawn(&stage, &[("x-beta", "1")], &points), expected, "{share} {point}");
        }
    }
}

#[test]
fn whom_the_share_leaves_out_is_placed_like_anybody_else() {
    let (stage, plain) = (partly(1000, 5000), partly(1000, 5000));
    for point in 0..Point::COUNT {
        let left_out = drawn(&stage, &[("x-beta", "1")], &[5000, point]);
        assert_eq!(left_out, drawn(&plain, &[], &[point]), "{point}");
    }
}

#[test]
fn whole_cohorts_and_others_draw_as_before() {
    let whole = partly(1000, 10_000);
    assert_eq!(drawn(&whole, &[("x-beta", "1")], &[]), (2, Reason::Cohort));
    assert_eq!(drawn(&whole, &[("x-beta", "0")], &[0]), (2, Reason::Draw));
    assert_eq!(drawn(&partly(0, 1), &[], &[0]), (1, Reason::Draw));
}

/// Users of the cohort whom the rule places at each of `shares`, of 2,000.
fn placed(canary: u16, shares: &[u16]) -> Vec<Vec<bool>> {
    let users: Vec<_> = (0..2000).map(|user| user.to_string()).collect();
    let of = |&share: &u16| {
        let stage = partly(canary, share);
        let by_rule = |user: &String| {
            let headers = [("x-beta", "1"), ("wasm-fn-key", user.as_str())];
            drawn(&stage, &headers, &[]).1 == Reason::Cohort
        };
        users.iter().map(by_rule).collect()
    };
    shares.iter().map(of).collect()
}

#[test]
fn a_share_that_grows_keeps_its_users() {
    let shares = [100, 1000, 2500, 5000, 9999];
    let placed = placed(0, &shares);
    for (before, after) in iter::zip(&placed, &placed[1..]) {
        assert!(iter::zip(before, after).all(|(&before, &after)| after || !before), "somebody left");
    }
    for (share, placed) in iter::zip(shares, &placed) {
        let found = placed.iter().filter(|&&by_rule| by_rule).count() as f64;
        let (expected, spread) = (f64::from(share) / 5.0, f64::from(share).sqrt().min(22.4) * 2.5 + 2.0);
        assert!((found - expected).abs() <= spread, "{share}: {found}, expected {expected}");
    }
}

#[test]
fn keys_of_whom_the_share_leaves_out_hash_to_the_canary_as_often_as_anybody_elses() {
    let stage = partly(2000, 5000);
    let on_canary = |user: u32| {
        let user = user.to_string();
        match drawn(&stage, &[("x-beta", "1"), ("wasm-fn-key", &user)], &[]) {
            (_, Reason::Cohort) => None,
            (version, reason) => {
                assert_eq!(reason, Reason::Sticky);
                Some(version == 2)
            }
        }
    };
    let left_out: Vec<_> = (0..10_000).filter_map(on_canary).collect();
    let (all, canary) = (left_out.len(), left_out.iter().filter(|&&on_canary| on_canary).count());
    // A fifth, to four standard deviations.
    assert!(
        (4800..=5200).contains(&all) && (887..=1113).contains(&(canary * 5000 / all)),
        "{canary} of {all}"
    );
}

#[test]
fn whom_one_cohort_leaves_out_the_next_may_place() {
    let stage = stage(0, |spec| {
        let rule = |name: &str, role| rule(Source::header(name).unwrap(), &["1"], role);
        spec.cohorts = vec![
            PlacedCohort { share: weight(1000), ..rule("x-beta", Role::Canary) },
            PlacedCohort { share: weight(5000), ..rule("x-vip", Role::Canary) },
            rule("x-staff", Role::Canary),
        ];
    });
    // One draw is the place in all of them.
    let both = [("x-beta", "1"), ("x-vip", "1")];
    assert_eq!(drawn(&stage, &both, &[999]), (2, Reason::Cohort));
    assert_eq!(drawn(&stage, &both, &[4999]), (2, Reason::Cohort));
    assert_eq!(drawn(&stage, &both, &[5000, 0]), (1, Reason::Draw));
    let staff = [("x-beta", "1"), ("x-staff", "1")];
    assert_eq!(drawn(&stage, &staff, &[1000]), (2, Reason::Cohort));
}
