//! A version's own address: who reaches it, what the guest sees, and where it is counted.

use std::sync::{Arc, atomic::Ordering::SeqCst};

use http::{Method, Request, header};
use wasm_fn_core::{Outcome, PreviewAccess, Revision, StageName, Sticky, TrafficSplit};
use wasm_fn_router::{Placement, RouteTable, Salt, Stage, StageSpec, Tally};

use super::harness::{
    ClientBody, Fake, Http1, Node, compared::Setup, entry, eventually, get, get2, ok, options, problem, text,
    v,
};
use crate::ServerOptions;

/// Answers with the version and what it sees of the request.
fn showing() -> Fake {
    Fake::new(|call| async move {
        let headers = call.request.headers();
        for name in ["wasm-fn-version", "wasm-fn-token"] {
            assert!(!headers.contains_key(name), "{name}");
        }
        let cookies: Vec<_> =
            headers.get_all(header::COOKIE).iter().map(|value| value.to_str().unwrap()).collect();
        let target = call.request.uri().path_and_query().unwrap();
        assert!(!format!("{:?}", call.request).contains("sesame"), "{:?}", call.request);
        ok(format!("{} {target} {}", call.version, cookies.join("|")))
    })
}

/// A stage `live` with v1 that everybody gets, v2 that nobody does, and these routes.
fn stage(
    function: &str,
    routes: &[&str],
    preview: PreviewAccess,
    tallies: [&Arc<Tally>; 2],
) -> Arc<Stage<Fake>> {
    let spec = StageSpec {
        function: function.parse().unwrap(),
        stage: StageName::live(),
        routes: routes.iter().map(|route| route.parse().unwrap()).collect(),
        preview,
        split: TrafficSplit::all(v(1)),
        stable: v(1),
        canary: Some(v(2)),
        previous: None,
        sticky: Sticky::None,
        cohorts: Vec::new(),
        salt: Salt([1, 2]),
        comparison: None,
        baseline: None,
        versions: vec![entry(v(1), tallies[0], showing()), entry(v(2), tallies[1], showing())],
    };
    Arc::new(Stage::new(spec).unwrap())
}

/// A node with a preview domain, and the tally of v2 of `hello`.
async fn node() -> (Node, Arc<Tally>) {
    let (first, second, other) = (Arc::new(Tally::new()), Arc::default(), Arc::default());
    let others = [&other, &other];
    let stages = vec![
        stage("hello", &["/hello/*"], PreviewAccess::Token, [&first, &second]),
        stage("api", &["api.test/v1/api/*", "/exact"], PreviewAccess::Open, others),
        stage("all", &["/*"], PreviewAccess::Open, others),
        stage("hidden", &["/hidden/*"], PreviewAccess::Off, others),
    ];
    let table = RouteTable::new(Revision(1), stages).unwrap();
    let options = ServerOptions { preview_domain: Some("example.com".parse().unwrap()), ..options() };
    (Node::with_table(table, first, options).await, second)
}

fn with(mut request: Request<ClientBody>, headers: &[(&'static str, &str)]) -> Request<ClientBody> {
    for (name, value) in headers {
        request.headers_mut().append(*name, value.parse().unwrap());
    }
    request
}

fn on(host: &str, path: &str) -> Request<ClientBody> {
    let mut request = get(path);
    request.headers_mut().insert(header::HOST, host.parse().unwrap());
    request
}

/// The answer of a guest.
async fn answer(client: &mut Http1, request: Request<ClientBody>) -> String {
    let shown = request.uri().to_string();
    let response = client.send_request(request).await.unwrap();
    assert_eq!(response.status(), 200, "{shown}");
    let version = response.headers()["wasm-fn-version"].clone();
    let text = text(response).await;
    assert!(text.starts_with(version.to_str().unwrap()), "{text}");
    text
}

/// Status, code and text of a refusal.
async fn refusal(client: &mut Http1, request: Request<ClientBody>) -> (u16, String, String) {
    let (status, body) = problem(client.send_request(request).await.unwrap()).await;
    let text = |name: &str| body[name].as_str().unwrap().to_owned();
    (status.as_u16(), text("code"), text("detail"))
}

#[tokio::test]
async fn guests_see_the_path_of_their_own_route() {
    let (node, _) = node().await;
    let mut client = node.http1().await;
    let cases = [
        ("/hello@v2", "v2 /hello "),
        ("/hello@v2/", "v2 /hello/ "),
        ("/hello@canary/a//b?c=d&e", "v2 /hello/a//b?c=d&e "),
        ("/hello%40stable/x%40?", "v1 /hello/x%40? "),
        ("/hello@latest/hello@v1", "v2 /hello/hello@v1 "),
        ("/%68ello@v2/caf%c3%a9", "v2 /hello/caf%c3%a9 "),
        ("/x/../hello@v2/%79?z", "v2 /hello/y?z "),
    ];
    for (path, seen) in cases {
        let request = with(get(path), &[("wasm-fn-token", "sesame-hello")]);
        assert_eq!(answer(&mut client, request).await, seen, "{path}");
    }
    for (path, seen) in [
        ("/api@v2", "v2 /v1/api "),
        ("/api@v2/x?y", "v2 /v1/api/x?y "),
        ("/all@v2", "v2 / "),
        ("/all@v2?y", "v2 /?y "),
        ("/all@v2/x", "v2 /x "),
    ] {
        assert_eq!(answer(&mut client, get(path)).await, seen, "{path}");
    }
}

#[tokio::test]
async fn host_names_of_versions_keep_the_path() {
    let (node, _) = node().await;
    let mut client = node.http1().await;
    let token = [("wasm-fn-token", "sesame-hello")];
    for (host, path, seen) in [
        ("v2--hello.example.com", "/hello/x?y=1", "v2 /hello/x?y=1 "),
        ("V2--HELLO.example.com:8080", "/", "v2 / "),
        ("stable--hello.example.com", "/hello@v2/x", "v1 /hello@v2/x "),
    ] {
        assert_eq!(answer(&mut client, with(on(host, path), &token)).await, seen, "{host}{path}");
    }
    for host in
        ["v2--nobody.example.com", "hello.example.com", "v2--hello.example.org", "v--hello.example.com"]
    {
        assert_eq!(answer(&mut client, on(host, "/hello")).await, "v1 /hello ", "{host}");
    }
    let refused = refusal(&mut client, on("v2--hello.example.com", "/hello")).await;
    assert_eq!((refused.0, refused.1.as_str()), (403, "preview-denied"));
}

#[tokio::test]
async fn http2_has_the_same_addresses() {
    let (node, _) = node().await;
    let mut client = node.http2().await;
    let request = with(get2("/hello@v2/x?y"), &[("wasm-fn-token", "open sesame"), ("cookie", "a=b")]);
    let response = client.send_request(request).await.unwrap();
    assert_eq!(response.headers()["wasm-fn-version"], "v2");
    assert_eq!(text(response).await, "v2 /hello/x?y a=b");
    let mut request =
        with(get2("/hello/x"), &[("cookie", "a=b"), ("cookie", "wasm-fn-preview=sesame-hello")]);
    *request.uri_mut() = "http://v2--hello.example.com/hello/x".parse().unwrap();
    assert_eq!(text(client.send_request(request).await.unwrap()).await, "v2 /hello/x a=b");
    let refused = problem(client.send_request(get2("/hello@v2/x")).await.unwrap()).await;
    assert_eq!((refused.0.as_u16(), &refused.1["code"]), (403, &"preview-denied".into()));
}

#[tokio::test]
async fn a_token_is_needed_and_refusals_do_not_tell_which_versions_there_are() {
    let (node, _) = node().await;
    let mut client = node.http1().await;
    let without: [&[(&str, &str)]; 6] = [
        &[],
        &[("wasm-fn-token", "wrong")],
        &[("wasm-fn-token", "sesame-all")],
        &[("cookie", "wasm-fn-preview=sesame-all")],
        &[("cookie", "wasm-fn-preview=open sesame")],
        &[("wasm-fn-token", "")],
    ];
    for headers in without {
        let mut refused = Vec::new();
        for path in ["/hello@v2", "/hello@v3", "/hello@previous", "/hello@v2?wasm-fn-preview=sesame-all"] {
            refused.push(refusal(&mut client, with(get(path), headers)).await);
        }
        assert_eq!((refused[0].0, refused[0].1.as_str()), (403, "preview-denied"));
        assert!(refused.iter().all(|other| *other == refused[0]), "{refused:?}");
    }
    // The admin token has no business in a browser.
    let refused = refusal(&mut client, get("/hello@v2?wasm-fn-preview=open%20sesame")).await;
    assert_eq!(refused.1, "preview-denied");
    let long = format!("wasm-fn-preview=sesame-hello{}", "x".repeat(8000));
    let refused = refusal(&mut client, with(get("/hello@v2"), &[("cookie", &long)])).await;
    assert_eq!(refused.1, "preview-denied");
    for headers in [[("wasm-fn-token", "open sesame")], [("wasm-fn-token", "sesame-hello")]] {
        for path in ["/hello@v3", "/hello@previous", "/hello@v4294967295/x"] {
            let refused = refusal(&mut client, with(get(path), &headers)).await;
            assert_eq!((refused.0, refused.1.as_str()), (404, "no-such-version"), "{path}");
        }
    }
}

#[tokio::test]
async fn a_preview_token_does_not_open_the_header() {
    let (node, _) = node().await;
    let headers = [("wasm-fn-version", "v2"), ("wasm-fn-token", "sesame-hello")];
    let refused = refusal(&mut node.http1().await, with(get("/hello"), &headers)).await;
    assert_eq!((refused.0, refused.1.as_str()), (403, "override-denied"));
}

#[tokio::test]
async fn browsers_exchange_their_token_for_a_cookie() {
    let (node, _) = node().await;
    let mut client = node.http1().await;
    let first = client.send_request(get("/hello@v2/x?a=1&wasm-fn-preview=sesame-hello")).await.unwrap();
    assert_eq!(first.status(), 307);
    assert!(first.headers().contains_key("wasm-fn-request-id"));
    assert_eq!(first.headers()[header::LOCATION], "/hello@v2/x?a=1");
    assert_eq!(first.headers()[header::CACHE_CONTROL], "no-store");
    let cookie = first.headers()[header::SET_COOKIE].to_str().unwrap().to_owned();
    assert_eq!(cookie, "wasm-fn-preview=sesame-hello; Path=/hello@v2; HttpOnly; SameSite=Lax");
    let cookies = format!("sid=7; {}; theme=dark", cookie.split(';').next().unwrap());
    let second = with(get("/hello@v2/x?a=1"), &[("cookie", &cookies)]);
    assert_eq!(answer(&mut client, second).await, "v2 /hello/x?a=1 sid=7; theme=dark");
    let wide =
        client.send_request(on("v2--hello.example.com", "/?wasm-fn-preview=sesame-hello")).await.unwrap();
    assert_eq!(
        wide.headers()[header::SET_COOKIE],
        "wasm-fn-preview=sesame-hello; Path=/; HttpOnly; SameSite=Lax"
    );
    assert_eq!(wide.headers()[header::LOCATION], "/");
    eventually(|| node.tally.overrides().total() + node.tally.snapshot().total() == 0).await;
}

#[tokio::test]
async fn a_token_that_is_not_needed_is_taken_off_all_the_same() {
    let (node, _) = node().await;
    let mut client = node.http1().await;
    let cookie = [("cookie", "wasm-fn-preview=sesame-all; a=b")];
    let request = with(get("/all@v2/x?y&wasm-fn-preview=sesame-all"), &cookie);
    assert_eq!(answer(&mut client, request).await, "v2 /x?y a=b");
    let headers = [("wasm-fn-token", "open sesame"), ("wasm-fn-version", "v1")];
    let request = with(get("/hello@v2?wasm-fn-preview=sesame-hello"), &headers);
    assert_eq!(answer(&mut client, request).await, "v2 /hello ", "the address comes before the header");
}

#[tokio::test]
async fn addresses_that_are_off_are_nobody_else_s() {
    let (node, _) = node().await;
    let mut client = node.http1().await;
    for token in ["", "wrong", "open sesame", "sesame-hidden"] {
        let request = with(get("/hidden@v2/x"), &[("wasm-fn-token", token)]);
        let (status, code, detail) = refusal(&mut client, request).await;
        assert_eq!((status, code.as_str()), (404, "no-such-function"));
        assert_eq!(detail, "versions of `hidden` have no addresses of their own");
    }
}

#[tokio::test]
async fn addresses_of_no_version_are_answered_by_ordinary_routes_or_explained() {
    let (node, _) = node().await;
    let mut client = node.http1().await;
    let long = format!("/hello@{}", "v".repeat(5000));
    let wrong = [
        "/hello@",
        "/hello@v",
        "/hello@v99999999999",
        "/@v2",
        "/hello@v2@v3",
        "/nobody@v1",
        "/hello%40",
        &long,
    ];
    for path in wrong {
        assert_eq!(answer(&mut client, get(path)).await, format!("v1 {path} "), "`all` has everything");
    }
    let (first, second) = (Arc::new(Tally::new()), Arc::default());
    let alone = stage("hello", &["/hello/*"], PreviewAccess::Token, [&first, &second]);
    let table = RouteTable::new(Revision(1), vec![alone]).unwrap();
    let node = Node::with_table(table, first, options()).await;
    let mut client = node.http1().await;
    for path in wrong {
        let (status, code, detail) = refusal(&mut client, get(path)).await;
        assert_eq!((status, code.as_str()), (404, "no-such-function"), "{path}");
        let explained = detail.contains("is not a stage of `hello`");
        assert_eq!(explained, path.starts_with("/hello") && path.len() < 300, "{path}: {detail}");
    }
    // No preview domain: only the path is looked at.
    assert_eq!(answer(&mut client, on("v2--hello.example.com", "/hello")).await, "v1 /hello ");
}

#[tokio::test]
async fn a_path_that_no_longer_fits_is_refused() {
    let route = format!("/{}/*", "r".repeat(1000));
    let tally = Arc::new(Tally::new());
    let stage = stage("long", &[&route], PreviewAccess::Open, [&tally, &Arc::default()]);
    let node = Node::with_table(RouteTable::new(Revision(1), vec![stage]).unwrap(), tally, options()).await;
    let path = format!("/long@v1/{}", "x".repeat(64_900));
    let refused = refusal(&mut node.http1().await, get(&path)).await;
    assert_eq!((refused.0, refused.1.as_str()), (400, "bad-request"));
}

#[tokio::test]
async fn who_asks_for_a_version_is_counted_apart_by_address_and_by_header() {
    let (node, green) = node().await;
    let mut client = node.http1().await;
    let token = ("wasm-fn-token", "open sesame");
    answer(&mut client, with(get("/hello@v2"), &[token])).await;
    answer(&mut client, with(get("/hello"), &[token, ("wasm-fn-version", "v2")])).await;
    answer(&mut client, with(get("/hello@stable"), &[token])).await;
    answer(&mut client, get("/hello")).await;
    node.counts(Outcome::Success, 1).await;
    eventually(|| green.overrides().total() == 2 && node.tally.overrides().total() == 1).await;
    assert_eq!(green.snapshot().total(), 0);
}

#[tokio::test]
async fn nobody_observes_who_asks_for_a_version_and_nothing_shields_it() {
    let canary = |_| async { Err(super::harness::trap("unreachable")) };
    let tried = Setup::default().canary(canary).await;
    let mut client = tried.node.http1().await;
    let token = [("wasm-fn-token", "sesame-hello")];
    for (path, status) in [("/hello@v2", 500), ("/hello@canary/x", 500), ("/hello@v1", 200)] {
        let response = client.send_request(with(get(path), &token)).await.unwrap();
        assert_eq!(response.status(), status, "{path}");
        text(response).await;
    }
    eventually(|| tried.canary.overrides().count(Outcome::Trap) == 2).await;
    eventually(|| tried.node.tally.overrides().count(Outcome::Success) == 1).await;
    assert_eq!((tried.canary.snapshot().total(), tried.node.tally.snapshot().total()), (0, 0));
    tried.ran_on_stable(1);
    let told = tried.observer.heard(3).await;
    assert!(told.iter().all(|told| told.placement == Placement::Request), "{told:?}");
    // A canary that is withheld from others is still there for whoever asks.
    tried.observer.withheld.store(true, SeqCst);
    let response = client.send_request(with(get("/hello@canary"), &token)).await.unwrap();
    assert_eq!(response.headers()["wasm-fn-version"], "v2");
}

#[tokio::test]
async fn every_method_has_the_same_address() {
    let (node, _) = node().await;
    let mut client = node.http1().await;
    for method in [Method::HEAD, Method::POST, Method::OPTIONS, Method::DELETE] {
        let mut request =
            with(get("/hello@v2/x"), &[("wasm-fn-token", "sesame-hello"), ("origin", "http://a.test")]);
        *request.method_mut() = method;
        let response = client.send_request(request).await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["wasm-fn-version"], "v2");
    }
}

#[tokio::test]
async fn versions_that_are_deleted_are_gone_from_their_address() {
    let (node, _) = node().await;
    let mut client = node.http1().await;
    let token = [("wasm-fn-token", "sesame-hello")];
    answer(&mut client, with(get("/hello@v2"), &token)).await;
    let tally = Arc::clone(&node.tally);
    let first = super::harness::stage("hello", TrafficSplit::all(v(1)), vec![entry(v(1), &tally, showing())]);
    node.tables.store(Arc::new(RouteTable::new(Revision(2), vec![first]).unwrap()));
    let refused = refusal(&mut client, with(get("/hello@v2"), &token)).await;
    assert_eq!((refused.0, refused.1.as_str()), (404, "no-such-version"));
    assert_eq!(refused.2, "stage `live` of `hello` has no version v2");
}
