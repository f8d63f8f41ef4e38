//! A browser that a real issuer on this machine sends back.

use serde_json::json;

use super::*;
use crate::{IssuerClient, IssuerUrl, tests::issuer::TestIssuer};

/// An issuer with all endpoints but `without`, and a client of it.
async fn client(without: &str) -> (TestIssuer, LoginClient) {
    let issuer = TestIssuer::start(&[]).await;
    let mut document = json!({ "issuer": issuer.url, "jwks_uri": format!("{}/keys", issuer.url) });
    for (name, path) in [("authorization_endpoint", "authorize?tenant=1"), ("token_endpoint", "token")] {
        if name != without {
            document[name] = json!(format!("{}/{path}", issuer.url));
        }
    }
    issuer.discovery(&document);
    let tls = rustls::ClientConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let url: IssuerUrl = issuer.url.parse().unwrap();
    let client = LoginClient::discover(IssuerClient::new(tls), url, "wasm-fn".to_owned()).await.unwrap();
    (issuer, client)
}

/// The verifier is the example of RFC 7636, appendix B.
fn login() -> Redirection {
    Redirection {
        redirect_uri: "https://node.example.com/ui/".to_owned(),
        state: "s".to_owned(),
        verifier: "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk".to_owned(),
    }
}

#[tokio::test]
async fn requests_are_those_of_the_standard() {
    let (issuer, client) = client("").await;
    let expected = format!(
        "{}/authorize?tenant=1&response_type=code&client_id=wasm-fn\
         &redirect_uri=https%3A%2F%2Fnode.example.com%2Fui%2F&scope=openid+groups&state=s\
         &code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM&code_challenge_method=S256",
        issuer.url
    );
    assert_eq!(client.authorization(&login(), &["openid", "groups"]).unwrap(), expected);
    issuer.endpoint("/token", 200, json!({ "refresh_token": "r" }));
    let tokens = client.redeem(&login(), "c 1").await.unwrap();
    assert_eq!(tokens.refresh_token.as_deref(), Some("r"));
    let form = "/token grant_type=authorization_code&code=c+1\
                &redirect_uri=https%3A%2F%2Fnode.example.com%2Fui%2F&client_id=wasm-fn\
                &code_verifier=dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    assert_eq!(issuer.forms(), [form]);
}

#[tokio::test]
async fn refused_code_and_issuer_without_the_grant_are_named() {
    let (issuer, client) = client("").await;
    issuer.endpoint("/token", 400, json!({ "error": "invalid_grant" }));
    let long = "é".repeat(CODE_BYTES_MAX);
    let error = client.redeem(&login(), &long).await.unwrap_err().to_string();
    assert!(error.contains("refuses with \"invalid_grant\""), "{error}");
    assert!(issuer.forms()[0].len() < 4 * CODE_BYTES_MAX, "what is sent has a bound");
    for (without, expected) in [
        (
            "authorization_endpoint",
            "has no authorization endpoint, expected an issuer with the authorization code",
        ),
        ("token_endpoint", "has no token endpoint"),
    ] {
        let (issuer, client) = self::client(without).await;
        let error = client.authorization(&login(), &[]).unwrap_err().to_string();
        assert!(error.starts_with(&issuer.url) && error.contains(expected), "{error}");
    }
}
