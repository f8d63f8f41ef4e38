//! Tests of reading functions and moving their traffic.

use std::time::Duration;

use wasm_fn_core::Outcome;
use wasm_fn_router::InvocationRecord;

use super::*;

#[tokio::test]
async fn rollout_is_promoted_aborted_and_rolled_back() {
    let api = Api::start().await;
    api.deploy("hello", b"1", json!({})).await;
    api.deploy("hello", b"2", canary()).await;
    let traffic = json!({ "split": [
        { "version": "canary", "weight": "50%" }, { "version": "v1", "weight": "50%" },
    ] });
    let set = api.call("PUT", "/v1/functions/hello/traffic", traffic).await.json();
    assert_eq!(set["rollout"]["weight"], "50%");
    let promoted = api.call("POST", "/v1/functions/hello/promote", json!({ "message": "fine" })).await;
    let mut promoted = promoted.json();
    let watching = promoted.as_object_mut().unwrap().remove("rollout").unwrap();
    assert_eq!((&watching["phase"], &watching["lasts_ms"]), (&json!("watching"), &json!(300_000)));
    assert_eq!(
        promoted,
        json!({
            "function": "hello", "stage": "live", "stable": "v2", "previous": "v1", "revision": 4,
            "split": [{ "version": "v2", "weight": "100%" }],
        })
    );
    api.deploy("hello", b"3", canary()).await;
    let aborted =
        api.call("POST", "/v1/functions/hello/abort", json!({ "message": "too slow" })).await.json();
    assert_eq!((&aborted["stable"], &aborted["revision"]), (&json!("v2"), &json!(6)));
    // Commands without a body apply to the live stage.
    let back = api.raw("POST", "/v1/functions/hello/rollback", "").await.json();
    assert_eq!((&back["stable"], &back["revision"]), (&json!("v1"), &json!(7)));
    let on = api.call("POST", "/v1/functions/hello/rollback", json!({ "to": "v2" })).await.json();
    assert_eq!(on["stable"], "v2");

    let versions = api.get("/v1/functions/hello/versions").await.json();
    let third = &versions["versions"][0];
    assert_eq!(third["version"], "v3");
    assert_eq!(third["verdict"]["verdict"], "aborted");
    assert_eq!(third["verdict"]["reason"], "too slow");
    assert_eq!(third["config"]["memory_bytes"], 128 << 20);
    assert_eq!(
        versions["versions"][1]["stages"],
        json!([{ "stage": "live", "role": "stable", "weight": "100%" }])
    );
    serde_json::from_value::<wasm_fn_api::VersionList>(versions).unwrap();
}

#[tokio::test]
async fn rollout_that_is_replaced_or_rolled_back_past_leaves_its_abort_in_the_history() {
    let api = Api::start().await;
    for component in [&b"1"[..], b"2"] {
        api.deploy("hello", component, json!({})).await;
    }
    api.deploy("hello", b"3", canary()).await;
    let replace = json!({ "strategy": { "name": "linear" }, "replace": true, "message": "better" });
    api.deploy("hello", b"4", replace).await;
    api.call("POST", "/v1/functions/hello/rollback", json!({ "to": "v1" })).await;
    let history = api.get("/v1/functions/hello/history?limit=2").await.json();
    let history: wasm_fn_api::HistoryPage = serde_json::from_value(history).unwrap();
    let entries = history.entries.iter().map(|entry| {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let (version, why) = (text(&entry.version), text(&entry.message) + &text(&entry.reason));
        let numbers = entry.evidence.as_ref().map(|evidence| evidence.canary.version.clone());
        (entry.revision, entry.action.clone(), version, why, text(&numbers))
    });
    let entry = |revision, action: &str, version: &str, why: &str, numbers: &str| {
        (revision, action.to_owned(), version.to_owned(), why.to_owned(), numbers.to_owned())
    };
    assert_eq!(
        entries.collect::<Vec<_>>(),
        [
            entry(5, "rollback", "v1", "by command", ""),
            entry(5, "abort", "v4", "rolled back to v1", "v4"),
            entry(4, "deploy", "v4", "better", ""),
            entry(4, "abort", "v3", "replaced by v4", "v3"),
        ]
    );
    assert!(history.more);
    let older = api.get("/v1/functions/hello/history?before=4").await.json();
    assert_eq!(older["entries"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn two_promotes_at_once_take_one_step() {
    let api = Api::start().await;
    api.deploy("hello", b"1", json!({})).await;
    api.deploy("hello", b"2", json!({ "strategy": { "name": "canary", "steps": ["1%", "10%"] } })).await;
    let status = api.get("/v1/functions/hello").await.json();
    let rollout: wasm_fn_api::RolloutView =
        serde_json::from_value(status["stages"][0]["rollout"].clone()).unwrap();
    let seen = wasm_fn_api::RolloutSeen::from(&rollout);
    let promote = || api.call("POST", "/v1/functions/hello/promote", json!({ "seen": seen }));
    let (one, other) = tokio::join!(promote(), promote());
    let (done, refused) = if one.status == 200 { (one, other) } else { (other, one) };
    assert_eq!(done.json()["rollout"]["step"], 2);
    assert_eq!(refused.problem(), (409, "rollout-moved".to_owned()));
    let bad = json!({ "seen": { "canary": "latest", "started_ms": 1, "phase": "paused" } });
    let bad = api.call("POST", "/v1/functions/hello/promote", bad).await;
    assert_eq!(bad.problem(), (400, "invalid-request".to_owned()));
}

#[tokio::test]
async fn roles_are_the_same_everywhere_while_a_new_version_is_watched() {
    let api = Api::start().await;
    api.deploy("hello", b"1", json!({})).await;
    let deployed = api.deploy("hello", b"2", json!({})).await.json();
    assert_eq!(deployed["rollout"]["phase"], "watching");
    let status = &api.get("/v1/functions/hello").await.json()["stages"][0];
    let roles = |versions: &Value| {
        let versions = versions.as_array().unwrap().iter();
        versions.map(|version| (version["version"].clone(), version["role"].clone())).collect::<Vec<_>>()
    };
    let expected = [(json!("v2"), json!("stable")), (json!("v1"), json!("previous"))];
    assert_eq!(roles(&status["versions"]), expected);
    assert_eq!((&status["stable"], &status["previous"]), (&json!("v2"), &json!("v1")));
    let evidence = &status["rollout"]["gate"]["evidence"];
    assert_eq!(roles(&json!([evidence["canary"], evidence["stable"]])), expected);
    let list = &api.get("/v1/functions").await.json()["functions"][0]["stages"][0];
    assert_eq!((&list["stable"], &list["previous"]), (&json!("v2"), &json!("v1")));
    assert_eq!(list.get("canary"), None);
    let versions = api.get("/v1/functions/hello/versions").await.json();
    let versions = versions["versions"].as_array().unwrap().iter();
    let places: Vec<_> =
        versions.map(|one| (one["version"].clone(), one["stages"][0]["role"].clone())).collect();
    assert_eq!(places, expected);
}

#[tokio::test]
async fn history_tells_who_what_when_where_and_why() {
    let api = Api::start().await;
    api.deploy("hello", b"1", json!({ "message": "first" })).await;
    api.deploy("hello", b"2", canary()).await;
    api.deploy("other", b"2", json!({})).await;
    api.raw("POST", "/v1/functions/hello/promote", "").await;
    let history: wasm_fn_api::HistoryPage =
        serde_json::from_value(api.get("/v1/functions/hello/history").await.json()).unwrap();
    let actions: Vec<_> =
        history.entries.iter().map(|entry| (entry.revision, entry.action.as_str())).collect();
    assert_eq!(actions, [(4, "promote"), (2, "deploy"), (1, "deploy")]);
    let first = &history.entries[2];
    assert_eq!((first.actor.as_str(), first.message.as_deref()), ("admin", Some("first")));
    assert!(first.origin.starts_with("127.0.0.1:") && first.hash.len() == 64 && first.at_ms > 0);
    assert_eq!(history.entries[1].split[0].weight, "10%");
    assert!(!history.more);

    let page = api.get("/v1/functions/hello/history?limit=1&before=4").await.json();
    assert_eq!((&page["entries"][0]["revision"], &page["more"]), (&json!(2), &json!(true)));
    for bad in ["limit=0", "limit=1001", "limit=x", "until=3"] {
        let answer = api.get(&format!("/v1/functions/hello/history?{bad}")).await;
        assert_eq!(answer.problem(), (400, "invalid-request".to_owned()), "{bad}");
    }
}

#[tokio::test]
async fn status_shows_roles_weights_and_tallies() {
    let api = Api::start().await;
    api.deploy("hello", b"1", json!({ "config": { "sticky": "cookie:sid" } })).await;
    api.deploy("hello", b"2", json!({ "stage": "staging" })).await;
    api.deploy("hello", b"2", canary()).await;
    let table = api.node.control.tables().load_full();
    let stage = table.find(None, "/hello").unwrap();
    for outcome in [Outcome::Success, Outcome::Success, Outcome::Trap] {
        let latency = Duration::from_millis(10);
        let (queue_wait, memory_peak_bytes) = (Duration::ZERO, 65_536);
        stage.versions()[1].tally.record(InvocationRecord {
            outcome,
            latency,
            queue_wait,
            memory_peak_bytes,
        });
    }
    let json = api.get("/v1/functions/hello").await.json();
    let status: wasm_fn_api::FunctionStatus = serde_json::from_value(json).unwrap();
    let stages: Vec<_> = status.stages.iter().map(|stage| stage.stage.as_str()).collect();
    assert_eq!(stages, ["live", "staging"]);
    let live = &status.stages[0];
    assert_eq!((live.stable.as_str(), live.sticky.as_str()), ("v1", "cookie:sid"));
    assert_eq!(live.routes, ["/hello/*"]);
    assert_eq!(status.stages[1].routes, ["/hello@staging/*"]);
    let canary = &live.versions[0];
    assert_eq!((canary.version.as_str(), canary.weight.as_str()), ("v2", "10%"));
    assert_eq!(canary.role, Some(wasm_fn_api::VersionRole::Canary));
    assert_eq!((canary.tally.requests, canary.tally.failures), (3, 1));
    assert_eq!(canary.tally.outcomes["success"], 2);
    assert_eq!(canary.tally.memory_peak_bytes, 65_536);
    assert!((10.0..11.0).contains(&canary.tally.latency_p99_ms.unwrap()));
    assert_eq!(live.versions[1].tally.requests, 0);

    let list = api.get("/v1/functions").await.json();
    assert_eq!(list["functions"][0]["stages"][0]["requests"], 3);
    assert_eq!(list["functions"][0]["stages"][0]["canary"], "v2");
    let node = api.get("/v1/node").await.json();
    assert_eq!(
        (&node["functions"], &node["revision"], &node["version"]),
        (&json!(1), &json!(3), &json!("1.2.3"))
    );
}

#[tokio::test]
async fn refused_commands_have_stable_codes() {
    let api = Api::start().await;
    api.deploy("hello", b"1", json!({})).await;
    let split = |version: &str, weight: &str| json!({ "split": [{ "version": version, "weight": weight }] });
    let f = |action: &str| format!("/v1/functions/hello/{action}");
    for (method, path, body, expected) in [
        ("POST", f("promote"), json!({}), (409, "no-rollout")),
        ("POST", f("abort"), json!({}), (409, "no-rollout")),
        ("POST", f("rollback"), json!({}), (409, "no-previous-version")),
        ("POST", f("rollback"), json!({ "to": "v7" }), (404, "no-such-version")),
        ("POST", f("rollback"), json!({ "to": "seven" }), (400, "invalid-version")),
        ("POST", f("promote"), json!({ "stage": "staging" }), (404, "no-such-stage")),
        ("POST", f("promote"), json!({ "stage": "-" }), (400, "invalid-name")),
        ("POST", f("promote"), json!({ "expected_revision": 7 }), (409, "revision-conflict")),
        ("POST", f("promote"), json!({ "fully": true }), (400, "invalid-request")),
        ("POST", f("promote"), json!({ "full": true }), (409, "no-rollout")),
        ("POST", f("pause"), json!({}), (409, "no-rollout")),
        ("POST", f("resume"), json!({}), (409, "no-rollout")),
        ("POST", f("abort"), json!({ "now": true }), (409, "no-rollout")),
        ("PUT", f("traffic"), split("v1", "90%"), (400, "invalid-split")),
        ("PUT", f("traffic"), split("v1", "0%"), (400, "invalid-split")),
        ("PUT", f("traffic"), split("v1", "101%"), (400, "invalid-split")),
        ("PUT", f("traffic"), split("v1", "all"), (400, "invalid-split")),
        ("PUT", f("traffic"), split("v9", "100%"), (404, "no-such-version")),
        ("PUT", f("traffic"), split("canary", "100%"), (404, "no-such-version")),
        ("PUT", f("traffic"), json!({ "split": [] }), (400, "invalid-split")),
        ("PUT", f("traffic"), json!({}), (400, "invalid-request")),
        ("POST", "/v1/functions/other/promote".to_owned(), json!({}), (404, "no-such-function")),
        ("DELETE", "/v1/functions/other".to_owned(), json!({}), (404, "no-such-function")),
        (
            "DELETE",
            "/v1/functions/hello?expected_revision=9".to_owned(),
            json!({}),
            (409, "revision-conflict"),
        ),
        ("GET", "/v1/functions/other".to_owned(), json!({}), (404, "no-such-function")),
        ("GET", "/v1/functions/other/versions".to_owned(), json!({}), (404, "no-such-function")),
        ("GET", "/v1/functions/other/history".to_owned(), json!({}), (404, "no-such-function")),
        ("GET", "/v1/functions/other/logs".to_owned(), json!({}), (404, "no-such-function")),
    ] {
        let answer = api.call(method, &path, body.clone()).await;
        assert_eq!(answer.problem(), (expected.0, expected.1.to_owned()), "{method} {path} {body}");
    }
    assert_eq!(api.revision(), 1);
}

#[tokio::test]
async fn clash_conflict_and_rollout_in_progress_say_what_is_in_the_way() {
    let api = Api::start().await;
    api.deploy("hello", b"1", json!({})).await;
    let clash = api.deploy("other", b"2", json!({ "config": { "routes": ["/hello/*"] } })).await;
    assert_eq!(clash.problem(), (409, "route-clash".to_owned()));
    let detail = clash.json()["detail"].as_str().unwrap().to_owned();
    assert!(
        detail.contains("`hello`") && detail.contains("`other`") && detail.contains("/hello/*"),
        "{detail}"
    );

    let conflict = api.deploy("hello", b"2", json!({ "expected_revision": 0 })).await;
    assert_eq!(conflict.problem(), (409, "revision-conflict".to_owned()));
    assert_eq!(conflict.json()["revision"], 1);
    assert_eq!(conflict.json()["detail"], "`hello` is at revision 1, expected 0");

    api.deploy("hello", b"2", canary()).await;
    let refused = api.deploy("hello", b"3", canary()).await;
    assert_eq!(refused.problem(), (409, "rollout-in-progress".to_owned()));
    let help = refused.json()["help"].as_str().unwrap().to_owned();
    assert!(help.contains("wasm-fn promote hello") && help.contains("wasm-fn abort hello"), "{help}");
    let replaced =
        api.deploy("hello", b"3", json!({ "strategy": { "name": "blue-green" }, "replace": true })).await;
    assert_eq!(replaced.json()["rollout"]["canary"], "v3");
}

#[tokio::test]
async fn deleted_function_is_gone_and_keeps_its_history() {
    let api = Api::start().await;
    api.deploy("hello", b"1", json!({})).await;
    let deleted = api.raw("DELETE", "/v1/functions/hello?message=old", "").await;
    assert_eq!(deleted.json(), json!({ "function": "hello", "revision": 2 }));
    assert_eq!(api.get("/v1/functions/hello").await.status, 404);
    let history = api.get("/v1/functions/hello/history").await.json();
    assert_eq!(history["entries"][0]["action"], "delete");
    assert_eq!(history["entries"][0]["message"], "old");
    assert_eq!(api.deploy("hello", b"1", json!({})).await.json()["version"], "v2");
}
