//! Tests of the streams of changes.

use std::time::Duration;

use wasm_fn_core::Outcome;
use wasm_fn_router::InvocationRecord;

use super::*;

/// A stream of changes that is being read.
struct Events {
    body: Incoming,
    /// What came and is not read yet.
    text: String,
}

impl Events {
    async fn open(api: &Api, path: &str) -> Self {
        let request = api.request("GET", path).body(Full::default()).unwrap();
        let answer = api.open(request).await;
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()[header::CONTENT_TYPE], "text/event-stream");
        Self { body: answer.into_body(), text: String::new() }
    }

    /// The next event; `None` once the stream is over.
    async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let data = event.strip_prefix("data: ").map(|json| serde_json::from_str(json).unwrap());
                self.text = rest.to_owned();
                match data {
                    Some(event) => return Some(event),
                    None => continue,
                }
            }
            let frame = tokio::time::timeout(PATIENCE, self.body.frame()).await.expect("it is alive")?;
            self.text += std::str::from_utf8(&frame.unwrap().into_data().unwrap()).unwrap();
        }
    }

    async fn expect(&mut self) -> Value {
        self.next().await.expect("the stream goes on")
    }
}

/// Counts a request of stable of `function` in `stage`.
fn request(api: &Api, function: &str, stage: &str, outcome: Outcome) {
    let tables = api.node.control.tables();
    let table = tables.load();
    let stage = table.stage(&function.parse().unwrap(), &stage.parse().unwrap()).unwrap();
    stage.stable().tally.record(InvocationRecord {
        outcome,
        latency: Duration::from_millis(2),
        queue_wait: Duration::ZERO,
        memory_peak_bytes: 0,
    });
}

/// A token for `stages`, which is shown from now on.
async fn becomes_viewer(api: &mut Api, functions: Value, stages: Value) {
    let rights = json!({ "roles": ["viewer"], "functions": functions, "stages": stages });
    let created = api.call("POST", "/v1/tokens", json!({ "name": "ci", "rights": rights })).await.json();
    api.token = created["secret"].as_str().unwrap().to_owned();
}

#[tokio::test]
async fn functions_are_all_told_and_then_what_changes() {
    let api = Api::start().await;
    api.deploy("a", b"1", json!({})).await;
    api.deploy("b", b"1", json!({})).await;
    let mut events = Events::open(&api, "/v1/watch").await;
    let first = events.expect().await;
    let names = |event: &Value| {
        let functions = event["functions"].as_array().into_iter().flatten();
        functions.map(|function| function["function"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(&first), ["a", "b"]);
    assert_eq!(first["revision"], 2);

    request(&api, "b", "live", Outcome::Success);
    request(&api, "b", "live", Outcome::Trap);
    let traffic = json!([{ "function": "b", "stage": "live", "requests": 2, "failures": 1 }]);
    assert_eq!(events.expect().await, json!({ "revision": 2, "traffic": traffic }));

    api.deploy("b", b"2", canary()).await;
    let event = events.expect().await;
    assert_eq!(names(&event), ["b"]);
    assert_eq!(event["functions"][0]["stages"][0]["canary"], "v2");
    assert_eq!(event["functions"][0]["stages"][0]["requests"], 2);

    assert_eq!(api.raw("DELETE", "/v1/functions/a", "").await.status, 200);
    assert_eq!(events.expect().await, json!({ "revision": 4, "removed": ["a"] }));
}

#[tokio::test]
async fn functions_and_stages_out_of_scope_are_not_told() {
    let mut api = Api::start().await;
    api.deploy("a", b"1", json!({})).await;
    api.deploy("b", b"1", json!({})).await;
    api.deploy("b", b"1", json!({ "stage": "staging" })).await;
    becomes_viewer(&mut api, json!(["b"]), json!(["staging"])).await;
    let mut events = Events::open(&api, "/v1/watch").await;
    let first = events.expect().await;
    assert_eq!(first["functions"].as_array().unwrap().len(), 1);
    assert_eq!(first["functions"][0]["stages"].as_array().unwrap().len(), 1);
    assert_eq!(first["functions"][0]["stages"][0]["stage"], "staging");
    request(&api, "a", "live", Outcome::Success);
    request(&api, "b", "live", Outcome::Success);
    request(&api, "b", "staging", Outcome::Success);
    let traffic = events.expect().await["traffic"].clone();
    assert_eq!(traffic, json!([{ "function": "b", "stage": "staging", "requests": 1, "failures": 0 }]));

    let listed = api.get("/v1/functions").await.json();
    assert_eq!(listed["functions"][0]["stages"].as_array().unwrap().len(), 1, "lists leave it out, too");
    let mut events = Events::open(&api, "/v1/functions/b/watch").await;
    let event = events.expect().await;
    assert_eq!(event["status"]["stages"].as_array().unwrap().len(), 1);
    assert_eq!(event["status"]["stages"][0]["stage"], "staging");
    assert_eq!(api.get("/v1/functions/a/watch").await.problem().1, "no-such-function");
}

#[tokio::test]
async fn status_is_told_when_it_changes_and_ends_with_the_function() {
    let api = Api::start().await;
    api.deploy("hello", b"1", json!({})).await;
    let mut events = Events::open(&api, "/v1/functions/hello/watch").await;
    let first = events.expect().await;
    assert_eq!(first["status"], api.get("/v1/functions/hello").await.json());
    request(&api, "hello", "live", Outcome::Success);
    let event = events.expect().await;
    assert_eq!(event["status"]["stages"][0]["versions"][0]["tally"]["requests"], 1);
    api.deploy("hello", b"2", canary()).await;
    let event = events.expect().await;
    assert_eq!(event["event"], "status");
    assert_eq!(event["status"]["stages"][0]["rollout"]["canary"], "v2");
    assert_eq!(api.raw("DELETE", "/v1/functions/hello", "").await.status, 200);
    assert_eq!(events.expect().await, json!({ "event": "deleted", "function": "hello" }));
    assert_eq!(events.next().await, None);
}

#[tokio::test]
async fn stream_tells_once_what_is_there_if_asked_to() {
    let api = Api::start().await;
    api.deploy("hello", b"1", json!({})).await;
    for path in ["/v1/watch?once=true", "/v1/functions/hello/watch?once=true"] {
        let mut events = Events::open(&api, path).await;
        events.expect().await;
        assert_eq!(events.next().await, None, "{path}");
    }
    assert_eq!(api.get("/v1/watch?twice=true").await.problem().1, "invalid-request");
}

#[tokio::test]
async fn streams_end_with_the_token_and_with_the_node() {
    let mut api = Api::start().await;
    api.deploy("hello", b"1", json!({})).await;
    let mut of_admin = Events::open(&api, "/v1/watch").await;
    of_admin.expect().await;
    becomes_viewer(&mut api, json!([]), json!([])).await;
    let mut streams = Vec::new();
    for path in ["/v1/watch", "/v1/functions/hello/watch"] {
        let mut events = Events::open(&api, path).await;
        events.expect().await;
        streams.push(events);
    }
    TOKEN.clone_into(&mut api.token);
    assert_eq!(api.raw("DELETE", "/v1/tokens/ci", "").await.status, 200);
    for mut events in streams {
        assert_eq!(events.next().await, None);
    }
    api.shutdown.take().unwrap().send(()).unwrap();
    assert_eq!(of_admin.next().await, None);
    api.served.await.unwrap();
}

#[tokio::test]
async fn too_many_streams_are_refused_until_one_ends() {
    let api = Api::start().await;
    let mut streams = Vec::new();
    while api.admin.streams.available_permits() > 0 {
        streams.push(Events::open(&api, "/v1/watch").await);
    }
    assert_eq!(streams.len(), 128);
    assert_eq!(api.get("/v1/watch").await.problem(), (503, "busy".to_owned()));
    drop(streams.pop());
    let freed = Arc::clone(&api.admin.streams).acquire_owned();
    drop(tokio::time::timeout(PATIENCE, freed).await.expect("its place is free again"));
    Events::open(&api, "/v1/watch").await.expect().await;
}
