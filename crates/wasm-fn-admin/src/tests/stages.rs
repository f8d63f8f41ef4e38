//! Tests of lists in pages, revisions by function, and the deletion of stages.

use super::*;

/// The names of the functions on a page, and whether there are more.
async fn page(api: &Api, query: &str) -> (Vec<String>, bool) {
    let list = api.get(&format!("/v1/functions{query}")).await.json();
    let functions = list["functions"].as_array().unwrap().iter();
    let names = functions.map(|function| function["function"].as_str().unwrap().to_owned());
    (names.collect(), list["more"].as_bool().unwrap())
}

#[tokio::test]
async fn functions_are_listed_in_pages() {
    let api = Api::start().await;
    for function in ["d", "a", "c", "gone", "b"] {
        api.deploy(function, b"1", json!({})).await;
    }
    api.raw("DELETE", "/v1/functions/gone", "").await;
    let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
    assert_eq!(page(&api, "").await, (names(&["a", "b", "c", "d"]), false));
    assert_eq!(page(&api, "?limit=3").await, (names(&["a", "b", "c"]), true));
    assert_eq!(page(&api, "?limit=3&after=c").await, (names(&["d"]), false));
    assert_eq!(page(&api, "?limit=1&after=a").await, (names(&["b"]), true));
    // A name that is not there is still a place in the order; what is deleted is on no page.
    assert_eq!(page(&api, "?after=bb&limit=2").await, (names(&["c", "d"]), false));
    assert_eq!(page(&api, "?after=d").await, (names(&[]), false));
    for (query, code) in [
        ("?limit=0", "invalid-request"),
        ("?limit=1001", "invalid-request"),
        ("?limit=x", "invalid-request"),
        ("?after=A", "invalid-name"),
        ("?page=2", "invalid-request"),
    ] {
        assert_eq!(
            api.get(&format!("/v1/functions{query}")).await.problem(),
            (400, code.to_owned()),
            "{query}"
        );
    }
}

#[tokio::test]
async fn versions_are_listed_in_pages() {
    let api = Api::start().await;
    for bytes in [b"1", b"2", b"3"] {
        api.deploy("hello", bytes, json!({})).await;
    }
    let page = async |query: &str| {
        let list = api.get(&format!("/v1/functions/hello/versions{query}")).await.json();
        let versions = list["versions"].as_array().unwrap().iter();
        let versions: Vec<_> =
            versions.map(|version| version["version"].as_str().unwrap().to_owned()).collect();
        (versions.join(" "), list["more"].as_bool().unwrap())
    };
    assert_eq!(page("").await, ("v3 v2 v1".to_owned(), false));
    assert_eq!(page("?limit=2").await, ("v3 v2".to_owned(), true));
    assert_eq!(page("?limit=2&before=v2").await, ("v1".to_owned(), false));
    assert_eq!(page("?before=v1").await, (String::new(), false));
    for (query, code) in [
        ("?before=stable", "invalid-request"),
        ("?before=2", "invalid-version"),
        ("?limit=0", "invalid-request"),
    ] {
        let answer = api.get(&format!("/v1/functions/hello/versions{query}")).await;
        assert_eq!(answer.problem(), (400, code.to_owned()), "{query}");
    }
}

#[tokio::test]
async fn revisions_are_those_of_the_function() {
    let api = Api::start().await;
    api.deploy("hello", b"1", json!({})).await;
    let deployed = api.deploy("hello", b"2", canary()).await.json();
    api.deploy("other", b"3", json!({})).await;
    assert_eq!((api.revision(), &deployed["revision"]), (3, &json!(2)));
    assert_eq!(api.get("/v1/functions/hello").await.json()["revision"], 2);
    let list = api.get("/v1/functions").await.json();
    assert_eq!((&list["revision"], &list["functions"][0]["revision"]), (&json!(3), &json!(2)));
    // The same again changes nothing, and another function is nobody's conflict.
    let same = api.deploy("hello", b"2", canary()).await.json();
    assert_eq!((&same["unchanged"], &same["revision"]), (&json!(true), &json!(2)));
    let paused = api.call("POST", "/v1/functions/hello/pause", json!({ "expected_revision": 2 })).await;
    assert_eq!(paused.json()["revision"], 4);
    let stale = api.call("POST", "/v1/functions/hello/resume", json!({ "expected_revision": 3 })).await;
    assert_eq!(stale.problem(), (409, "revision-conflict".to_owned()));
    assert_eq!(
        (&stale.json()["revision"], stale.json()["detail"].as_str()),
        (&json!(4), Some("`hello` is at revision 4, expected 3"))
    );
}

#[tokio::test]
async fn deleted_stage_is_gone_and_its_versions_stay() {
    let api = Api::start().await;
    api.deploy("hello", b"1", json!({})).await;
    api.deploy("hello", b"2", json!({ "stage": "staging" })).await;
    let table = || api.node.control.tables().load_full();
    assert!(table().find(None, "/hello@staging").is_some());
    let path = "/v1/functions/hello/stages/staging";
    let deleted = api.raw("DELETE", &format!("{path}?message=old&expected_revision=2"), "").await;
    assert_eq!(deleted.json(), json!({ "function": "hello", "stage": "staging", "revision": 3 }));
    assert!(table().stage(&"hello".parse().unwrap(), &"staging".parse().unwrap()).is_none());
    let status = api.get("/v1/functions/hello").await.json();
    assert_eq!(status["stages"].as_array().unwrap().len(), 1);
    let versions = api.get("/v1/functions/hello/versions").await.json();
    assert_eq!(
        (&versions["versions"][0]["version"], &versions["versions"][0]["stages"]),
        (&json!("v2"), &json!([]))
    );
    let entry = &api.get("/v1/functions/hello/history").await.json()["entries"][0];
    assert_eq!(
        (&entry["action"], &entry["stage"], &entry["message"]),
        (&json!("delete-stage"), &json!("staging"), &json!("old"))
    );
    // A restarted node knows it too, and the stage can begin anew.
    let restarted = api.node.restarted().await;
    assert_eq!(*restarted.control.state(), *api.node.control.state());
    let again = api.deploy("hello", b"2", json!({ "stage": "staging" })).await.json();
    assert_eq!((&again["version"], &again["first"]), (&json!("v2"), &json!(true)));
    assert_eq!(api.node.control.verify_journal(None).await.unwrap().revision.0, 4);
}

#[tokio::test]
async fn stages_that_cannot_be_deleted_stay() {
    let api = Api::start().await;
    api.deploy("hello", b"1", json!({})).await;
    api.deploy("hello", b"1", json!({ "stage": "staging" })).await;
    let rollout = json!({ "stage": "staging", "strategy": { "name": "canary", "steps": ["10%"] } });
    api.deploy("hello", b"2", rollout).await;
    for (path, expected) in [
        ("hello/stages/live", (409, "live-stage")),
        ("hello/stages/staging", (409, "rollout-in-progress")),
        ("hello/stages/other", (404, "no-such-stage")),
        ("hello/stages/-", (400, "invalid-name")),
        ("other/stages/staging", (404, "no-such-function")),
        ("hello/stages/staging?expected_revision=2", (409, "revision-conflict")),
        ("hello/stages/staging?force=true", (400, "invalid-request")),
    ] {
        let answer = api.raw("DELETE", &format!("/v1/functions/{path}"), "").await;
        assert_eq!(answer.problem(), (expected.0, expected.1.to_owned()), "{path}");
    }
    assert_eq!(api.revision(), 3);
    // Once everybody is on the new version, nothing is under way that a person has to end.
    let promoted = json!({ "stage": "staging", "full": true });
    let promoted = api.call("POST", "/v1/functions/hello/promote", promoted).await.json();
    assert_eq!(promoted["rollout"]["phase"], "watching");
    assert_eq!(api.raw("DELETE", "/v1/functions/hello/stages/staging", "").await.status, 200);
}
