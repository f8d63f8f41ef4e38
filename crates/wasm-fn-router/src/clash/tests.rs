//! Facts about `clash`.

use super::*;

#[track_caller]
fn check(claims: &[(&str, &str, &str)], expected: Result<(), &str>) {
    let claims: Vec<(FunctionName, StageName, Route)> = claims
        .iter()
        .map(|(function, stage, route)| {
            (function.parse().unwrap(), stage.parse().unwrap(), route.parse().unwrap())
        })
        .collect();
    let found = check_clashes(claims.iter().map(|(function, stage, route)| (function, stage, route)));
    assert_eq!(found.map_err(|clash| clash.to_string()), expected.map_err(str::to_owned));
}

#[test]
fn one_route_of_two_functions_clashes() {
    check(
        &[("a", "live", "/x/*"), ("b", "live", "/y/*"), ("c", "staging", "/x/*")],
        Err("route /x/* is claimed by `a` (stage `live`) and by `c` (stage `staging`), expected one claim"),
    );
}

#[test]
fn one_route_of_two_stages_clashes() {
    check(
        &[("a", "live", "/x"), ("a", "staging", "/x")],
        Err("route /x is claimed by `a` (stage `live`) and by `a` (stage `staging`), expected one claim"),
    );
}

#[test]
fn hosts_clash_in_any_case() {
    check(
        &[("a", "live", "Example.com/*"), ("b", "live", "example.COM/*")],
        Err("route example.com/* is claimed by `a` (stage `live`) and by `b` (stage `live`), \
         expected one claim"),
    );
}

#[test]
fn routes_that_only_overlap_do_not_clash() {
    check(
        &[
            ("a", "live", "/*"),
            ("b", "live", "/"),
            ("c", "live", "/x/*"),
            ("d", "live", "/x"),
            ("e", "live", "/x/"),
            ("f", "live", "/x/y/*"),
            ("g", "live", "example.com/x/*"),
        ],
        Ok(()),
    );
}

#[test]
fn a_stage_may_claim_a_route_again() {
    check(&[("a", "live", "/x"), ("a", "live", "/x")], Ok(()));
    check(&[], Ok(()));
}
