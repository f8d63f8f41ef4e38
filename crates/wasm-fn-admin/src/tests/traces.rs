//! Tests of traces that the node keeps.

use std::time::{Duration, Instant};

use wasm_fn_core::{
    FinishedRequest, FinishedRun, InvocationTrigger, Outcome, OutgoingRequest, RequestHead, Scheme,
    SpanDetail, SpanRecord, StageName, TraceParent, VersionNo,
};

use super::*;

/// A request to `function` in `stage`, with a run that ended with `outcome`.
fn request(function: &str, stage: &str, outcome: Outcome) -> TracedRequest {
    #[expect(clippy::disallowed_methods, reason = "only differences count")]
    let began = Instant::now();
    let at = |ms| began + Duration::from_millis(ms);
    let stage: StageName = stage.parse().unwrap();
    let head = RequestHead {
        request_id: 0xab,
        began,
        method: "GET".into(),
        path: "/a".into(),
        scheme: Scheme::Http,
        host: None,
        client: None,
        protocol: "1.1",
        user_agent: None,
        target: Some((function.parse().unwrap(), stage)),
        route: None,
        trigger: InvocationTrigger::Http,
        is_canary: false,
        is_logged: false,
    };
    let id = TraceParent::parse(b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").unwrap().span;
    let part = |from, to, detail| SpanRecord { id, parent: id, from: at(from), to: at(to), detail };
    let outgoing = OutgoingRequest {
        method: "POST".into(),
        scheme: Scheme::Https,
        host: "api.test".into(),
        port: 8443,
        path: "/x".into(),
        end: Err("it was refused".into()),
    };
    let version = VersionNo::FIRST;
    let trap = (outcome == Outcome::Trap).then(|| "unreachable".into());
    let request = FinishedRequest {
        head,
        trace: None,
        spans: vec![
            part(3, 5, SpanDetail::Outgoing(Box::new(outgoing))),
            part(2, 9, SpanDetail::Guest { version, memory_peak_bytes: 1 }),
            part(0, 2, SpanDetail::Queue),
        ],
        spans_dropped: 0,
        runs: vec![FinishedRun { version, outcome, trap }],
        status: Some(if outcome == Outcome::Success { 200 } else { 500 }),
        is_cold_start: false,
        ended: at(10),
    };
    TracedRequest { request: Arc::new(request), began_ms: 7 }
}

/// What the node of these tests keeps.
pub(super) fn kept() -> Vec<TracedRequest> {
    vec![
        request("hello", "live", Outcome::Trap),
        request("other", "live", Outcome::Trap),
        request("hello", "staging", Outcome::Success),
    ]
}

#[tokio::test]
async fn traces_of_a_function_have_their_parts_in_order() {
    let api = Api::start().await;
    api.deploy("hello", b"1", json!({})).await;
    let list = api.get("/v1/functions/hello/traces").await.json();
    assert_eq!(list["traced"], true);
    let [failed, slow] = &list["traces"].as_array().unwrap()[..] else { panic!("{list}") };
    assert_eq!(
        (&failed["stage"], &failed["failed"], &failed["status"], &failed["outcome"]),
        (&json!("live"), &json!(true), &json!(500), &json!("trap"))
    );
    assert_eq!((&failed["at_ms"], &failed["duration_ms"]), (&json!(7), &json!(10.0)));
    assert_eq!((&slow["stage"], &slow["failed"]), (&json!("staging"), &json!(false)));
    assert_eq!(
        failed["spans"],
        json!([
            { "name": "queue", "from_ms": 0.0, "duration_ms": 2.0 },
            { "name": "guest", "from_ms": 2.0, "duration_ms": 7.0, "version": "v1", "error": "trap: unreachable" },
            { "name": "POST https://api.test:8443/x", "from_ms": 3.0, "duration_ms": 2.0, "error": "it was refused" },
        ])
    );
    assert_eq!(api.get("/v1/functions/none/traces").await.problem().1, "no-such-function");
    assert_eq!(api.get("/v1/functions/hello/traces?stage=qa").await.problem().1, "no-such-stage");
    assert_eq!(api.get("/v1/functions/hello/traces?stage=-").await.problem().1, "invalid-name");
}

#[tokio::test]
async fn traces_of_stages_out_of_scope_are_nobodys_business() {
    let mut api = Api::start().await;
    api.deploy("hello", b"1", json!({})).await;
    api.deploy("hello", b"1", json!({ "stage": "staging" })).await;
    let stages = async |api: &Api, query: &str| {
        let list = api.get(&format!("/v1/functions/hello/traces{query}")).await.json();
        let traces = list["traces"].as_array().unwrap();
        traces.iter().map(|trace| trace["stage"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(stages(&api, "").await, ["live", "staging"]);
    assert_eq!(stages(&api, "?stage=staging").await, ["staging"]);
    let rights = json!({ "roles": ["viewer"], "stages": ["live"] });
    let created = api.call("POST", "/v1/tokens", json!({ "name": "ci", "rights": rights })).await.json();
    api.token = created["secret"].as_str().unwrap().to_owned();
    assert_eq!(stages(&api, "").await, ["live"]);
    assert_eq!(api.get("/v1/functions/hello/traces?stage=staging").await.problem().1, "no-such-stage");
}
