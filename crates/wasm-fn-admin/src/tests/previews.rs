//! Tests of the addresses of versions, and the tokens for them.

use super::*;

/// A node on which v2 of `hello` awaits its promotion.
async fn waiting() -> Api {
    let api = Api::start().await;
    api.deploy("hello", b"1", json!({})).await;
    assert_eq!(api.deploy("hello", b"2", canary()).await.status, 200);
    api
}

#[tokio::test]
async fn versions_with_a_role_have_addresses_and_one_token() {
    let api = waiting().await;
    let preview = api.get("/v1/functions/hello/preview").await.json();
    let token = preview["token"].as_str().unwrap().to_owned();
    let expected = json!({
        "function": "hello", "stage": "live", "access": "token", "token": token, "guest_path": "/hello",
        "addresses": [
            { "version": "v2", "role": "canary", "path": "/hello@v2", "host": "v2--hello.example.com" },
            { "version": "v1", "role": "stable", "path": "/hello@v1", "host": "v1--hello.example.com" },
        ],
    });
    assert_eq!(preview, expected);
    let opens = |function: &str, stage: &str| {
        api.node.control.previews(&function.parse().unwrap(), &stage.parse().unwrap(), &token)
    };
    assert!(opens("hello", "live"));
    assert!(!opens("hell", "live") && !opens("hello", "staging"));
    let rotated = api.call("POST", "/v1/preview-key", json!({})).await.json();
    assert!(rotated["at_ms"].as_u64().unwrap() >= 1_000_000, "{rotated}");
    assert!(!opens("hello", "live"));
}

#[tokio::test]
async fn one_version_is_named_as_it_is_asked_for() {
    let api = waiting().await;
    let preview = api.get("/v1/functions/hello/preview?version=canary").await.json();
    let expected = json!([
        { "version": "v2", "role": "canary", "path": "/hello@canary", "host": "canary--hello.example.com" },
    ]);
    assert_eq!(preview["addresses"], expected);
    for (query, status, code) in [
        ("version=v3", 404, "no-such-version"),
        ("version=previous", 404, "no-such-version"),
        ("version=2", 400, "invalid-version"),
        ("stage=staging", 404, "no-such-stage"),
        ("stage=A", 400, "invalid-name"),
        ("versions=v2", 400, "invalid-request"),
    ] {
        let answer = api.get(&format!("/v1/functions/hello/preview?{query}")).await;
        assert_eq!(answer.problem(), (status, code.to_owned()), "{query}");
    }
    let nobody = api.get("/v1/functions/nobody/preview").await;
    assert_eq!(nobody.problem(), (404, "no-such-function".to_owned()));
}

#[tokio::test]
async fn access_is_what_the_stable_version_is_configured_with() {
    let api = Api::start().await;
    let open = json!({ "config": { "preview": "open", "routes": ["/*"] } });
    api.deploy("open_", b"1", open).await;
    let preview = api.get("/v1/functions/open_/preview").await.json();
    assert_eq!((&preview["access"], &preview["guest_path"]), (&json!("open"), &json!("/")));
    assert!(preview.get("token").is_none());
    let address = &preview["addresses"][0];
    assert!(address.get("host").is_none());
    assert!(address["no_host"].as_str().unwrap().contains("`v1--open_` has an underscore"), "{address}");
    api.deploy("off", b"1", json!({ "config": { "preview": "off" }, "stage": "staging" })).await;
    let preview = api.get("/v1/functions/off/preview?stage=staging").await.json();
    assert_eq!((&preview["access"], &preview["addresses"]), (&json!("off"), &json!([])));
    api.deploy("staged", b"1", json!({ "stage": "staging" })).await;
    let preview = api.get("/v1/functions/staged/preview?stage=staging&version=stable").await.json();
    assert_eq!(preview["guest_path"], "/staged@staging");
    let expected = json!([{ "version": "v1", "role": "stable", "path": "/staged@staging@stable" }]);
    assert_eq!(preview["addresses"], expected);
    let refused = api.deploy("on", b"1", json!({ "config": { "preview": "on" } })).await;
    assert_eq!(refused.problem(), (400, "invalid-config".to_owned()));
    assert_eq!(refused.json()["detail"], "preview: found \"on\", expected open, token or off");
}
