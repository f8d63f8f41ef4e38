//! Tests of secrets over HTTP: set, listed, deployed, deleted, refused, and never shown.

use super::*;

const SECRETS: &str = "/v1/functions/hello/stages/live/secrets";

#[tokio::test]
async fn secret_is_set_listed_deployed_and_deleted_without_being_shown() {
    let api = Api::start().await;
    let empty = api.get(SECRETS).await.json();
    assert_eq!(empty["secrets"], json!([]), "a function that does not exist may get secrets");
    let named = json!({ "config": { "secrets": ["A", "B"] } });
    let refused = api.deploy("hello", b"1", named).await;
    assert_eq!(refused.problem(), (409, "secret-not-set".to_owned()));
    assert!(refused.text.contains("secrets A, B are not set"), "{refused:?}");

    let set = api.raw("PUT", &format!("{SECRETS}/A?message=rotated"), "hunter2").await.json();
    assert_eq!((&set["secret_revision"], &set["revision"]), (&json!(1), &json!(2)));
    let deployed = api.deploy("hello", b"1", json!({ "config": { "secrets": ["A"] } })).await;
    assert_eq!(deployed.json()["version"], "v1");
    assert_eq!(deployed.json()["growth"][0], "secret A");
    assert_eq!(&*api.node.stage("hello").stable().target, "hello v1 A=hunter2");
    let list = api.get(SECRETS).await;
    let secret = &list.json()["secrets"][0];
    assert_eq!((&secret["name"], &secret["set_by"]), (&json!("A"), &json!("admin")));
    assert_eq!(secret["used_by"], json!([{ "version": "v1", "revision": 1 }]));

    let in_use = api.raw("DELETE", &format!("{SECRETS}/A"), "").await;
    assert_eq!(in_use.problem(), (409, "secret-in-use".to_owned()));
    api.raw("PUT", &format!("{SECRETS}/B"), "hunter2").await.json();
    assert_eq!(api.raw("DELETE", &format!("{SECRETS}/B"), "").await.json()["name"], "B");
    let gone = api.raw("DELETE", &format!("{SECRETS}/B"), "").await;
    assert_eq!(gone.problem(), (404, "no-such-secret".to_owned()));
    let rotated = api.call("POST", "/v1/secrets/rotate-key", json!({})).await.json();
    assert_eq!(rotated["functions"], 1);

    let history = api.get("/v1/functions/hello/history").await;
    let entries = history.json()["entries"].clone();
    let shown = entries.as_array().unwrap().iter();
    let shown = shown.map(|entry| (entry["action"].as_str().unwrap().to_owned(), entry["secrets"].clone()));
    let shown: Vec<_> = shown.collect();
    let expected = [
        ("reseal-secrets", Value::Null),
        ("delete-secret", json!({ "B": 0 })),
        ("set-secret", json!({ "B": 1 })),
        ("deploy", json!({ "A": 1 })),
        ("set-secret", json!({ "A": 1 })),
    ];
    assert_eq!(shown, expected.map(|(action, secrets)| (action.to_owned(), secrets)));
    let audit = api.get("/v1/audit").await;
    assert!(audit.text.contains("add-data-key") && audit.text.contains("drop-data-keys"), "{audit:?}");
    for answer in [&list, &history, &audit, &in_use] {
        assert!(!answer.text.contains("hunter2"), "{answer:?}");
    }
}

#[tokio::test]
async fn value_or_name_that_is_none_is_refused_and_not_shown() {
    let api = Api::start().await;
    for (name, value, code) in [
        ("A", &b""[..], "invalid-secret"),
        ("A", b"hunter2\0", "invalid-secret"),
        ("A", b"hunter2\xff", "invalid-secret"),
        ("1A", b"hunter2", "invalid-name"),
        ("A-B", b"hunter2", "invalid-name"),
    ] {
        let answer = api.raw("PUT", &format!("{SECRETS}/{name}"), value).await;
        assert_eq!(answer.problem(), (400, code.to_owned()), "{name} {value:?}");
        assert!(!answer.text.contains("hunter2"), "{answer:?}");
    }
    let stale = api.raw("PUT", &format!("{SECRETS}/A?expected_revision=9"), "hunter2").await;
    assert_eq!(stale.problem(), (409, "revision-conflict".to_owned()));
    assert_eq!(api.revision(), 0, "nothing was changed, no key made");
}

#[tokio::test]
async fn several_values_are_one_change_or_none() {
    let api = Api::start().await;
    let (a, b) = ("aHVudGVyMg==", "bGluZSAxCiJsaW5lIDIi");
    let set =
        api.call("POST", SECRETS, json!({ "values": { "A": a, "B": b }, "message": "all" })).await.json();
    assert_eq!(set["secrets"], json!({ "A": 1, "B": 1 }), "{set}");
    assert_eq!(set["revision"], 2, "the data key, and one change: {set}");
    let deployed = api.deploy("hello", b"1", json!({ "config": { "secrets": ["A", "B"] } })).await;
    assert_eq!(deployed.status, 200, "{deployed:?}");
    let told = "hello v1 A=hunter2 B=line 1\n\"line 2\"";
    assert_eq!(&*api.node.stage("hello").stable().target, told);
    for (values, expected, code) in [
        (json!({}), None, "invalid-request"),
        (json!({ "A": a, "B": "hunter2!" }), None, "invalid-request"),
        (json!({ "A": a, "B": 1 }), None, "invalid-request"),
        (json!({ "A": a, "1B": b }), None, "invalid-name"),
        (json!({ "A": a, "B": "" }), None, "invalid-secret"),
        (json!({ "A": a }), Some(2), "revision-conflict"),
        ((0..257).map(|at| (format!("S{at}"), json!(a))).collect::<Value>(), None, "too-many-secrets"),
    ] {
        let body = json!({ "values": values, "expected_revision": expected });
        let answer = api.call("POST", SECRETS, body).await;
        assert_eq!(answer.problem().1, code, "{answer:?}");
        assert!(!answer.text.contains("hunter2") && !answer.text.contains(a), "{answer:?}");
    }
    let large = format!("{{\"values\":{{\"A\":\"{}\"}}}}", "A".repeat(6 << 20));
    assert_eq!(api.raw("POST", SECRETS, large).await.problem(), (413, "too-large".to_owned()));
    let list = api.get(SECRETS).await.json();
    assert_eq!(list["secrets"].as_array().unwrap().len(), 2, "{list}");
    let again = api.node.restarted().await;
    assert_eq!(again.control.state().revision(), api.node.control.state().revision());
    let history = api.get("/v1/functions/hello/history").await.json();
    assert_eq!(history["entries"][1]["secrets"], json!({ "A": 1, "B": 1 }), "{history}");
}
