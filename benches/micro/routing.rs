//! What does it cost to decide which version answers, and does it grow with the number of functions?
//!
//! Budget: 150 ns for `find` and `choose` together with 10,000 functions; 80 ns with 1,000. Requests go
//! round all functions in a scattered order, so that neither caches nor branch predictors know the next
//! one, and carry the headers that a browser sends.

use std::{hint::black_box, net::Ipv4Addr, sync::Arc, time::Duration};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use http::{HeaderMap, HeaderName, HeaderValue};
use wasm_fn_core::{
    CohortRule, Condition, Point, PreviewAccess, Revision, Role, Route, Source, StageName, Sticky,
    TrafficSplit, VersionNo, Weight,
};
use wasm_fn_router::{
    PlacedCohort, RequestAttributes, RouteTable, Salt, Stage, StageSpec, Tally, VersionEntry,
};

/// Paths are visited in steps of this prime.
const STRIDE: usize = 7919;

/// A function with a canary at 10 %.
fn stage(function: &str, sticky: Sticky, cohorts: Vec<PlacedCohort>) -> Arc<Stage<()>> {
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
        sticky,
        cohorts,
        salt: Salt([0x0123_4567, 0x89ab_cdef]),
        comparison: None,
        baseline: None,
        versions: versions.into(),
    };
    Arc::new(Stage::new(spec).expect("every version is listed"))
}

fn headers() -> HeaderMap {
    let pairs = [
        ("host", "functions.example.com"),
        ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"),
        ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
        ("accept-language", "en-US,en;q=0.5"),
        ("accept-encoding", "gzip, deflate, br, zstd"),
        ("cookie", "theme=dark; consent=yes; sid=0f8fad5b-d9cb-469f-a165-70867728950e; lang=en"),
        ("x-team", "payments"),
        ("connection", "keep-alive"),
    ];
    pairs
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
        .into_iter()
        .collect()
}

/// Draws that cost next to nothing.
struct Draws(u64);

impl Draws {
    fn next(&mut self) -> Point {
        self.0 = self.0.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        Point::from_bits(self.0)
    }
}

fn find_and_choose(criterion: &mut Criterion) {
    let headers = headers();
    let request = RequestAttributes {
        headers: &headers,
        query: Some("page=2&sort=name"),
        client: Ipv4Addr::LOCALHOST.into(),
    };
    let mut group = criterion.benchmark_group("find-and-choose");
    for functions in [1, 1_000, 10_000] {
        let names: Vec<String> = (0..functions).map(|i| format!("function-{i}")).collect();
        let stages = names.iter().map(|name| stage(name, Sticky::None, Vec::new()));
        let table = RouteTable::new(Revision(1), stages.collect()).expect("routes differ");
        let paths: Vec<String> = names.iter().map(|name| format!("/{name}/orders/17")).collect();
        let (mut at, mut draws) = (0, Draws(1));
        group.bench_function(BenchmarkId::from_parameter(functions), |bencher| {
            bencher.iter(|| {
                at = (at + STRIDE) % functions;
                let stage = table.find(Some("functions.example.com"), black_box(&paths[at]))?;
                stage.choose(&request, None, || draws.next()).ok().map(|chosen| chosen.version.no)
            });
        });
        group.bench_function(BenchmarkId::new("find", functions), |bencher| {
            bencher.iter(|| {
                at = (at + STRIDE) % functions;
                table.find(Some("functions.example.com"), black_box(&paths[at])).map(Arc::as_ptr)
            });
        });
        group.bench_function(BenchmarkId::new("miss", functions), |bencher| {
            bencher
                .iter(|| table.find(Some("functions.example.com"), black_box("/no-such-function/orders/17")));
        });
    }
    group.finish();
}

fn choose(criterion: &mut Criterion) {
    let headers = headers();
    let request = RequestAttributes {
        headers: &headers,
        query: Some("page=2&sort=name"),
        client: Ipv4Addr::LOCALHOST.into(),
    };
    let rule = |source: Source, value: &str| PlacedCohort {
        rule: CohortRule {
            name: None,
            condition: Condition::new(source, vec![value.to_owned()]).expect("one short value"),
            role: Role::Canary,
        },
        share: Weight::FULL,
    };
    let team = || Source::Header("x-team".to_owned());
    let other_teams = (0..10).map(|i| rule(team(), &format!("team-{i}"))).collect();
    let stages = [
        ("draw", stage("hello", Sticky::None, Vec::new())),
        ("sticky-cookie", stage("hello", Sticky::Key(Source::Cookie("sid".to_owned())), Vec::new())),
        ("sticky-address", stage("hello", Sticky::ClientAddress, Vec::new())),
        ("cohort", stage("hello", Sticky::None, vec![rule(team(), "payments")])),
        ("ten-cohorts-missed", stage("hello", Sticky::None, other_teams)),
    ];
    let mut group = criterion.benchmark_group("choose");
    for (name, stage) in stages {
        let mut draws = Draws(1);
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                stage.choose(black_box(&request), None, || draws.next()).map(|chosen| chosen.reason)
            });
        });
    }
    group.finish();
}

fn short() -> Criterion {
    Criterion::default().warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2))
}

criterion_group! { name = routing; config = short(); targets = find_and_choose, choose }
criterion_main!(routing);
