//! Which token of an answer is for the node.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::json;

use super::*;

const ISSUER: &str = "https://id.example.com";

fn token(claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.c2ln", part(&json!({ "alg": "ES256", "typ": "JWT" })), part(claims))
}

fn bearer(id: Option<&Value>, access: Option<&str>, audience: &str) -> Result<Bearer, String> {
    let answer = json!({ "id_token": id.map(token), "access_token": access, "token_type": "Bearer" });
    let tokens: TokenSet = serde_json::from_value(answer).unwrap();
    tokens.bearer(&ISSUER.parse().unwrap(), audience).map_err(|error| error.to_string())
}

#[test]
fn id_token_is_for_a_node_whose_audience_is_the_client() {
    let id = json!({ "iss": ISSUER, "aud": "wasm-fn", "exp": 1_800_000_000 });
    let access = token(&json!({ "iss": ISSUER, "aud": ["node", "other"], "exp": 1_900_000_000_u64 }));
    let found = bearer(Some(&id), Some(&access), "wasm-fn").unwrap();
    assert_eq!((found.token, found.expires_ms), (token(&id), 1_800_000_000_000));
    let found = bearer(Some(&id), Some(&access), "node").unwrap();
    assert_eq!((found.token, found.expires_ms), (access, 1_900_000_000_000));
}

#[test]
fn tokens_for_others_are_named() {
    let id = json!({ "iss": ISSUER, "aud": "wasm-fn", "exp": 1_800_000_000 });
    let of_others = json!({ "iss": "https://other.example", "aud": "node", "exp": 1_800_000_000 });
    let endless = json!({ "iss": ISSUER, "aud": "node" });
    let table = [
        (
            Some(&id),
            Some("opaque"),
            "an ID token for the audience \"wasm-fn\" and an access token that is no",
        ),
        (Some(&of_others), None, "an ID token of \"https://other.example\" and no access token"),
        (Some(&endless), None, "an ID token that does not say when it expires"),
        (None, Some("a.b.c"), "no ID token and an access token that is no JSON Web Token"),
        (None, None, "no ID token and no access token, expected a JSON Web Token for the audience \"node\""),
    ];
    for (id, access, expected) in table {
        let error = bearer(id, access, "node").unwrap_err();
        assert!(error.starts_with("https://id.example.com gave "), "{error}");
        assert!(error.contains(expected), "{error}\nexpected {expected}");
    }
}

#[test]
fn tokens_are_not_shown() {
    let tokens: TokenSet = serde_json::from_value(json!({ "refresh_token": "r-secret" })).unwrap();
    assert!(!format!("{tokens:?}").contains("secret"));
    let bearer = Bearer { token: "b-secret".to_owned(), expires_ms: 1 };
    assert_eq!(format!("{bearer:?}"), "Bearer { expires_ms: 1, .. }");
}
