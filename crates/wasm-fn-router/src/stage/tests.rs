//! Facts about `stage`.

use std::net::{IpAddr, Ipv6Addr};

use http::{HeaderMap, HeaderName};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use wasm_fn_core::{CohortRule, Condition, PreviewAccess, Source, Sticky};

use super::*;
use crate::Tally;

mod cohorts;
mod observed;

fn v(number: u32) -> VersionNo {
    VersionNo::new(number).unwrap()
}

fn entry(number: u32) -> VersionEntry<u32> {
    let label = format!("v{number}").parse().unwrap();
    VersionEntry { no: v(number), label, tally: Arc::new(Tally::new()), target: number }
}

/// v1 stable, v2 canary with `canary` basis points, v3 reachable by override only.
fn spec(canary: u16) -> StageSpec<u32> {
    StageSpec {
        function: "hello".parse().unwrap(),
        stage: StageName::live(),
        routes: Vec::new(),
        preview: PreviewAccess::Token,
        split: TrafficSplit::between(v(1), v(2), Weight::from_basis_points(canary).unwrap()),
        stable: v(1),
        canary: Some(v(2)),
        previous: None,
        sticky: Sticky::None,
        cohorts: Vec::new(),
        salt: Salt([3, 4]),
        comparison: None,
        baseline: None,
        versions: vec![entry(2), entry(3), entry(1)],
    }
}

fn stage(canary: u16, change: impl FnOnce(&mut StageSpec<u32>)) -> Arc<Stage<u32>> {
    let mut spec = spec(canary);
    change(&mut spec);
    Arc::new(Stage::new(spec).unwrap())
}

/// A request as a test writes it.
#[derive(Clone, Copy, Default)]
struct Request<'a> {
    headers: &'a [(&'static str, &'a str)],
    query: Option<&'a str>,
    client: Option<IpAddr>,
}

fn header_map(headers: &[(&'static str, &str)]) -> HeaderMap {
    headers.iter().map(|&(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect()
}

/// The version chosen; the draw falls on stable's last point.
fn choose(
    stage: &Arc<Stage<u32>>,
    request: Request<'_>,
    asked: Option<&str>,
) -> Result<(u32, Reason), NoSuchVersion> {
    let headers = header_map(request.headers);
    let client = request.client.unwrap_or(Ipv6Addr::LOCALHOST.into());
    let attributes = RequestAttributes { headers: &headers, query: request.query, client };
    let asked = asked.map(|asked| asked.parse().unwrap());
    let chosen = stage.choose(&attributes, asked, || Point::new(9999).unwrap())?;
    assert_eq!(chosen.version.label, chosen.version.no.to_string());
    assert_eq!(chosen.key.is_some(), chosen.reason == Reason::Sticky);
    Ok((chosen.version.target, chosen.reason))
}

#[track_caller]
fn check(stage: &Arc<Stage<u32>>, request: Request<'_>, expected: (u32, Reason)) {
    assert_eq!(choose(stage, request, None), Ok(expected), "{:?} {:?}", request.headers, request.query);
}

/// Whether the user with `key` is on the canary.
fn on_canary(stage: &Arc<Stage<u32>>, key: &str) -> bool {
    let headers = header_map(&[("wasm-fn-key", key)]);
    let attributes = RequestAttributes { headers: &headers, query: None, client: Ipv6Addr::LOCALHOST.into() };
    let chosen = stage.choose(&attributes, None, || unreachable!("a key needs no draw")).unwrap();
    assert_eq!(chosen.reason, Reason::Sticky);
    chosen.version.no == v(2)
}

fn rule(source: Source, values: &[&str], role: Role) -> PlacedCohort {
    let values = values.iter().map(|&value| value.to_owned()).collect();
    let rule = CohortRule { name: None, condition: Condition::new(source, values).unwrap(), role };
    PlacedCohort { rule, share: Weight::FULL }
}

#[test]
fn every_version_gets_exactly_its_share_of_all_points() {
    for shares in [
        vec![(1, 10_000)],
        vec![(1, 9999), (2, 1)],
        vec![(1, 1), (2, 9999)],
        vec![(1, 3333), (2, 3333), (3, 3334)],
    ] {
        let weight = |points| Weight::from_basis_points(points).unwrap();
        let split = TrafficSplit::new(shares.iter().map(|&(no, points)| (v(no), weight(points)))).unwrap();
        let stage = stage(1, |spec| spec.split = split.clone());
        let headers = HeaderMap::new();
        let attributes =
            RequestAttributes { headers: &headers, query: None, client: Ipv6Addr::LOCALHOST.into() };
        let mut counts = [0u16; 4];
        for place in 0..Point::COUNT {
            let point = Point::new(place).unwrap();
            let chosen = stage.choose(&attributes, None, || point).unwrap();
            assert_eq!((chosen.reason, chosen.version.no), (Reason::Draw, split.pick(point)));
            counts[chosen.version.target as usize] += 1;
        }
        for (no, points) in shares {
            assert_eq!(counts[no as usize], points);
        }
        assert_eq!(counts.iter().sum::<u16>(), 10_000);
    }
}

#[test]
fn a_hundred_thousand_draws_come_within_half_a_point() {
    let seed = 20_261_122;
    let mut random = StdRng::seed_from_u64(seed);
    let headers = HeaderMap::new();
    let attributes = RequestAttributes { headers: &headers, query: None, client: Ipv6Addr::LOCALHOST.into() };
    for canary in [100, 1000, 5000] {
        let stage = stage(canary, |_| ());
        let draws = (0..100_000).filter(|_| {
            let chosen = stage.choose(&attributes, None, || Point::from_bits(random.random())).unwrap();
            chosen.version.no == v(2)
        });
        let share = draws.count() as f64 / 100_000.0;
        let expected = f64::from(canary) / 10_000.0;
        assert!((share - expected).abs() < 0.005, "seed {seed}: {share} instead of {expected}");
    }
}

#[test]
fn raising_the_canary_moves_no_user_off_it() {
    let (ten, fifty) = (stage(1000, |_| ()), stage(5000, |_| ()));
    let (mut before, mut after) = (0, 0);
    for user in 0..10_000 {
        let key = format!("user-{user}");
        let (was, is) = (on_canary(&ten, &key), on_canary(&fifty, &key));
        assert!(!was || is, "{key} left the canary");
        before += u32::from(was);
        after += u32::from(is);
    }
    // Three standard deviations of a binomial count.
    assert!((910..=1090).contains(&before), "{before}");
    assert!((4850..=5150).contains(&after), "{after}");
}

#[test]
fn stages_with_different_salts_place_users_independently() {
    let (a, b) = (stage(5000, |_| ()), stage(5000, |spec| spec.salt = Salt([3, 5])));
    let agree = (0..10_000)
        .filter(|user| on_canary(&a, &user.to_string()) == on_canary(&b, &user.to_string()))
        .count();
    assert!((4850..=5150).contains(&agree), "{agree}");
}

#[test]
fn a_user_stays_while_versions_are_rebuilt() {
    let (a, b) = (stage(2000, |_| ()), stage(2000, |spec| spec.versions.push(entry(9))));
    assert!((0..1000).all(|user| on_canary(&a, &user.to_string()) == on_canary(&b, &user.to_string())));
}

#[test]
fn the_key_header_comes_before_the_stage_s_own_key() {
    let none = stage(5000, |_| ());
    let cookie = stage(5000, |spec| spec.sticky = "cookie:sid".parse().unwrap());
    for user in ["a", "b", "c", "d", "e", "f", "g"] {
        let expected = (if on_canary(&none, user) { 2 } else { 1 }, Reason::Sticky);
        let own = format!("sid={user}");
        check(&cookie, Request { headers: &[("cookie", &own)], ..Request::default() }, expected);
        let both = [("cookie", "sid=other"), ("wasm-fn-key", user)];
        check(&cookie, Request { headers: &both, ..Request::default() }, expected);
        check(&none, Request { headers: &[("wasm-fn-key", user)], ..Request::default() }, expected);
    }
}

#[test]
fn requests_without_a_key_draw() {
    let cookie = stage(5000, |spec| spec.sticky = "cookie:sid".parse().unwrap());
    let header = stage(5000, |spec| spec.sticky = "header:x-user".parse().unwrap());
    assert!(!cookie.sticks_to_address());
    check(&cookie, Request::default(), (1, Reason::Draw));
    check(&cookie, Request { headers: &[("cookie", "sid=")], ..Request::default() }, (1, Reason::Draw));
    check(&cookie, Request { headers: &[("wasm-fn-key", "")], ..Request::default() }, (1, Reason::Draw));
    check(&header, Request { headers: &[("x-users", "a")], ..Request::default() }, (1, Reason::Draw));
    let own = Request { headers: &[("x-user", "a")], ..Request::default() };
    assert_eq!(choose(&header, own, None).unwrap().1, Reason::Sticky);
}

#[test]
fn an_address_is_the_same_client_in_both_notations() {
    let stage = stage(5000, |spec| spec.sticky = Sticky::ClientAddress);
    assert!(stage.sticks_to_address());
    let mut canary = 0;
    for last in 0..=255 {
        let at = |client: String| {
            let request = Request { client: Some(client.parse().unwrap()), ..Request::default() };
            choose(&stage, request, None).unwrap()
        };
        let found = at(format!("192.0.2.{last}"));
        assert_eq!(found.1, Reason::Sticky);
        assert_eq!(found, at(format!("::ffff:192.0.2.{last}")));
        canary += usize::from(found.0 == 2);
    }
    assert!((80..=176).contains(&canary), "{canary}");
}

#[test]
fn cohorts_are_found_in_headers_cookies_and_queries() {
    let stage = stage(1, |spec| {
        spec.cohorts = vec![
            rule(Source::header("X-Beta").unwrap(), &["yes", "1"], Role::Canary),
            rule(Source::cookie("beta").unwrap(), &["on"], Role::Canary),
            rule(Source::query("beta").unwrap(), &["a b", ""], Role::Canary),
        ];
    });
    let (canary, drawn) = ((2, Reason::Cohort), (1, Reason::Draw));
    for (value, expected) in [("yes", canary), ("1", canary), ("no", drawn), ("Yes", drawn), ("yes1", drawn)]
    {
        check(&stage, Request { headers: &[("x-beta", value)], ..Request::default() }, expected);
    }
    for (value, expected) in [("a=b; beta=on", canary), ("beta=off", drawn), ("beta=onn", drawn)] {
        check(&stage, Request { headers: &[("cookie", value)], ..Request::default() }, expected);
    }
    for (query, expected) in [("beta=a+b", canary), ("x&beta", canary), ("beta=ab", drawn), ("", drawn)] {
        check(&stage, Request { query: Some(query), ..Request::default() }, expected);
    }
    check(&stage, Request { headers: &[("x-beta", &"y".repeat(100_000))], ..Request::default() }, drawn);
}

#[test]
fn long_lists_are_matched_whole() {
    let users: Vec<String> = (0..1024).map(|user| format!("user-{user}")).collect();
    let users: Vec<&str> = users.iter().map(String::as_str).collect();
    let stage = stage(1, |spec| {
        spec.cohorts = vec![rule(Source::header("x-user").unwrap(), &users, Role::Canary)];
    });
    for user in ["user-0", "user-1023"] {
        check(&stage, Request { headers: &[("x-user", user)], ..Request::default() }, (2, Reason::Cohort));
    }
    for user in ["user-1024", "user-", "USER-0"] {
        check(&stage, Request { headers: &[("x-user", user)], ..Request::default() }, (1, Reason::Draw));
    }
}

#[test]
fn the_first_cohort_that_applies_wins_over_key_and_draw() {
    let stage = stage(9999, |spec| {
        spec.cohorts = vec![
            rule(Source::header("x-staff").unwrap(), &["1"], Role::Stable),
            rule(Source::header("x-beta").unwrap(), &["1"], Role::Canary),
        ];
    });
    let both = [("x-beta", "1"), ("x-staff", "1"), ("wasm-fn-key", "somebody")];
    check(&stage, Request { headers: &both, ..Request::default() }, (1, Reason::Cohort));
    check(&stage, Request { headers: &both[..1], ..Request::default() }, (2, Reason::Cohort));
}

#[test]
fn cohorts_of_the_canary_are_skipped_without_one() {
    let stage = stage(0, |spec| {
        spec.canary = None;
        spec.cohorts = vec![
            rule(Source::header("x-beta").unwrap(), &["1"], Role::Canary),
            rule(Source::header("x-beta").unwrap(), &["1"], Role::Stable),
        ];
    });
    check(&stage, Request { headers: &[("x-beta", "1")], ..Request::default() }, (1, Reason::Cohort));
}

#[test]
fn an_override_wins_over_everything() {
    let stage = stage(5000, |spec| {
        spec.cohorts = vec![rule(Source::header("x-beta").unwrap(), &["1"], Role::Canary)];
        spec.previous = Some(v(3));
    });
    let request = Request { headers: &[("x-beta", "1"), ("wasm-fn-key", "a")], ..Request::default() };
    let names =
        [("v1", 1), ("v2", 2), ("v3", 3), ("stable", 1), ("canary", 2), ("previous", 3), ("latest", 3)];
    for (asked, version) in names {
        assert_eq!(choose(&stage, request, Some(asked)), Ok((version, Reason::Override)), "{asked}");
    }
}

#[test]
fn a_version_that_is_not_there_is_refused_by_name() {
    let stage = stage(0, |spec| spec.canary = None);
    for asked in ["v4", "v4294967295", "canary", "previous"] {
        let error = choose(&stage, Request::default(), Some(asked)).unwrap_err();
        assert_eq!(error.to_string(), format!("stage `live` of `hello` has no version {asked}"));
    }
}

#[test]
fn versions_named_by_split_and_roles_must_be_listed() {
    let refused = |change: fn(&mut StageSpec<u32>)| {
        let mut spec = spec(1000);
        change(&mut spec);
        Stage::new(spec).unwrap_err().problem
    };
    assert_eq!(refused(|spec| spec.split = TrafficSplit::all(v(9))), StageProblem::Missing(v(9)));
    assert_eq!(refused(|spec| spec.stable = v(8)), StageProblem::Missing(v(8)));
    assert_eq!(refused(|spec| spec.canary = Some(v(7))), StageProblem::Missing(v(7)));
    assert_eq!(refused(|spec| spec.previous = Some(v(6))), StageProblem::Missing(v(6)));
    assert_eq!(refused(|spec| spec.versions.clear()), StageProblem::Missing(v(2)));
    assert_eq!(refused(|spec| spec.versions.push(entry(3))), StageProblem::Duplicate(v(3)));
    let header = || Source::Header("a b".to_owned());
    let nameless = StageProblem::Header("a b".to_owned());
    assert_eq!(refused(|spec| spec.sticky = Sticky::Key(Source::Header("a b".to_owned()))), nameless);
    let mut spec = spec(1000);
    spec.cohorts = vec![rule(header(), &["1"], Role::Stable)];
    let error = Stage::new(spec).unwrap_err();
    assert_eq!(
        error.to_string(),
        r#"stage `live` of `hello` looks at the header "a b", expected a header name"#
    );
}

#[test]
fn a_stage_shows_what_it_was_built_from() {
    let stage = stage(1000, |spec| spec.routes = vec!["/hello/*".parse().unwrap()]);
    assert_eq!((stage.function().as_str(), stage.name()), ("hello", &StageName::live()));
    assert_eq!(stage.routes(), ["/hello/*".parse().unwrap()]);
    assert_eq!(stage.split().weight(v(2)).basis_points(), 1000);
    assert_eq!(stage.versions().iter().map(|version| version.no).collect::<Vec<_>>(), [v(1), v(2), v(3)]);
    assert_eq!(stage.stable().no, v(1));
}

#[test]
fn salts_are_not_shown() {
    assert_eq!(format!("{:?}", Salt([3, 4])), "Salt(…)");
    assert!(!format!("{:?}", stage(1000, |_| ())).contains("salt"));
}
