//! Facts about the assignments of requests in a comparison.

use std::{
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::{Duration, Instant},
};

use super::*;
use crate::{Observation, ObservationTicket, Recalled, TrafficObserver};

mod baseline;

/// An observer that only says whether its canary is withheld.
#[derive(Default)]
struct Fake {
    withheld: AtomicBool,
}

impl TrafficObserver for Fake {
    fn request_began(&self, _: &Assignment, _: Instant) -> ObservationTicket {
        ObservationTicket::default()
    }

    fn request_ended(&self, _: &Observation<'_>) {}

    fn is_withheld(&self) -> bool {
        self.withheld.load(Relaxed)
    }

    fn recalled(&self) -> Recalled {
        Box::pin(std::future::pending())
    }
}

const AFTER: Duration = Duration::from_secs(3);

/// v1 compared with v2, which has every point but stable's last; v3 by override only.
fn tried(change: impl FnOnce(&mut StageSpec<u32>)) -> (Arc<Stage<u32>>, Arc<Fake>) {
    let fake = Arc::new(Fake::default());
    let observer = Arc::clone(&fake) as Arc<dyn TrafficObserver>;
    let stage = stage(9999, |spec| {
        spec.comparison = Some(ComparisonSpec {
            observer,
            canary: Some(v(2)),
            fallback: v(1),
            fallback_after: Some(AFTER),
        });
        spec.cohorts = vec![
            rule(Source::header("x-beta").unwrap(), &["1"], Role::Canary),
            rule(Source::header("x-beta").unwrap(), &["0"], Role::Stable),
        ];
        change(spec);
    });
    (stage, fake)
}

/// An assignment: (side, placement, has a user, fallback).
type Seen = (Side, Placement, bool, Option<(u32, Duration)>);

/// What a request gets; the draw falls on the point at `place`.
fn part(stage: &Arc<Stage<u32>>, header: Option<(&'static str, &str)>, ask: &str, place: u16) -> Got {
    part_of(stage, header.as_slice(), ask, place)
}

/// The same with any headers.
fn part_of(stage: &Arc<Stage<u32>>, headers: &[(&'static str, &str)], ask: &str, place: u16) -> Got {
    let headers = header_map(headers);
    let attributes = RequestAttributes { headers: &headers, query: None, client: Ipv6Addr::LOCALHOST.into() };
    let asked = (!ask.is_empty()).then(|| ask.parse().unwrap());
    let chosen = stage.choose(&attributes, asked, || Point::new(place).unwrap()).unwrap();
    let seen = chosen.assignment.map(|part| {
        let fallback = chosen.version.hold().fallback().unwrap().target;
        let shield = part.fallback_after.map(|after| (fallback, after));
        (part.side, part.placement, part.user.is_some(), shield)
    });
    (chosen.version.target, chosen.reason, seen)
}

type Got = (u32, Reason, Option<Seen>);

/// A key that places its user on `version`.
fn key_of(stage: &Arc<Stage<u32>>, version: u32) -> String {
    let key = (0..100_000).map(|user| user.to_string()).find(|key| on_canary(stage, key) == (version == 2));
    key.expect("one user in ten thousand is on stable")
}

#[test]
fn without_a_comparison_nobody_has_an_assignment() {
    let stage = stage(5000, |_| ());
    assert_eq!(part(&stage, None, "", 0), (2, Reason::Draw, None));
    assert_eq!(part(&stage, None, "canary", 0), (2, Reason::Override, None));
}

#[test]
fn assignments_say_how_requests_came_to_their_version() {
    let (stage, _) = tried(|_| ());
    let shield = Some((1, AFTER));
    let (on_canary, on_stable) = (key_of(&stage, 2), key_of(&stage, 1));
    let cases = [
        (None, "", 0, (2, Reason::Draw, Some((Side::Canary, Placement::Chance, false, shield)))),
        (None, "", 9999, (1, Reason::Draw, Some((Side::Stable, Placement::Chance, false, None)))),
        (
            Some(("wasm-fn-key", &*on_canary)),
            "",
            9999,
            (2, Reason::Sticky, Some((Side::Canary, Placement::Chance, true, shield))),
        ),
        (
            Some(("wasm-fn-key", &*on_stable)),
            "",
            0,
            (1, Reason::Sticky, Some((Side::Stable, Placement::Chance, true, None))),
        ),
        (
            Some(("x-beta", "1")),
            "",
            0,
            (2, Reason::Cohort, Some((Side::Canary, Placement::Rule, false, shield))),
        ),
        (
            Some(("x-beta", "0")),
            "",
            0,
            (1, Reason::Cohort, Some((Side::Stable, Placement::Rule, false, None))),
        ),
        (None, "v2", 0, (2, Reason::Override, Some((Side::Canary, Placement::Request, false, None)))),
        (None, "v1", 0, (1, Reason::Override, Some((Side::Stable, Placement::Request, false, None)))),
    ];
    for (header, asked, place, expected) in cases {
        assert_eq!(part(&stage, header, asked, place), expected, "{header:?} {asked:?} {place}");
    }
}

#[test]
fn users_whom_a_rule_places_are_told_apart_too() {
    let (stage, _) = tried(|_| ());
    let headers = header_map(&[("x-beta", "1"), ("wasm-fn-key", "somebody")]);
    let attributes = RequestAttributes { headers: &headers, query: None, client: Ipv6Addr::LOCALHOST.into() };
    let chosen = stage.choose(&attributes, None, || unreachable!("a rule needs no draw")).unwrap();
    let part = chosen.assignment.unwrap();
    assert_eq!((part.side, part.placement), (Side::Canary, Placement::Rule));
    assert!(part.user.is_some());
}

#[test]
fn without_a_canary_only_those_have_a_part_whom_a_rule_would_place_on_one() {
    let (stage, _) = tried(|spec| {
        spec.canary = None;
        spec.comparison.as_mut().unwrap().canary = None;
        spec.split = TrafficSplit::between(v(1), v(3), "50%".parse().unwrap());
        spec.cohorts.push(rule(Source::header("x-staff").unwrap(), &["1"], Role::Stable));
    });
    let counted = Some((Side::Stable, Placement::Rule, false, None));
    // The first points are v3's, which nobody is compared with.
    type Headers<'a> = &'a [(&'static str, &'a str)];
    let cases: [(Headers<'_>, u16, Got); 7] = [
        (&[], 9999, (1, Reason::Draw, None)),
        (&[("x-beta", "0")], 0, (1, Reason::Cohort, None)),
        (&[("x-staff", "1")], 0, (1, Reason::Cohort, None)),
        (&[("x-beta", "1")], 9999, (1, Reason::Draw, counted)),
        (&[("x-beta", "1")], 0, (3, Reason::Draw, None)),
        // Without a canary the next rule that applies places, as if the first one were not there.
        (&[("x-beta", "1"), ("x-staff", "1")], 0, (1, Reason::Cohort, counted)),
        (&[("x-staff", "1"), ("x-beta", "0")], 0, (1, Reason::Cohort, None)),
    ];
    for (headers, place, expected) in cases {
        assert_eq!(part_of(&stage, headers, "", place), expected, "{headers:?} {place}");
    }
    assert_eq!(part(&stage, None, "v1", 0), (1, Reason::Override, None));
}

#[test]
fn users_are_told_apart_by_their_hash_and_the_same_user_is_the_same() {
    let (stage, _) = tried(|_| ());
    let user = |key: &str| {
        let headers = header_map(&[("wasm-fn-key", key)]);
        let attributes =
            RequestAttributes { headers: &headers, query: None, client: Ipv6Addr::LOCALHOST.into() };
        stage
            .choose(&attributes, None, || unreachable!("a key needs no draw"))
            .unwrap()
            .assignment
            .unwrap()
            .user
    };
    assert_eq!(user("a"), user("a"));
    assert_ne!(user("a"), user("b"));
    assert!(user("a").is_some());
}

#[test]
fn a_third_version_has_no_part() {
    let (stage, _) = tried(|spec| {
        let weight = |points| Weight::from_basis_points(points).unwrap();
        let shares = [(v(1), weight(1)), (v(2), weight(1)), (v(3), weight(9998))];
        spec.split = TrafficSplit::new(shares).unwrap();
    });
    assert_eq!(part(&stage, None, "", 0), (3, Reason::Draw, None));
    assert_eq!(part(&stage, None, "v3", 0), (3, Reason::Override, None));
}

#[test]
fn a_withheld_canary_gives_its_requests_to_the_fallback_but_for_overrides() {
    let (stage, fake) = tried(|_| ());
    let key = key_of(&stage, 2);
    fake.withheld.store(true, Relaxed);
    for header in [None, Some(("wasm-fn-key", &*key)), Some(("x-beta", "1"))] {
        assert_eq!(part(&stage, header, "", 0), (1, Reason::Withheld, None), "{header:?}");
    }
    let asked = part(&stage, None, "canary", 0);
    assert_eq!(asked, (2, Reason::Override, Some((Side::Canary, Placement::Request, false, None))));
    let stable = part(&stage, None, "", 9999);
    assert_eq!(stable, (1, Reason::Draw, Some((Side::Stable, Placement::Chance, false, None))));
}

#[test]
fn no_request_is_shielded_when_the_comparison_has_no_shield() {
    let (stage, _) = tried(|spec| spec.comparison.as_mut().unwrap().fallback_after = None);
    for header in [None, Some(("x-beta", "1"))] {
        let (version, _, part) = part(&stage, header, "", 0);
        let (side, _, _, shield) = part.unwrap();
        assert_eq!((version, side, shield), (2, Side::Canary, None), "{header:?}");
    }
}

#[test]
fn versions_of_a_comparison_must_be_listed() {
    for (canary, fallback, missing) in [(v(8), v(1), v(8)), (v(2), v(9), v(9))] {
        let observer: Arc<dyn TrafficObserver> = Arc::new(Fake::default());
        let mut spec = spec(1000);
        spec.comparison =
            Some(ComparisonSpec { observer, canary: Some(canary), fallback, fallback_after: None });
        assert_eq!(Stage::new(spec).unwrap_err().problem, StageProblem::Missing(missing));
    }
}
