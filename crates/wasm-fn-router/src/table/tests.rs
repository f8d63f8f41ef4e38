//! Facts about `table`.

mod fuzzing;

use http::HeaderValue;
use proptest::{prelude::*, test_runner::RngSeed};
use wasm_fn_core::{FunctionName, PreviewAccess, Route, StageName, Sticky, TrafficSplit, VersionNo};

use super::*;
use crate::{Salt, StageSpec, Tally, VersionEntry};

fn stage(function: &str, routes: &[&str]) -> Arc<Stage<()>> {
    let no = VersionNo::FIRST;
    let version =
        VersionEntry { no, label: HeaderValue::from_static("v1"), tally: Arc::new(Tally::new()), target: () };
    let spec = StageSpec {
        function: function.parse().unwrap(),
        stage: StageName::live(),
        routes: routes.iter().map(|route| route.parse().unwrap()).collect(),
        preview: PreviewAccess::Token,
        split: TrafficSplit::all(no),
        stable: no,
        canary: None,
        previous: None,
        sticky: Sticky::None,
        cohorts: Vec::new(),
        salt: Salt([1, 2]),
        comparison: None,
        baseline: None,
        versions: vec![version],
    };
    Arc::new(Stage::new(spec).unwrap())
}

/// One function for each route, called `f0`, `f1`, … in that order.
fn table(routes: &[&str]) -> RouteTable<()> {
    let stages = routes.iter().enumerate().map(|(i, route)| stage(&format!("f{i}"), &[route])).collect();
    RouteTable::new(Revision(7), stages).unwrap()
}

#[track_caller]
fn check(table: &RouteTable<()>, host: Option<&str>, path: &str, expected: Option<&str>) {
    let found = table.find(host, path).map(|stage| stage.function().to_string());
    assert_eq!(found.as_deref(), expected, "{host:?} {path:?}");
    for stage in table.stages() {
        let leads = matching_route(stage.routes(), host, path).is_some();
        assert!(leads || expected != Some(stage.function().as_str()), "{host:?} {path:?}: {stage:?}");
    }
}

#[test]
fn the_route_that_leads_to_a_stage_is_told() {
    let routes = ["/*", "/a", "/a/*", "/a/b/*", "example.com/a/*"];
    let routes: Vec<Route> = routes.iter().map(|route| route.parse().unwrap()).collect();
    for (host, path, expected) in [
        (None, "/a", "/a"),
        (None, "/a/", "/a/*"),
        (None, "/a/b", "/a/b/*"),
        (None, "/ab", "/*"),
        (Some("other.example"), "/a/b/c", "/a/b/*"),
        (Some("Example.com.:8080"), "/a/b/c", "example.com/a/*"),
    ] {
        let route = matching_route(&routes, host, path).map(ToString::to_string);
        assert_eq!(route.as_deref(), Some(expected), "{host:?} {path}");
    }
    assert_eq!(matching_route(&routes[1..2], None, "/a/b"), None);
}

#[test]
fn a_prefix_matches_itself_and_what_is_below_at_segment_boundaries() {
    let table = table(&["/hello/*"]);
    for path in ["/hello", "/hello/", "/hello/x", "/hello//", "/hello/x/y/z", "/hello/../x", "/hello/%2f"] {
        check(&table, None, path, Some("f0"));
    }
    for path in ["", "/", "*", "hello", "/hell", "/hellox", "/Hello", "/hello%2fx", "//hello", "/x/hello"] {
        check(&table, None, path, None);
    }
}

#[test]
fn an_exact_path_matches_itself_only() {
    let table = table(&["/hello", "/", "/dir/"]);
    check(&table, None, "/hello", Some("f0"));
    check(&table, None, "/", Some("f1"));
    check(&table, None, "/dir/", Some("f2"));
    for path in ["", "/hello/", "/hello/x", "/dir", "/dir/x", "//"] {
        check(&table, None, path, None);
    }
}

#[test]
fn the_exact_path_wins_then_the_longest_prefix() {
    let table = table(&["/*", "/a/*", "/a/b/*", "/a/b", "/a/b/c/d/*", "/"]);
    check(&table, None, "/", Some("f5"));
    check(&table, None, "/x", Some("f0"));
    check(&table, None, "", Some("f0"));
    check(&table, None, "/a", Some("f1"));
    check(&table, None, "/a/x", Some("f1"));
    check(&table, None, "/a/b", Some("f3"));
    check(&table, None, "/a/b/", Some("f2"));
    check(&table, None, "/a/b/c", Some("f2"));
    check(&table, None, "/a/b/c/d", Some("f4"));
    check(&table, None, "/a/b/c/d/e", Some("f4"));
    check(&table, None, "/ax/b/c", Some("f0"));
}

#[test]
fn routes_of_the_host_win_over_routes_of_every_host() {
    let table = table(&["/a/b/c", "example.com/a/*", "example.com/", "other.org/*"]);
    check(&table, Some("example.com"), "/a/b/c", Some("f1"));
    check(&table, Some("EXAMPLE.com:8080"), "/a/b/c", Some("f1"));
    check(&table, Some("example.com:"), "/", Some("f2"));
    check(&table, Some("example.com."), "/", Some("f2"));
    check(&table, Some("example.com.:80"), "/", Some("f2"));
    check(&table, Some("other.org"), "/a/b/c", Some("f3"));
    for host in [None, Some(""), Some("example.org"), Some("x.example.com"), Some("[::1]:80"), Some(":80")] {
        check(&table, host, "/a/b/c", Some("f0"));
    }
    check(&table, Some("example.com"), "/x", None);
}

#[test]
fn hosts_without_the_path_fall_back_to_every_host() {
    let table = table(&["/x", "example.com/y"]);
    check(&table, Some("example.com"), "/x", Some("f0"));
}

#[test]
fn ports_are_told_from_addresses() {
    for (authority, host) in [
        ("a", "a"),
        ("a:1", "a"),
        ("a:", "a"),
        ("", ""),
        (":1", ""),
        ("[::1]", "[::1]"),
        ("[::1]:1", "[::1]"),
        ("[", "["),
        ("]", "]"),
        ("]:", "]"),
        ("a:1:2", "a"),
    ] {
        assert_eq!(without_port(authority), host, "{authority:?}");
    }
}

#[test]
fn a_route_of_two_stages_is_refused_naming_both() {
    let clash = RouteTable::new(Revision(1), vec![stage("a", &["/a/*", "/x"]), stage("b", &["/b/*", "/x"])]);
    assert_eq!(
        clash.unwrap_err().to_string(),
        "route /x is claimed by `a` (stage `live`) and by `b` (stage `live`), expected one claim"
    );
}

#[test]
fn a_stage_may_list_a_route_twice() {
    let table = RouteTable::new(Revision(1), vec![stage("a", &["/a", "/a"])]).unwrap();
    check(&table, None, "/a", Some("a"));
}

#[test]
fn the_deepest_route_is_found() {
    let deep = "/a".repeat(15);
    let table = table(&[&format!("{deep}/*"), &"/b".repeat(16)]);
    check(&table, None, &deep, Some("f0"));
    check(&table, None, &format!("{deep}/x"), Some("f0"));
    check(&table, None, &format!("{deep}{}", "/x".repeat(1000)), Some("f0"));
    check(&table, None, &"/b".repeat(16), Some("f1"));
    check(&table, None, &"/b".repeat(17), None);
    check(&table, None, &"/".repeat(100_000), None);
    check(&table, None, &"a".repeat(100_000), None);
    check(&table, Some(&"A".repeat(100_000)), "/c", None);
}

#[test]
fn the_empty_table_finds_nothing() {
    let table = RouteTable::<()>::empty();
    assert_eq!(table.revision(), Revision(0));
    assert_eq!(table.stages().count(), 0);
    for path in ["", "/", "/a"] {
        check(&table, Some("example.com"), path, None);
    }
}

#[test]
fn a_table_is_shared_between_threads() {
    fn shared<T: Send + Sync>(_: &T) {}
    let table = table(&["/a"]);
    shared(&table);
    assert_eq!(table.revision(), Revision(7));
    assert_eq!(table.stages().next().map(|stage| stage.function().as_str()), Some("f0"));
}

/// The rules as they are told, without maps: host before no host, exact before prefix, longest first.
fn naive<'a>(
    routes: &'a [(Route, FunctionName)],
    host: Option<&str>,
    path: &str,
) -> Option<&'a FunctionName> {
    let covers = |route: &Route| {
        let rest = path.strip_prefix(route.path());
        rest.is_some_and(|rest| rest.is_empty() || (route.below() && rest.starts_with('/')))
    };
    let rank = |route: &Route| (route.host().is_some(), !route.below(), route.path().len());
    routes
        .iter()
        .filter(|(route, _)| route.host().is_none() || route.host() == host)
        .filter(|(route, _)| covers(route))
        .max_by_key(|(route, _)| rank(route))
        .map(|(_, function)| function)
}

proptest! {
    #![proptest_config(ProptestConfig {
        rng_seed: RngSeed::Fixed(1),
        failure_persistence: None,
        ..ProptestConfig::with_cases(2000)
    })]

    #[test]
    fn found_stages_are_those_of_the_naive_reference(
        routes in proptest::collection::btree_set("(a|b)?(/[ab]{1,2}){0,4}/[ab*]", 0..12),
        host in proptest::option::of("[abc]"),
        paths in proptest::collection::vec("(/?[ab]{0,2}){0,6}/{0,2}", 1..12),
    ) {
        let routes: Vec<(Route, FunctionName)> = (0..)
            .zip(&routes)
            .map(|(i, route)| (route.parse().unwrap(), format!("f{i}").parse().unwrap()))
            .collect();
        let stages = routes.iter().map(|(route, function)| stage(function.as_str(), &[&route.to_string()]));
        let table = RouteTable::new(Revision(1), stages.collect()).unwrap();
        for path in paths {
            let found = table.find(host.as_deref(), &path).map(|stage| stage.function());
            prop_assert_eq!(found, naive(&routes, host.as_deref(), &path), "{:?} {:?}", host, path);
        }
    }

    #[test]
    fn no_host_or_path_panics(host in ".{0,40}", path in "[/a*ä]{0,80}|.*") {
        table(&["/*", "a/*", "/a/a/a"]).find(Some(&host), &path);
    }
}

/// Everything that is found in `table`, by host and path.
fn found(table: &RouteTable<()>, paths: &[String]) -> Vec<Option<String>> {
    let hosts = [None, Some("a.example"), Some("b.example")];
    let probes = hosts.iter().flat_map(|host| paths.iter().map(move |path| (*host, path)));
    probes.map(|(host, path)| table.find(host, path).map(|stage| stage.function().to_string())).collect()
}

#[test]
fn a_table_that_changed_step_by_step_is_the_one_made_anew() {
    let route = |function: usize, round: usize| match (function + round) % 4 {
        0 => format!("/f{function}/*"),
        1 => format!("a.example/f{function}/deep/{round}"),
        2 => format!("b.example/{}/f{function}/*", "long".repeat(20)),
        _ => format!("/f{function}"),
    };
    let name = |function: usize| format!("f{function}");
    let mut stands: std::collections::BTreeMap<String, String> = Default::default();
    let mut table = RouteTable::empty();
    let mut seen: Vec<String> = Vec::new();
    for step in 0..1000 {
        let (function, round) = (step * 37 % 200, step / 200);
        let (name, route) = (name(function), route(function, round));
        let path = &route[route.find('/').unwrap()..];
        seen.extend([path.trim_end_matches("/*").to_owned(), path.replace('*', "x/y")]);
        let kept = step % 5 != 4;
        let stages = if kept { vec![stage(&name, &[&route])] } else { Vec::new() };
        if kept {
            stands.insert(name.clone(), route)
        } else {
            stands.remove(&name)
        };
        let next = table.with(Revision(step as u64 + 1), &name.parse().unwrap(), stages).unwrap();
        table = next;
        assert_eq!(table.stages().count(), stands.len());
    }
    let stages = stands.iter().map(|(name, route)| stage(name, &[route])).collect();
    let anew = RouteTable::new(Revision(1000), stages).unwrap();
    assert_eq!(found(&table, &seen), found(&anew, &seen));
    assert!(found(&table, &seen).iter().any(Option::is_some));
    let of =
        |table: &RouteTable<()>| -> Vec<_> { table.stages().map(|stage| stage.function().clone()).collect() };
    assert_eq!(of(&table), of(&anew));
}

#[test]
fn a_change_leaves_the_table_before_it_as_it_was_and_refuses_clashes() {
    let before = table(&["/a/*", "/b/*"]);
    let function: FunctionName = "f0".parse().unwrap();
    let after = before.with(Revision(8), &function, vec![stage("f0", &["/c/*"])]).unwrap();
    check(&before, None, "/a/x", Some("f0"));
    check(&before, None, "/c/x", None);
    check(&after, None, "/a/x", None);
    check(&after, None, "/c/x", Some("f0"));
    assert!(after.stage(&function, &StageName::live()).is_some());
    let clash = before.with(Revision(8), &function, vec![stage("f0", &["/b/*"])]).map(drop).unwrap_err();
    assert_eq!((clash.first.0.as_str(), clash.second.0.as_str()), ("f1", "f0"));
    let without = before.with(Revision(8), &function, Vec::new()).unwrap();
    assert!(without.stage(&function, &StageName::live()).is_none());
    check(&without, None, "/a/x", None);
}

#[test]
fn a_change_copies_the_same_however_many_hosts_and_paths_there_are() {
    let stages = (0..2000).map(|i| {
        stage(&format!("f{i}"), &[&format!("/f{i}/*"), &format!("h{i}.example/*"), &format!("/deep/f{i}")])
    });
    let before = RouteTable::new(Revision(1), stages.collect()).unwrap();
    let held = |table: &RouteTable<()>| -> Vec<_> { table.stages().map(Arc::strong_count).collect() };
    let alone = held(&before);
    let changed = stage("f7", &["/f7/*", "h7.example/*", "other.example/f7", "/elsewhere"]);
    let after = before.with(Revision(2), &"f7".parse().unwrap(), vec![changed]).unwrap();
    let copied = held(&before).iter().zip(&alone).filter(|(now, alone)| now > alone).count();
    assert!((1..=200).contains(&copied), "{copied} of 2000 stages have another entry");
    check(&after, Some("h7.example"), "/x", Some("f7"));
    check(&after, Some("h8.example"), "/x", Some("f8"));
    check(&after, None, "/deep/f7", None);
}
