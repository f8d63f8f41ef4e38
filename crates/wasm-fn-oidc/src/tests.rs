//! Tokens of a real issuer on this machine, right and wrong.

pub(crate) mod issuer;

use std::{collections::BTreeMap, time::Duration};

use ring::hmac;
use serde_json::{Value, json};
use wasm_fn_access::{AccessRole, ClaimRule, ClaimRules, Rights, Roles, Scope};

use self::issuer::{SigningKey, TestIssuer, b64, now_s};
use super::*;

fn options(issuer: &TestIssuer, algorithms: &[SignatureAlgorithm]) -> IssuerOptions {
    let wanted = BTreeMap::from([("org".to_owned(), "shop".to_owned())]);
    let rights = Rights { roles: Roles::of(&[AccessRole::Deployer]), scope: Scope::everything() };
    let rule = ClaimRule::new("ci".parse().unwrap(), wanted, rights).unwrap();
    let tls = rustls::ClientConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    IssuerOptions {
        issuer: issuer.url.parse().unwrap(),
        audience: "node".to_owned(),
        algorithms: algorithms.to_vec(),
        clock_skew: Duration::from_secs(30),
        rules: ClaimRules::new([rule]).unwrap(),
        client: IssuerClient::new(tls),
    }
}

fn trust(issuer: &TestIssuer) -> Issuers {
    Issuers::new([options(issuer, &SignatureAlgorithm::DEFAULT)])
}

/// Claims that the rule matches.
fn claims(issuer: &TestIssuer) -> Value {
    with(issuer.claims("repo:org/shop"), "org", json!("shop"))
}

fn with(mut claims: Value, name: &str, value: Value) -> Value {
    claims[name] = value;
    claims
}

async fn verify(issuers: &Issuers, token: &str) -> Result<Proven, OidcError> {
    verify_at(issuers, token, now_s()).await
}

async fn verify_at(issuers: &Issuers, token: &str, now_s: u64) -> Result<Proven, OidcError> {
    issuers.verify(token, now_s * 1000).await
}

async fn refused(issuers: &Issuers, token: &str, expected: &str) {
    let error = verify(issuers, token).await.unwrap_err();
    assert!(error.to_string().contains(expected), "{error}\nexpected {expected}");
    assert!(!matches!(error, OidcError::Unavailable { .. }), "it is the client's fault: {error}");
    let signature = token.rsplit('.').next().filter(|signature| signature.len() > 8);
    assert!(signature.is_none_or(|signature| !error.to_string().contains(signature)), "{error}");
}

async fn unavailable(issuers: &Issuers, token: &str, expected: &str) {
    let error = verify(issuers, token).await.unwrap_err();
    assert!(matches!(error, OidcError::Unavailable { .. }), "it is not the client's fault: {error}");
    assert!(error.to_string().contains(expected), "{error}\nexpected {expected}");
}

#[tokio::test]
async fn right_token_of_each_algorithm_has_the_rights_of_its_rule() {
    let keys = [SigningKey::rs256("r"), SigningKey::es256("e"), SigningKey::ed_dsa("d")];
    let issuer = TestIssuer::start(&keys.each_ref()).await;
    let issuers = Issuers::new([options(&issuer, &SignatureAlgorithm::ALL)]);
    for key in &keys {
        let token = key.sign(&claims(&issuer));
        assert!(is_jwt(&token));
        let proven = verify(&issuers, &token).await.unwrap();
        assert_eq!(proven.name, "ci/repo:org/shop");
        assert_eq!(proven.rights.roles, Roles::of(&[AccessRole::Deployer]));
        assert_eq!(proven.id.len(), 8);
        assert!(proven.until_ms / 1000 >= now_s() + 290);
        // Within its life, a token may be shown again.
        assert_eq!(verify(&issuers, &token).await.unwrap(), proven);
    }
    assert_eq!(issuer.fetches(), 1);
    assert!(!is_jwt("wfn_00") && !is_jwt("a.b") && !is_jwt("a.b.c.d"));
}

#[tokio::test]
async fn algorithms_that_are_not_listed_are_refused() {
    let keys = [SigningKey::rs256("r"), SigningKey::ed_dsa("d")];
    let issuer = TestIssuer::start(&keys.each_ref()).await;
    let issuers = trust(&issuer);
    let [rsa, ed] = &keys;
    refused(&issuers, &ed.sign(&claims(&issuer)), "algorithm \"EdDSA\", expected RS256 or ES256").await;
    for name in ["none", "None", "NONE", ""] {
        let unsigned =
            format!("{}.{}.", b64(json!({ "alg": name }).to_string()), b64(claims(&issuer).to_string()));
        refused(&issuers, &unsigned, &format!("algorithm {name:?}, expected RS256 or ES256")).await;
    }
    // The public key as a shared secret.
    let jwk = rsa.jwk();
    let secrets = [jwk["n"].as_str().unwrap().to_owned(), jwk.to_string()];
    for secret in secrets {
        let message = format!(
            "{}.{}",
            b64(json!({ "alg": "HS256", "kid": "r" }).to_string()),
            b64(claims(&issuer).to_string())
        );
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), message.as_bytes());
        refused(&issuers, &format!("{message}.{}", b64(tag)), "algorithm \"HS256\", expected RS256").await;
    }
    assert_eq!(issuer.fetches(), 0, "keys are not even asked for");
}

#[tokio::test]
async fn forged_tokens_are_refused() {
    let (key, other) = (SigningKey::es256("a"), SigningKey::es256("a"));
    let issuer = TestIssuer::start(&[&key]).await;
    let issuers = trust(&issuer);
    let right = key.sign(&claims(&issuer));
    verify(&issuers, &right).await.unwrap();
    let wrong = "the token's signature is wrong, expected one of http://127.0.0.1";
    refused(&issuers, &other.sign(&claims(&issuer)), wrong).await;
    let (message, signature) = right.rsplit_once('.').unwrap();
    let head = message.split('.').next().unwrap();
    let admin = b64(with(claims(&issuer), "sub", json!("admin")).to_string());
    refused(&issuers, &format!("{head}.{admin}.{signature}"), wrong).await;
    refused(&issuers, &format!("{message}."), wrong).await;
    refused(&issuers, &format!("{message}.{}", b64([0; 64])), wrong).await;
    refused(&issuers, &format!("{message}.{}A", signature), wrong).await;
    // A key of another kind under the id of a right one.
    refused(&issuers, &SigningKey::rs256("a").sign(&claims(&issuer)), "expected a key for RS256").await;
    let critical = json!({ "alg": "ES256", "kid": "a", "crit": ["b64"], "b64": false });
    refused(&issuers, &key.sign_as(&critical, &claims(&issuer)), wrong).await;
    for garbage in ["..", "a.b.c", "e30.e30.e30", "e30.W10.", "\u{0}.\u{0}.\u{0}", "W10.e30.AA"] {
        refused(&issuers, garbage, "no JSON Web Token").await;
    }
    let long = format!("{right}{}", "A".repeat(16 << 10));
    refused(&issuers, &long, "more than 16 KiB").await;
    verify(&issuers, &right).await.unwrap();
}

#[tokio::test]
async fn claims_that_do_not_suit_are_refused() {
    let key = SigningKey::es256("a");
    let issuer = TestIssuer::start(&[&key]).await;
    let issuers = trust(&issuer);
    let now = now_s();
    let table = [
        ("aud", json!("other"), "audience \"other\", expected \"node\""),
        (
            "iss",
            json!("https://id.example.com"),
            "issuer \"https://id.example.com\", expected http://127.0.0.1",
        ),
        ("iss", json!(format!("{}/", issuer.url)), "expected http://127.0.0.1"),
        ("iss", json!(null), "of the issuer nobody"),
        ("exp", json!(now - 60), "the token expired"),
        ("nbf", json!(now + 120), "is valid only in"),
        ("iat", json!(now + 120), "is valid only in"),
        ("exp", json!(now + 25 * 3600), "expected at most 86400"),
        ("org", json!("other"), "no rule for http://127.0.0.1"),
    ];
    for (name, value, expected) in table {
        refused(&issuers, &key.sign(&with(claims(&issuer), name, value)), expected).await;
    }
    let token = key.sign(&claims(&issuer));
    verify_at(&issuers, &token, now_s() + 299).await.unwrap();
    let error = verify_at(&issuers, &token, now_s() + 340).await.unwrap_err();
    assert!(error.to_string().contains("the token expired"), "{error}");
}

#[tokio::test]
async fn rotated_key_is_found_and_unknown_ones_cost_one_fetch_a_minute() {
    let (old, new) = (SigningKey::es256("old"), SigningKey::es256("new"));
    let issuer = TestIssuer::start(&[&old]).await;
    let issuers = trust(&issuer);
    let now = now_s();
    let long = with(claims(&issuer), "exp", json!(now + 3600));
    verify_at(&issuers, &old.sign(&long), now).await.unwrap();
    issuer.publish(&[&new]);
    verify_at(&issuers, &new.sign(&long), now + 1).await.unwrap();
    assert_eq!(issuer.fetches(), 2);
    let error = verify_at(&issuers, &old.sign(&long), now + 1).await.unwrap_err();
    assert!(error.to_string().contains("names the key \"old\", expected a key for ES256"), "{error}");
    for at in 0..100 {
        let unknown = SigningKey::es256(&format!("unknown-{at}"));
        verify_at(&issuers, &unknown.sign(&long), now + 2).await.unwrap_err();
    }
    assert_eq!(issuer.fetches(), 2);
    issuer.publish(&[&old, &new]);
    verify_at(&issuers, &old.sign(&long), now + 61).await.unwrap();
    assert_eq!(issuer.fetches(), 3);
}

#[tokio::test]
async fn keys_outlive_their_issuer_for_a_day() {
    let key = SigningKey::es256("a");
    let issuer = TestIssuer::start(&[&key]).await;
    let issuers = trust(&issuer);
    let now = now_s();
    let at = |hours: u64| {
        let begins = now + hours * 3600;
        let claims = with(with(claims(&issuer), "iat", json!(begins)), "exp", json!(begins + 600));
        (key.sign(&claims), begins)
    };
    let (token, begins) = at(0);
    verify_at(&issuers, &token, begins).await.unwrap();
    issuer.status(500);
    for hours in [1, 12, 23] {
        let (token, begins) = at(hours);
        verify_at(&issuers, &token, begins).await.unwrap();
    }
    let (token, begins) = at(25);
    let error = verify_at(&issuers, &token, begins).await.unwrap_err();
    assert!(error.to_string().contains("answers with status 500"), "{error}");
    issuer.status(200);
    verify_at(&issuers, &token, begins + 11).await.unwrap();
}

#[tokio::test]
async fn issuer_that_does_not_answer_as_it_should_is_no_fault_of_the_client() {
    let key = SigningKey::es256("a");
    let issuer = TestIssuer::start(&[&key]).await;
    let token = key.sign(&claims(&issuer));
    let right = json!({ "keys": [key.jwk()] });
    let many: Vec<_> = (0..1000).map(|at| SigningKey::es256(&at.to_string()).jwk()).collect();
    let huge = format!("{right}{}", " ".repeat(256 << 10));
    let keys = [
        (huge, "has more than 262144 bytes"),
        (json!({ "keys": many[..100] }).to_string(), "found 100 keys, expected at most 64"),
        (json!({ "keys": many }).to_string(), "keys"),
        (json!({ "keys": [] }).to_string(), "found 0 keys"),
        ("<html>".to_owned(), "no JSON object with a list of keys"),
    ];
    for (document, expected) in keys {
        issuer.keys(document);
        unavailable(&trust(&issuer), &token, expected).await;
    }
    issuer.publish(&[&key]);
    let at = |issuer: &str, keys: &str| json!({ "issuer": issuer, "jwks_uri": keys });
    let own = format!("{}/keys", issuer.url);
    let discoveries = [
        (at("https://id.example.com", &own), "is of the issuer \"https://id.example.com\", expected"),
        (at(&format!("{}/", issuer.url), &own), "expected \"http://127.0.0.1"),
        (at(&issuer.url, "http://id.example.com/keys"), "is not https"),
        (at(&issuer.url, "file:///etc/passwd"), "is not https"),
        (at(&issuer.url, &format!("{}/nothing", issuer.url)), "answers with status 404"),
        (json!({ "issuer": issuer.url }), "is not as expected"),
    ];
    for (document, expected) in discoveries {
        issuer.discovery(&document);
        unavailable(&trust(&issuer), &token, expected).await;
    }
    issuer.discovery(&at(&issuer.url, &own));
    let issuers = trust(&issuer);
    verify(&issuers, &token).await.unwrap();
    issuer.status(302);
    unavailable(&trust(&issuer), &token, "answers with status 302").await;
    let (closed, options) = (trust(&issuer), issuer.url.clone());
    drop(issuer);
    assert!(options.starts_with("http://127.0.0.1"));
    unavailable(&closed, &token, "cannot be fetched").await;
}

#[tokio::test]
async fn many_clients_at_once_cause_one_fetch() {
    let key = SigningKey::es256("a");
    let issuer = TestIssuer::start(&[&key]).await;
    let issuers = std::sync::Arc::new(trust(&issuer));
    let token = key.sign(&claims(&issuer));
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let (issuers, token) = (std::sync::Arc::clone(&issuers), token.clone());
        clients.spawn(async move { verify(&issuers, &token).await });
    }
    for result in clients.join_all().await {
        result.unwrap();
    }
    assert_eq!(issuer.fetches(), 1);
}
