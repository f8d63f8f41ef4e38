//! Deciding which version answers, for users whose cookie decides it, among 10,000 functions with a canary.

use std::{hint::black_box, net::Ipv4Addr, sync::Arc};

use http::{HeaderMap, HeaderName, HeaderValue};
use wasm_fn_core::{
    Point, PreviewAccess, Revision, Route, Source, StageName, Sticky, TrafficSplit, VersionNo, Weight,
};
use wasm_fn_router::{RequestAttributes, RouteTable, Salt, Stage, StageSpec, Tally, VersionEntry};

const FUNCTIONS: usize = 10_000;

/// Paths are visited in steps of this prime, so that each is before any is again.
const STRIDE: usize = 7919;

/// Users take turns; a tenth of them are on the canary.
const USERS: usize = 64;

/// Finds and chooses `count` times.
pub(crate) fn run(count: u32) {
    let names: Vec<String> = (0..FUNCTIONS).map(|i| format!("function-{i}")).collect();
    let stages = names.iter().map(|name| stage(name)).collect();
    let table = RouteTable::new(Revision(1), stages).expect("routes differ");
    let paths: Vec<String> = names.iter().map(|name| format!("/{name}/orders/17")).collect();
    let users: Vec<HeaderMap> = (0..USERS).map(headers).collect();
    let drawn = Point::new(0).expect("there are 10,000 points");

    let mut at = 0;
    for _ in 0..count {
        at = (at + STRIDE) % FUNCTIONS;
        let traits = RequestAttributes {
            headers: &users[at % USERS],
            query: Some("page=2&sort=name"),
            client: Ipv4Addr::LOCALHOST.into(),
        };
        let stage = table.find(Some("functions.example.com"), black_box(&paths[at]));
        let stage = stage.expect("every function has a route");
        let chosen = stage.choose(black_box(&traits), None, || drawn).expect("nothing was asked for");
        black_box(chosen.version.no);
    }
}

/// A function with a canary at 10 %, which users keep who were placed on it.
fn stage(function: &str) -> Arc<Stage<()>> {
    let numbers = [1, 2].map(|number| VersionNo::new(number).expect("above zero"));
    let [stable, canary] = numbers;
    let share = Weight::from_basis_points(1000).expect("at most everything");
    let function = function.parse().expect("a valid name");
    let versions = numbers.map(|no| VersionEntry {
        no,
        label: HeaderValue::try_from(no.to_string()).expect("visible ASCII"),
        tally: Arc::new(Tally::new()),
        target: (),
    });
    let spec = StageSpec {
        routes: vec![Route::default_for(&function, &StageName::live())],
        function,
        stage: StageName::live(),
        preview: PreviewAccess::Token,
        split: TrafficSplit::between(stable, canary, share),
        stable,
        canary: Some(canary),
        previous: None,
        sticky: Sticky::Key(Source::Cookie("sid".to_owned())),
        cohorts: Vec::new(),
        salt: Salt([0x0123_4567, 0x89ab_cdef]),
        comparison: None,
        baseline: None,
        versions: versions.into(),
    };
    Arc::new(Stage::new(spec).expect("every version is listed"))
}

/// What the browser of user number `user` sends.
fn headers(user: usize) -> HeaderMap {
    let pairs = [
        ("host", "functions.example.com"),
        ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"),
        ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
        ("accept-language", "en-US,en;q=0.5"),
        ("accept-encoding", "gzip, deflate, br, zstd"),
        ("connection", "keep-alive"),
    ];
    let mut headers: HeaderMap = pairs
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
        .into_iter()
        .collect();
    let cookie = format!("theme=dark; consent=yes; sid=0f8fad5b-d9cb-469f-a165-{user:012x}; lang=en");
    headers.insert("cookie", HeaderValue::try_from(cookie).expect("visible ASCII"));
    headers
}
