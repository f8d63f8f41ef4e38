//! Tests for `route`.

use proptest::{prelude::*, test_runner::RngSeed};

use super::*;

#[track_caller]
fn check(text: &str, host: Option<&str>, path: &str, below: bool) {
    let route: Route = text.parse().unwrap();
    assert_eq!((route.host(), route.path(), route.below()), (host, path, below), "{text:?}");
    assert_eq!(route.to_string(), text.replace(|c: char| c.is_ascii_uppercase(), "h"), "{text:?}");
}

#[test]
fn routes_are_a_host_a_path_and_a_star() {
    check("/", None, "/", false);
    check("/*", None, "", true);
    check("/hello", None, "/hello", false);
    check("/hello/", None, "/hello/", false);
    check("/hello/*", None, "/hello", true);
    check("/a/b/c/*", None, "/a/b/c", true);
    check("/h@staging/*", None, "/h@staging", true);
    check("/a%20b", None, "/a%20b", false);
    check("example.com/", Some("example.com"), "/", false);
    check("example.com/*", Some("example.com"), "", true);
    check("HHH.example/api/*", Some("hhh.example"), "/api", true);
    check("my_host-1/x", Some("my_host-1"), "/x", false);
}

#[test]
fn paths_have_one_spelling() {
    for (text, route) in [
        ("/%68ello/*", "/hello/*"),
        ("/caf%c3%a9", "/caf%C3%A9"),
        ("/a/../b/./c", "/b/c"),
        ("/..", "/"),
        ("/a/../*", "/*"),
        ("/%2a", "/%2A"),
        ("/a%2Fb", "/a%2Fb"),
        ("/100%", "/100%25"),
        ("/[x]", "/%5Bx%5D"),
    ] {
        let parsed: Route = text.parse().unwrap();
        assert_eq!(parsed.to_string(), route, "{text:?}");
        assert_eq!(route.parse(), Ok(parsed), "{text:?}");
    }
}

#[test]
fn paths_keep_their_case() {
    let route: Route = "Example.COM/Path".parse().unwrap();
    assert_eq!((route.host(), route.path()), (Some("example.com"), "/Path"));
}

#[test]
fn texts_without_a_path_are_refused() {
    for text in ["", "example.com", "*", "hello"] {
        assert_eq!(text.parse::<Route>(), Err(RouteError::NoPath(text.to_owned())), "{text:?}");
    }
}

#[test]
fn stars_elsewhere_are_refused() {
    for text in ["/a*", "/*/a", "/*a", "/a/*/b", "/a/**", "/*/*", "/a/*/", "//*", "/a//*"] {
        assert_eq!(text.parse::<Route>(), Err(RouteError::Star(text.to_owned())), "{text:?}");
    }
}

#[test]
fn characters_of_no_path_or_host_are_refused() {
    let texts = [
        ("/a b", ' '),
        ("/a?b", '?'),
        ("/a#b", '#'),
        ("/ä", 'ä'),
        ("/a\n", '\n'),
        ("/\0", '\0'),
        ("/{id}", '{'),
        ("/a\\b", '\\'),
        ("*.example.com/", '*'),
        ("example.com:80/", ':'),
        ("user@host/", '@'),
        ("[::1]/", '['),
    ];
    for (text, found) in texts {
        let route = text.to_owned();
        assert_eq!(text.parse::<Route>(), Err(RouteError::Character { route, found }), "{text:?}");
    }
}

#[test]
fn long_and_deep_routes_are_refused() {
    let long = format!("/{}", "x".repeat(1023));
    assert!(long.parse::<Route>().is_ok());
    let longer = format!("{long}x");
    assert_eq!(longer.parse::<Route>(), Err(RouteError::TooLong { bytes: 1025, segments: 1 }));
    assert!("/a".repeat(16).parse::<Route>().is_ok());
    assert_eq!("/a".repeat(17).parse::<Route>(), Err(RouteError::TooLong { bytes: 34, segments: 17 }));
}

#[test]
fn functions_answer_under_their_name() {
    let function = "hello".parse().unwrap();
    assert_eq!(Route::default_for(&function, &StageName::live()).to_string(), "/hello/*");
    assert_eq!(Route::default_for(&function, &"staging".parse().unwrap()).to_string(), "/hello@staging/*");
}

proptest! {
    #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(1), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_route_round_trips(text in "([a-z0-9._-]{1,20})?(/[A-Za-z0-9%@._~!-]{1,8}){1,8}(/\\*)?") {
        let route: Route = text.parse().unwrap();
        prop_assert_eq!(route.to_string().parse(), Ok(route));
    }

    #[test]
    fn default_routes_round_trip(function in "[a-z0-9][a-z0-9_-]{0,62}", stage in "[a-z0-9][a-z0-9_-]{0,62}") {
        let route = Route::default_for(&function.parse().unwrap(), &stage.parse().unwrap());
        prop_assert_eq!(route.to_string().parse(), Ok(route));
    }

    #[test]
    fn no_text_panics(text in "[/*.:a-c ä\\n]{0,40}|.*") {
        let _ = text.parse::<Route>();
    }
}

#[test]
fn default_is_told_from_what_looks_like_it() {
    let (hello, live): (FunctionName, _) = ("hello".parse().unwrap(), StageName::live());
    let staging: StageName = "staging".parse().unwrap();
    for stage in [&live, &staging] {
        assert!(Route::default_for(&hello, stage).is_default_for(&hello, stage));
    }
    for other in ["/hello", "/hell/*", "/hello2/*", "/hello@staging/*", "x/hello/*", "/hello/a/*", "/*"] {
        assert!(!other.parse::<Route>().unwrap().is_default_for(&hello, &live), "{other}");
    }
    for other in ["/hello/*", "/hello@stag/*", "/hello@staging", "/hellostaging/*"] {
        assert!(!other.parse::<Route>().unwrap().is_default_for(&hello, &staging), "{other}");
    }
}
