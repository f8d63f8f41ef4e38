//! Which version answers.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering},
};

use futures_util::future::join_all;
use http::HeaderValue;
use wasm_fn_core::{Outcome, Point, Revision, TrafficSplit, VersionNo, Weight};
use wasm_fn_router::{RouteTable, Tally};

use super::harness::{
    Fake, Node, entry, eventually, get, get2, ok, options, problem, stage, text, v, within,
};
use crate::ServerOptions;

/// Answers with the version that was called and the node's own headers that it sees.
fn naming() -> Fake {
    Fake::new(|call| async move {
        let headers = call.request.headers();
        assert!(!headers.contains_key("wasm-fn-version") && !headers.contains_key("wasm-fn-token"));
        let key = headers.get("wasm-fn-key").map_or("", |key| key.to_str().unwrap());
        ok(format!("{}{key}", call.version))
    })
}

/// `hello` with 90 % of `v1` and 10 % of `v2`, under `options`; and the tally of `v2`.
async fn canary(options: ServerOptions) -> (Node, Arc<Tally>) {
    let (first, second) = (Arc::new(Tally::new()), Arc::new(Tally::new()));
    let split = TrafficSplit::between(v(1), v(2), Weight::from_basis_points(1000).unwrap());
    let versions = vec![entry(v(1), &first, naming()), entry(v(2), &second, naming())];
    let table = RouteTable::new(Revision(1), vec![stage("hello", split, versions)]).unwrap();
    (Node::with_table(table, first, options).await, second)
}

#[tokio::test]
async fn shares_are_those_of_the_points_drawn() {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let every_tenth = || Point::new(NEXT.fetch_add(10, Ordering::SeqCst) % Point::COUNT).unwrap();
    let (node, canary) = canary(ServerOptions { draw: every_tenth, ..options() }).await;
    let mut client = node.http1().await;
    for _ in 0..1000 {
        let response = client.send_request(get("/hello")).await.unwrap();
        let label = response.headers()["wasm-fn-version"].clone();
        assert_eq!(text(response).await, label.to_str().unwrap());
    }
    eventually(|| node.tally.snapshot().total() + canary.snapshot().total() == 1000).await;
    assert_eq!(canary.snapshot().count(Outcome::Success), 100);
}

#[tokio::test]
async fn override_needs_a_token_a_form_and_a_version() {
    let (node, _) = canary(options()).await;
    let mut client = node.http2().await;
    let refusals = [
        ("v2", "", 403, "override-denied"),
        ("v2", "wrong", 403, "override-denied"),
        ("2", "open sesame", 400, "override-malformed"),
        ("", "open sesame", 400, "override-malformed"),
        ("v1, v2", "open sesame", 400, "override-malformed"),
        ("v99999999999", "open sesame", 400, "override-malformed"),
        ("v3", "open sesame", 404, "no-such-version"),
        ("previous", "open sesame", 404, "no-such-version"),
    ];
    for (asked, token, status, code) in refusals {
        let response = client.send_request(asking(asked, token)).await.unwrap();
        let (found, body) = problem(response).await;
        assert_eq!((found.as_u16(), &body["code"]), (status, &code.into()), "{asked:?} {body}");
    }
    let mut twice = asking("v1", "open sesame");
    twice.headers_mut().append("wasm-fn-version", HeaderValue::from_static("v1"));
    assert_eq!(client.send_request(twice).await.unwrap().status(), 400);
    let mut unreadable = asking("v1", "open sesame");
    unreadable.headers_mut().insert("wasm-fn-version", HeaderValue::from_bytes(b"v\xff").unwrap());
    assert_eq!(client.send_request(unreadable).await.unwrap().status(), 400);
    for (asked, version) in [("v1", "v1"), ("v2", "v2"), ("canary", "v2"), ("stable", "v1"), ("latest", "v2")]
    {
        let response = client.send_request(asking(asked, "open sesame")).await.unwrap();
        assert_eq!(text(response).await, version, "{asked}");
    }
}

fn asking(version: &str, token: &str) -> http::Request<super::harness::ClientBody> {
    let mut request = get2("/hello");
    request.headers_mut().insert("wasm-fn-version", version.parse().unwrap());
    if !token.is_empty() {
        request.headers_mut().insert("wasm-fn-token", token.parse().unwrap());
    }
    request
}

#[tokio::test]
async fn sticky_key_keeps_its_version_and_reaches_the_guest() {
    let (node, _) = canary(options()).await;
    let (mut http1, mut http2) = (node.http1().await, node.http2().await);
    for user in 0..50 {
        let key = HeaderValue::from_str(&format!("+user-{user}")).unwrap();
        let (mut first, mut second) = (get("/hello"), get2("/hello"));
        first.headers_mut().insert("wasm-fn-key", key.clone());
        second.headers_mut().insert("wasm-fn-key", key.clone());
        let first = text(http1.send_request(first).await.unwrap()).await;
        let second = text(http2.send_request(second).await.unwrap()).await;
        assert_eq!(first, second);
        assert!(first.ends_with(key.to_str().unwrap()));
    }
}

/// A table in which two functions have the version of the revision's number, and answer with it.
fn revision(number: u32, tally: &Arc<Tally>) -> RouteTable<Fake> {
    let named = |no: VersionNo| {
        entry(
            no,
            tally,
            Fake::new(move |call| async move {
                assert_eq!(call.version, no);
                tokio::task::yield_now().await;
                ok(no.to_string())
            }),
        )
    };
    let stage = |name| stage(name, TrafficSplit::all(v(number)), vec![named(v(number))]);
    RouteTable::new(Revision(number.into()), vec![stage("hello"), stage("other")]).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn swapping_tables_under_load_never_mixes_revisions() {
    let tally = Arc::new(Tally::new());
    let node = Node::with_table(revision(1, &tally), Arc::clone(&tally), options()).await;
    let node = Arc::new(node);
    let done = Arc::new(AtomicBool::new(false));
    let published = Arc::new(AtomicU64::new(1));
    let clients = (0..4).map(|number| {
        let (node, done, published) = (Arc::clone(&node), Arc::clone(&done), Arc::clone(&published));
        tokio::spawn(async move {
            let (mut http1, mut http2) = (node.http1().await, node.http2().await);
            let mut answered = 0_u64;
            while !done.load(Ordering::SeqCst) {
                let before = published.load(Ordering::SeqCst);
                let response = match number {
                    0 | 1 => http1.send_request(get("/hello")).await.unwrap(),
                    _ => http2.send_request(get2("/other")).await.unwrap(),
                };
                let label = response.headers()["wasm-fn-version"].to_str().unwrap().to_owned();
                assert_eq!(text(response).await, label);
                let version: VersionNo = label.parse().unwrap();
                assert!(u64::from(version.number()) >= before, "an old table after a new one");
                answered += 1;
            }
            answered
        })
    });
    let clients = join_all(clients);
    for number in 2..=200 {
        let seen = tally.snapshot().total();
        node.tables.store(Arc::new(revision(number, &tally)));
        published.store(number.into(), Ordering::SeqCst);
        eventually(|| tally.snapshot().total() > seen).await;
    }
    done.store(true, Ordering::SeqCst);
    let answered: u64 = within(clients).await.into_iter().map(Result::unwrap).sum();
    eventually(|| tally.snapshot().total() >= answered).await;
    assert_eq!(tally.snapshot().count(Outcome::Success), answered);
}
