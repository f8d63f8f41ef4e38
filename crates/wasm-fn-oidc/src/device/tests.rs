//! A login at a real issuer on this machine, which answers right and wrong.

use serde_json::{Value, json};

use super::*;
use crate::tests::issuer::TestIssuer;

fn http() -> IssuerClient {
    let tls = rustls::ClientConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    IssuerClient::new(tls)
}

/// An issuer with all endpoints but `without`.
async fn issuer(without: &str) -> TestIssuer {
    let issuer = TestIssuer::start(&[]).await;
    let mut document = json!({ "issuer": issuer.url, "jwks_uri": format!("{}/keys", issuer.url) });
    for (name, path) in [
        ("device_authorization_endpoint", "device"),
        ("token_endpoint", "token"),
        ("revocation_endpoint", "revoke"),
    ] {
        if name != without {
            document[name] = json!(format!("{}/{path}", issuer.url));
        }
    }
    issuer.discovery(&document);
    issuer.endpoint("/device", 200, code(&issuer));
    issuer
}

fn code(issuer: &TestIssuer) -> Value {
    json!({
        "device_code": "d", "user_code": "ABCD", "verification_uri": format!("{}/v", issuer.url),
        "expires_in": 600, "interval": 1,
    })
}

async fn client(issuer: &TestIssuer) -> LoginClient {
    let url = issuer.url.parse().unwrap();
    LoginClient::discover(http(), url, "wasm-fn".to_owned()).await.unwrap()
}

fn scopes() -> Vec<String> {
    vec!["openid".to_owned(), "offline_access".to_owned()]
}

#[tokio::test]
async fn requests_are_those_of_the_standard() {
    let issuer = issuer("").await;
    let client = client(&issuer).await;
    let code = client.request_code(&scopes()).await.unwrap();
    assert_eq!(code.user_code, "ABCD");
    issuer.endpoint("/token", 400, json!({ "error": "authorization_pending" }));
    assert_eq!(client.poll(&code).await, PollAnswer::Pending);
    issuer.endpoint("/token", 200, json!({ "access_token": "a", "refresh_token": "r 1" }));
    let PollAnswer::Ended(Ok(tokens)) = client.poll(&code).await else { panic!("it has tokens") };
    assert_eq!(tokens.refresh_token.as_deref(), Some("r 1"));
    client.refresh("r 1").await.unwrap();
    issuer.endpoint("/revoke", 200, "");
    assert_eq!(client.revoke("r 1").await, Ok(true));
    let poll = "/token grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Adevice_code&device_code=d\
                &client_id=wasm-fn";
    assert_eq!(
        issuer.forms(),
        [
            "/device client_id=wasm-fn&scope=openid+offline_access",
            poll,
            poll,
            "/token grant_type=refresh_token&refresh_token=r+1&client_id=wasm-fn",
            "/revoke token=r+1&token_type_hint=refresh_token&client_id=wasm-fn",
        ]
    );
}

#[tokio::test]
async fn issuer_without_the_grant_is_named() {
    for (without, expected) in [
        ("device_authorization_endpoint", "has no device authorization endpoint, expected an issuer with"),
        ("token_endpoint", "has no token endpoint"),
    ] {
        let issuer = issuer(without).await;
        let error = client(&issuer).await.request_code(&scopes()).await.unwrap_err().to_string();
        assert!(error.starts_with(&issuer.url) && error.contains(expected), "{error}");
        assert!(issuer.forms().is_empty(), "nothing is begun");
    }
    let issuer = issuer("revocation_endpoint").await;
    assert_eq!(client(&issuer).await.revoke("r").await, Ok(false));
}

#[tokio::test]
async fn answers_that_cannot_be_read_are_named_and_bounded() {
    let issuer = issuer("").await;
    let client = client(&issuer).await;
    let mut insecure = code(&issuer);
    insecure["verification_uri"] = json!("http://id.example.com/");
    let table = [
        (200, "<html>".to_owned(), "is not as expected: expected value"),
        (200, json!({ "device_code": "d" }).to_string(), "missing field `user_code`"),
        (200, json!("x".repeat(10_000)).to_string(), "is not as expected"),
        (200, " ".repeat(300 << 10), "has more than 262144 bytes"),
        (200, insecure.to_string(), "expected an https URL"),
        (302, String::new(), "answers with status 302"),
        (500, String::new(), "answers with status 500"),
        (400, " ".repeat(300 << 10), "has more than 262144 bytes"),
        (400, "<html>".to_owned(), "refuses with \"status 400\""),
        (401, json!({ "error": "invalid_client" }).to_string(), "refuses with \"invalid_client\""),
    ];
    for (status, body, expected) in table {
        issuer.endpoint("/device", status, body);
        let error = client.request_code(&scopes()).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}\nexpected {expected}");
        assert!(error.len() < 500, "{error}");
    }
}

#[tokio::test]
async fn issuer_that_is_away_for_a_while_does_not_end_the_wait() {
    let issuer = issuer("").await;
    let client = client(&issuer).await;
    let code = client.request_code(&scopes()).await.unwrap();
    issuer.endpoint("/token", 503, "");
    let PollAnswer::Failed(reason) = client.poll(&code).await else { panic!("it may come back") };
    assert!(reason.contains("answers with status 503"), "{reason}");
    issuer.endpoint("/token", 200, "<html>");
    let PollAnswer::Ended(Err(error)) = client.poll(&code).await else { panic!("it will not get better") };
    assert!(error.to_string().contains("is not as expected") && !error.is_passing(), "{error}");
    drop(issuer);
    assert!(matches!(client.poll(&code).await, PollAnswer::Failed(_)));
    let error = client.refresh("r").await.unwrap_err();
    assert!(error.is_passing() && error.to_string().contains("cannot be fetched"), "{error}");
}
