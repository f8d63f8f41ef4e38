//! Tests of triggers and events over HTTP, with the real inbox and a data plane that a test answers for.

use super::*;

const TRIGGERS: &str = "/v1/functions/hello/stages/live/triggers";

fn minutely() -> Value {
    json!({ "source": { "schedule": { "every_ms": [60_000] } }, "message": "why not" })
}

/// A node with `hello`, and a schedule `tick` of it.
async fn with_schedule(request: Value) -> Api {
    let api = Api::start().await;
    api.deploy("hello", b"1", json!({})).await;
    let added = api.call("PUT", &format!("{TRIGGERS}/tick"), request).await;
    assert_eq!(added.status, 200, "{added:?}");
    // The scheduler hears of it a moment later.
    api.events.active("hello/live/tick").await;
    api
}

impl Api {
    /// Runs `tick` once, and has the function answer with `status`. Returns the id of the event.
    async fn run_to(&self, status: u16) -> String {
        let run = self.raw("POST", &format!("{TRIGGERS}/tick/run"), "").await;
        assert_eq!(run.status, 200, "{run:?}");
        self.events.answer(status).await;
        run.json()["event"].as_str().unwrap().to_owned()
    }

    async fn event(&self, id: &str) -> Value {
        self.get(&format!("{TRIGGERS}/tick/events/{id}")).await.json()
    }

    /// The event `id` once it is `state`.
    async fn event_once(&self, id: &str, state: &str) -> Value {
        let found = async {
            loop {
                let event = self.event(id).await;
                if event["state"]["is"] == state {
                    return event;
                }
            }
        };
        tokio::time::timeout(PATIENCE, found).await.expect("it becomes so")
    }
}

#[tokio::test]
async fn a_trigger_is_added_shown_paused_resumed_and_removed() {
    let api = with_schedule(minutely()).await;
    let shown = api.get(&format!("{TRIGGERS}/tick")).await.json();
    let schedule = json!({ "every_ms": [60_000], "overlap": "skip", "catch_up_ms": 60_000, "jitter_ms": 0 });
    assert_eq!(shown["source"], json!({ "schedule": schedule }));
    assert_eq!((&shown["path"], &shown["created_by"]), (&json!("/_events/tick"), &json!("admin")));
    let retry = json!({ "attempts_max": 20, "age_max_ms": 86_400_000, "backoff_min_ms": 1000, "backoff_max_ms": 3_600_000 });
    assert_eq!((&shown["retry"], &shown["concurrency_max"]), (&retry, &json!(10)));
    let now_ms = api.events.now_ms();
    let next: Vec<_> = (1..=5).map(|minute| (now_ms / 60_000 + minute) * 60_000).collect();
    assert_eq!(shown["next_ms"], json!(next));
    assert_eq!(
        shown["inbox"],
        json!({ "waiting": 0, "in_flight": 0, "bytes": 0, "dead": 0, "dead_bytes": 0, "blocked": false })
    );
    let list = api.get("/v1/functions/hello/triggers").await.json();
    assert_eq!(list["triggers"], json!([shown]));

    let again = api.call("PUT", &format!("{TRIGGERS}/tick"), minutely()).await;
    assert_eq!(again.problem(), (409, "trigger-exists".to_owned()));
    let paused =
        api.call("POST", &format!("{TRIGGERS}/tick/pause"), json!({ "message": "broken" })).await.json();
    assert_eq!((&paused["paused"]["by"], &paused["paused"]["note"]), (&json!("command"), &json!("broken")));
    let resumed = api.call("POST", &format!("{TRIGGERS}/tick/resume"), json!({})).await.json();
    assert!(resumed.get("paused").is_none(), "{resumed}");
    let stale = api.raw("DELETE", &format!("{TRIGGERS}/tick?expected_revision=1"), "").await;
    assert_eq!(stale.problem(), (409, "revision-conflict".to_owned()));
    assert_eq!(api.raw("DELETE", &format!("{TRIGGERS}/tick"), "").await.json()["name"], "tick");
    for (method, path) in
        [("GET", ""), ("DELETE", ""), ("POST", "/pause"), ("POST", "/run"), ("GET", "/events")]
    {
        let gone = api.raw(method, &format!("{TRIGGERS}/tick{path}"), "").await;
        assert_eq!(gone.problem(), (404, "no-such-trigger".to_owned()), "{method} {path}");
    }
    let history = api.get("/v1/functions/hello/history").await.json();
    let entries = history["entries"].as_array().unwrap().iter();
    let entries = entries.map(|entry| (entry["action"].as_str().unwrap(), entry["trigger"].as_str()));
    let tick = Some("tick");
    let expected = [
        ("remove-trigger", tick),
        ("resume-trigger", tick),
        ("pause-trigger", tick),
        ("add-trigger", tick),
        ("deploy", None),
    ];
    assert_eq!(entries.collect::<Vec<_>>(), expected);
    let audit = api.get("/v1/audit").await.json();
    let newest = &audit["entries"][0];
    assert_eq!(
        (&newest["action"], &newest["history"][0]["trigger"]),
        (&json!("remove-trigger"), &json!("tick"))
    );
}

#[tokio::test]
async fn what_is_no_trigger_is_refused() {
    let api = Api::start().await;
    api.deploy("hello", b"1", json!({})).await;
    let hook =
        |secrets: Value| json!({ "source": { "webhook": { "provider": "github", "secrets": secrets } } });
    let nowhere = "/v1/functions/hello/stages/nowhere/triggers/tick".to_owned();
    let nobody = "/v1/functions/nobody/stages/live/triggers/tick".to_owned();
    let tick = format!("{TRIGGERS}/tick");
    for (path, body, expected) in [
        (&tick, json!({ "source": { "schedule": { "cron": ["x"] } } }), (400, "invalid-trigger")),
        (&tick, json!({ "source": { "schedule": {} }, "more": 1 }), (400, "invalid-request")),
        (&tick, hook(json!(["A", "B"])), (409, "secret-not-set")),
        (&nowhere, minutely(), (404, "no-such-stage")),
        (&nobody, minutely(), (404, "no-such-function")),
        (&format!("{TRIGGERS}/@async"), minutely(), (400, "invalid-name")),
    ] {
        let answer = api.call("PUT", path, body.clone()).await;
        assert_eq!(answer.problem(), (expected.0, expected.1.to_owned()), "{path} {body}");
    }
    let refused = api.call("PUT", &tick, hook(json!(["A", "B"]))).await;
    assert!(refused.text.contains("secret A is not set in stage `live` of `hello`"), "{refused:?}");
    for name in ["A", "B"] {
        api.raw("PUT", &format!("/v1/functions/hello/stages/live/secrets/{name}"), "hunter2").await;
    }
    let added = api.call("PUT", &tick, hook(json!(["A", "B"]))).await.json();
    let source = json!({ "webhook": { "provider": "github", "secrets": ["A", "B"], "mode": "async" } });
    assert_eq!(added["source"], source);
    api.events.active("hello/live/tick").await;
    let run = api.raw("POST", &format!("{tick}/run"), "").await;
    assert_eq!(run.problem(), (409, "not-a-schedule".to_owned()));
}

#[tokio::test]
async fn an_event_is_shown_until_it_is_done_and_then_what_became_of_it() {
    let api = with_schedule(minutely()).await;
    let run = api.raw("POST", &format!("{TRIGGERS}/tick/run"), "").await.json();
    let id = run["event"].as_str().unwrap();
    let event = api.event_once(id, "running").await;
    let request = &event["request"];
    assert_eq!(
        (&request["method"], &request["path"], &request["body"]),
        (&json!("POST"), &json!("/_events/tick"), &json!(""))
    );
    let headers = request["headers"].as_array().unwrap();
    assert!(headers.contains(&json!({ "name": "ce-id", "value": id })), "{headers:?}");
    let list = api.get(&format!("{TRIGGERS}/tick/events")).await.json();
    assert_eq!((&list["events"][0]["id"], &list["inbox"]["in_flight"]), (&json!(id), &json!(1)));
    api.events.answer(200).await;
    let event = api.event_once(id, "acknowledged").await;
    assert_eq!((&event["state"]["text"], event.get("request")), (&json!("200 by v1"), None));
    let list = api.get(&format!("{TRIGGERS}/tick/events")).await.json();
    assert_eq!(list["events"], json!([]));
    let version =
        json!({ "version": "v1", "on_time": 1, "late": 0, "acknowledged": 1, "retried": 0, "failed": 0 });
    assert_eq!(list["counts"]["versions"], json!([version]));
}

#[tokio::test]
async fn dead_letters_are_listed_redriven_and_discarded() {
    let api = with_schedule(minutely()).await;
    let (first, second) = (api.run_to(422).await, api.run_to(400).await);
    for id in [&first, &second] {
        api.event_once(id, "dead").await;
    }
    let page = api.get(&format!("{TRIGGERS}/tick/events?state=dead&limit=1")).await.json();
    assert_eq!((&page["events"][0]["id"], &page["more"]), (&json!(first), &json!(true)));
    let after = &page["events"][0]["position"];
    let rest = api.get(&format!("{TRIGGERS}/tick/events?state=dead&after={after}")).await.json();
    assert_eq!((&rest["events"][0]["id"], &rest["more"]), (&json!(second), &json!(false)));
    for (body, expected) in [
        (json!({}), "found neither ids nor all"),
        (json!({ "ids": ["a"], "all": true }), "found both ids and all"),
        (json!({ "ids": vec!["a"; 1001] }), "found 1001 ids, expected at most 1000"),
        (json!({ "every": true }), "unknown field `every`"),
    ] {
        let answer = api.call("POST", &format!("{TRIGGERS}/tick/events/redrive"), body).await;
        assert_eq!(answer.problem(), (400, "invalid-request".to_owned()));
        assert!(answer.text.contains(expected), "{answer:?}");
    }
    let ids = json!({ "ids": [first, "nobody"] });
    let redriven = api.call("POST", &format!("{TRIGGERS}/tick/events/redrive"), ids).await.json();
    assert_eq!(redriven["events"], 1);
    api.events.answer(200).await;
    api.event_once(&first, "acknowledged").await;
    let discarded =
        api.call("POST", &format!("{TRIGGERS}/tick/events/discard"), json!({ "all": true })).await.json();
    assert_eq!(discarded["events"], 1);
    api.event_once(&second, "discarded").await;
    // What changed nothing is in no journal, and what is there leaves the function's revision.
    let none =
        api.call("POST", &format!("{TRIGGERS}/tick/events/discard"), json!({ "all": true })).await.json();
    assert_eq!(none["events"], 0);
    let history = api.get("/v1/functions/hello/history").await.json();
    let operated =
        |entry: &Value| (entry["action"].clone(), entry["trigger"].clone(), entry["events"].clone());
    let entries = history["entries"].as_array().unwrap();
    let expected = [
        ("discard-events", 1, "all dead letters".to_owned()),
        ("redrive-events", 1, format!("{first}, nobody")),
        ("run-trigger", 1, format!("event {second}")),
        ("run-trigger", 1, format!("event {first}")),
    ]
    .map(|(action, count, which)| (json!(action), json!("tick"), json!({ "count": count, "which": which })));
    assert_eq!(entries.iter().take(4).map(operated).collect::<Vec<_>>(), expected);
    assert!(entries[0]["origin"].as_str().unwrap().starts_with("127.0.0.1:"), "{}", entries[0]);
    let audit = api.get("/v1/audit").await.json();
    assert_eq!(operated(&audit["entries"][0]["history"][0]), expected[0]);
    assert_eq!(
        (&audit["entries"][0]["actor"], &audit["entries"][0]["function"]),
        (&json!("admin"), &json!("hello"))
    );
    let shown = api.get(&format!("{TRIGGERS}/tick")).await.json();
    assert!(shown["revision"].as_u64() < entries[3]["revision"].as_u64(), "{shown}");
    assert_eq!(api.get("/v1/audit/head?verify=true").await.json()["verified"], true);
    let gone = api.get(&format!("{TRIGGERS}/tick/events/{}", "x".repeat(600))).await;
    assert_eq!(gone.problem(), (404, "no-such-event".to_owned()));
}

#[tokio::test]
async fn a_schedule_is_backfilled_for_the_past_only() {
    let api =
        with_schedule(json!({ "source": { "schedule": { "every_ms": [60_000], "overlap": "allow-all" } } }))
            .await;
    let now_ms = api.events.now_ms();
    let path = format!("{TRIGGERS}/tick/backfill");
    let range = |from_ms: u64, to_ms: u64| json!({ "from_ms": from_ms, "to_ms": to_ms });
    for body in [range(now_ms, now_ms - 1), range(now_ms, now_ms + 1), json!({})] {
        let answer = api.call("POST", &path, body).await;
        assert_eq!(answer.problem(), (400, "invalid-request".to_owned()));
    }
    let hour = now_ms / 3_600_000 * 3_600_000;
    let none = api.call("POST", &path, range(hour - 59_000, hour - 1000)).await;
    assert_eq!(none.problem(), (409, "no-ticks".to_owned()));
    let filled = api.call("POST", &path, range(hour - 120_000, hour)).await.json();
    assert_eq!(filled["runs"], 3);
    let newest = &api.get("/v1/functions/hello/history").await.json()["entries"][0];
    assert_eq!((&newest["action"], &newest["events"]["count"]), (&json!("backfill-trigger"), &json!(3)));
    let which = newest["events"]["which"].as_str().unwrap();
    assert!(which.starts_with("times from 2026-11-30T") && which.contains(" to "), "{which}");
    for _ in 0..3 {
        api.events.answer(200).await;
    }
}

#[tokio::test]
async fn asynchronous_requests_are_events_without_a_trigger() {
    let api = with_schedule(minutely()).await;
    let mut headers = HeaderMap::new();
    headers.insert(header::AUTHORIZATION, "Bearer hunter2".parse().unwrap());
    let request = wasm_fn_delivery::EventRequest {
        method: Method::PUT,
        target: "/hello/x?y".parse().unwrap(),
        headers,
        body: Bytes::from_static(b"\xff\x00"),
    };
    let (function, stage) = ("hello".parse().unwrap(), "live".parse().unwrap());
    let id = api.admin.events.accept(&function, &stage, request).await.unwrap();
    let shown = api.get(&format!("{TRIGGERS}/@async/events/{id}")).await;
    let request = &shown.json()["request"];
    assert_eq!((&request["method"], &request["path"]), (&json!("PUT"), &json!("/hello/x?y")));
    assert_eq!((request.get("body"), &request["body_base64"]), (None, &json!("/wA=")));
    assert_eq!(request["headers"][0], json!({ "name": "authorization" }));
    assert!(!shown.text.contains("hunter2"), "{shown:?}");
    assert_eq!(api.get(&format!("{TRIGGERS}/@async/events")).await.json()["events"][0]["id"], json!(id));
    let nowhere = api.get("/v1/functions/hello/stages/nowhere/triggers/@async/events").await;
    assert_eq!(nowhere.problem(), (404, "no-such-stage".to_owned()));
    api.events.answer(200).await;
}

#[tokio::test]
async fn metrics_tell_what_triggers_have_and_did() {
    let api = with_schedule(minutely()).await;
    let id = api.run_to(422).await;
    api.event_once(&id, "dead").await;
    let text = api.get("/metrics").await.text;
    let tick = r#"function="hello",stage="live",trigger="tick""#;
    for line in [
        format!(r#"wasm_fn_trigger_events{{{tick},state="dead"}} 1"#),
        format!(r#"wasm_fn_trigger_events{{{tick},state="waiting"}} 0"#),
        format!("wasm_fn_trigger_blocked{{{tick}}} 0"),
        format!(r#"wasm_fn_trigger_ticks_total{{{tick},result="skipped"}} 0"#),
        format!("wasm_fn_trigger_node_failures_total{{{tick}}} 0"),
        format!(r#"wasm_fn_trigger_deliveries_total{{{tick},version="v1",result="failed"}} 1"#),
        format!(r#"wasm_fn_trigger_delivery_starts_total{{{tick},version="v1",start="on-time"}} 1"#),
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
}

#[tokio::test]
async fn triggers_of_all_functions_are_listed_as_far_as_the_caller_sees_them() {
    let api = with_schedule(minutely()).await;
    api.deploy("other", b"2", json!({})).await;
    api.deploy("hello", b"1", json!({ "stage": "staging", "strategy": { "name": "all-at-once" } })).await;
    for path in [
        "hello/stages/staging/triggers/tick",
        "hello/stages/live/triggers/a",
        "other/stages/live/triggers/tick",
    ] {
        let added = api.call("PUT", &format!("/v1/functions/{path}"), minutely()).await;
        assert_eq!(added.status, 200, "{added:?}");
    }
    let names = |list: &Value| {
        let triggers = list["triggers"].as_array().unwrap().iter();
        let name = |trigger: &Value| {
            ["function", "stage", "name"].map(|part| trigger[part].as_str().unwrap().to_owned()).join("/")
        };
        triggers.map(name).collect::<Vec<_>>()
    };
    let all = ["hello/live/a", "hello/live/tick", "hello/staging/tick", "other/live/tick"];
    let list = api.get("/v1/triggers").await.json();
    assert_eq!((names(&list), &list["more"]), (all.map(str::to_owned).to_vec(), &json!(false)));
    assert_eq!(list["triggers"][1], api.get(&format!("{TRIGGERS}/tick")).await.json());
    let page = api.get("/v1/triggers?limit=2&after=hello/live/a").await.json();
    assert_eq!(
        (names(&page), &page["more"]),
        (all[1..3].iter().map(|&name| name.to_owned()).collect(), &json!(true))
    );
    for query in ["after=hello", "after=hello/live/x/y", "after=hello/Live/x", "limit=0", "limit=1001"] {
        assert_eq!(api.get(&format!("/v1/triggers?{query}")).await.status, 400, "{query}");
    }

    for (rights, seen) in [
        (json!({ "roles": ["viewer"], "functions": ["hello"], "stages": ["live"] }), &all[..2]),
        (json!({ "roles": ["viewer"], "functions": ["o*"] }), &all[3..]),
        (json!({ "roles": ["viewer"], "functions": ["nobody"] }), &[]),
    ] {
        let name = format!("t{}", seen.len());
        let token = api.call("POST", "/v1/tokens", json!({ "name": name, "rights": rights })).await.json();
        let bearer = format!("Bearer {}", token["secret"].as_str().unwrap());
        let request = Request::builder().uri(format!("http://{}/v1/triggers", api.address));
        let request = request.header("authorization", bearer).body(Full::default()).unwrap();
        assert_eq!(names(&api.send(request).await.json()), seen, "{rights}");
    }
}
