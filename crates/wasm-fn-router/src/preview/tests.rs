//! Which version has which address.

use http::HeaderValue;
use wasm_fn_core::{PreviewAccess, Revision, Route, Sticky, TrafficSplit, VersionNo};

use super::*;
use crate::{Salt, StageSpec, Tally, VersionEntry};

fn stage(function: &str, name: &str, routes: &[&str]) -> Arc<Stage<()>> {
    let no = VersionNo::FIRST;
    let label = HeaderValue::from_static("v1");
    let (function, name): (FunctionName, StageName) = (function.parse().unwrap(), name.parse().unwrap());
    let routes = match routes {
        [] => vec![Route::default_for(&function, &name)],
        routes => routes.iter().map(|route| route.parse().unwrap()).collect(),
    };
    let spec = StageSpec {
        function,
        stage: name,
        routes,
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
        versions: vec![VersionEntry { no, label, tally: Arc::new(Tally::new()), target: () }],
    };
    Arc::new(Stage::new(spec).unwrap())
}

fn table() -> RouteTable<()> {
    let stages = vec![
        stage("hello", "live", &[]),
        stage("hello", "staging", &[]),
        stage("hello", "v7", &[]),
        stage("catch-all", "live", &["/*"]),
        stage("api", "live", &["host.test/api/*", "/exact"]),
        stage("both", "live", &["/x/*", "/both/*"]),
        stage("unborn", "staging", &[]),
    ];
    RouteTable::new(Revision(1), stages).unwrap()
}

/// The address on any host as `version of function in stage`, and what of the path is below it.
fn at(path: &str) -> Option<(String, String)> {
    let table = table();
    let preview = table.preview(None, Some("v2--hello.example.com"), path)?;
    let PreviewMatch { stage, asked, path_bytes } = preview;
    Some((format!("{asked} of {} in {}", stage.function(), stage.name()), path[path_bytes..].to_owned()))
}

#[test]
fn first_segment_names_function_stage_and_version() {
    let addresses = [
        ("/hello@v2", "v2 of hello in live", ""),
        ("/hello@v2/", "v2 of hello in live", "/"),
        ("/hello@v4294967295/a/b", "v4294967295 of hello in live", "/a/b"),
        ("/hello@canary/a@v3", "canary of hello in live", "/a@v3"),
        ("/hello@stable//", "stable of hello in live", "//"),
        ("/hello@previous/x", "previous of hello in live", "/x"),
        ("/hello@latest/x", "latest of hello in live", "/x"),
        ("/hello@staging@v2/x", "v2 of hello in staging", "/x"),
        ("/hello@staging@v2/%20", "v2 of hello in staging", "/%20"),
        ("/unborn@staging@stable", "stable of unborn in staging", ""),
        ("/catch-all@v1/x", "v1 of catch-all in live", "/x"),
        ("/api@v1", "v1 of api in live", ""),
    ];
    for (path, version, rest) in addresses {
        assert_eq!(at(path), Some((version.to_owned(), rest.to_owned())), "{path}");
    }
}

#[test]
fn the_longest_name_has_an_address() {
    let name = "a".repeat(63);
    let table = RouteTable::new(Revision(1), vec![stage(&name, "live", &[])]).unwrap();
    let path = format!("/{name}@v2/x");
    assert_eq!(table.preview(None, None, &path).unwrap().asked.to_string(), "v2");
}

#[test]
fn other_paths_are_no_address() {
    let long_name = format!("/{}@v1", "a".repeat(64));
    let long_place = format!("/hello@{}", "v".repeat(300));
    let others = [
        "",
        "*",
        "/",
        "//",
        "/hello",
        "/hello/x",
        "/@",
        "/@v2",
        "/hello@",
        "/hello@v",
        "/hello@v0",
        "/hello@v01",
        "/hello@V2",
        "/hello@v99999999999",
        "/hello@2",
        "/hello@v2@v3",
        "/hello@v2@",
        "/hello@@v2",
        "/hello@canary@staging",
        "/hello@v2%2Fx",
        "/hello%4",
        "/hello%",
        "/Hello@v2",
        "/nobody@v1",
        "/unborn@v1",
        "/x/hello@v2",
        "hello@v2",
        &long_name,
        &long_place,
        "/hello@staging",
        "/hello@staging/x",
    ];
    for path in others {
        assert_eq!(at(path), None, "{path}");
    }
}

#[test]
fn a_stage_that_is_called_like_a_version_keeps_its_address() {
    assert_eq!(at("/hello@v7/x"), None);
    assert_eq!(table().find(None, "/hello@v7/x").unwrap().name().as_str(), "v7");
    assert_eq!(at("/hello@v7@v1").unwrap().0, "v1 of hello in v7");
    assert_eq!(at("/hello@live@v7").unwrap().0, "v7 of hello in live");
}

#[test]
fn host_names_count_below_the_preview_domain_alone() {
    let (table, domain) = (table(), "example.com".parse().unwrap());
    let on = |host: Option<&str>, path: &str| {
        let preview = table.preview(Some(&domain), host, path)?;
        Some(format!("{} of {}, {}", preview.asked, preview.stage.function(), preview.path_bytes))
    };
    assert_eq!(on(Some("v2--hello.example.com"), "/x").as_deref(), Some("v2 of hello, 0"));
    assert_eq!(on(Some("Canary--Hello.Example.com:8080"), "*").as_deref(), Some("canary of hello, 0"));
    // The host comes before the path.
    assert_eq!(on(Some("v2--hello.example.com"), "/hello@v3").as_deref(), Some("v2 of hello, 0"));
    assert_eq!(on(Some("www.example.com"), "/hello@v3").as_deref(), Some("v3 of hello, 9"));
    for host in [None, Some("example.com"), Some("v2--nobody.example.com"), Some("v2--hello.example.org")] {
        assert_eq!(on(host, "/x"), None, "{host:?}");
    }
}

#[test]
fn guests_see_the_default_route_or_the_first() {
    let path = |function: &str, stage: &str| {
        let table = table();
        table.stage(&function.parse().unwrap(), &stage.parse().unwrap()).unwrap().own_path().to_owned()
    };
    assert_eq!(path("hello", "live"), "/hello");
    assert_eq!(path("hello", "staging"), "/hello@staging");
    assert_eq!(path("catch-all", "live"), "");
    assert_eq!(path("api", "live"), "/api");
    assert_eq!(path("both", "live"), "/both");
}

#[test]
fn addresses_that_are_nearly_right_are_explained() {
    let table = table();
    for wrong in ["/hello@", "/hello@v/x", "/hello@v99999999999", "/hello@v2@v3", "/unborn@v1", "/hello@%22"]
    {
        let text = table.misaddressed(wrong).unwrap_or_else(|| panic!("{wrong}"));
        assert!(text.contains("expected one, or one of v1, v2, …, stable"), "{text}");
    }
    let text = table.misaddressed("/hello@v2@v3/x").unwrap();
    assert!(text.starts_with("\"v2@v3\" is not a stage of `hello`"), "{text}");
    for path in ["/nobody@v1", "/@v2", "/hello", "/x", ""] {
        assert_eq!(table.misaddressed(path), None, "{path}");
    }
}
