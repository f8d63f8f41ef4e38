//! Sets of keys: right, hostile and broken.

use serde_json::{Value, json};

use super::*;
use crate::SignatureAlgorithm::{EdDsa, Es256, Rs256};

fn parse(keys: &[Value]) -> Result<KeySet, KeySetError> {
    KeySet::parse(json!({ "keys": keys }).to_string().as_bytes())
}

fn ec(id: &str) -> Value {
    json!({ "kty": "EC", "crv": "P-256", "kid": id, "x": "AAAA", "y": "AAAA" })
}

fn with(mut key: Value, name: &str, value: Value) -> Value {
    key[name] = value;
    key
}

#[test]
fn key_is_found_by_its_id_for_algorithms_of_its_kind() {
    let set = parse(&[ec("a"), with(ec("b"), "alg", json!("ES256")), with(ec("c"), "alg", json!("ES384"))]);
    let set = set.unwrap();
    assert_eq!(set.len(), 3);
    let has = |id, algorithm| set.find(id, algorithm).is_some();
    assert!(has(Some("a"), Es256) && has(Some("b"), Es256));
    assert!(!has(Some("c"), Es256), "it says that it is for another");
    assert!(!has(Some("a"), Rs256) && !has(Some("a"), EdDsa) && !has(Some("d"), Es256));
    assert!(!has(None, Es256), "several could be meant");
    let one = parse(&[ec("a")]).unwrap();
    assert!(one.find(None, Es256).is_some() && one.find(None, Rs256).is_none());
}

#[test]
fn shared_secrets_and_keys_for_other_uses_are_left_out() {
    let secret = json!({ "kty": "oct", "kid": "s", "k": "c2VjcmV0" });
    let unknown = json!({ "kty": "LATTICE", "kid": "u", "q": "AAAA" });
    let broken = json!({ "kty": "RSA", "kid": "r", "n": "*", "e": "AQAB" });
    let encryption = with(ec("e"), "use", json!("enc"));
    let long = ec(&"x".repeat(257));
    let set = parse(&[secret.clone(), unknown, broken, encryption, long, ec("a")]).unwrap();
    assert_eq!(set.len(), 1);
    assert_eq!(parse(&[secret]).unwrap_err(), KeySetError::NoneUsable { found: 1 });
    assert_eq!(parse(&[]).unwrap_err(), KeySetError::NoneUsable { found: 0 });
}

#[test]
fn document_with_a_thousand_keys_is_refused() {
    let keys: Vec<_> = (0..1000).map(|at| ec(&at.to_string())).collect();
    assert_eq!(parse(&keys).unwrap_err(), KeySetError::TooMany { found: 1000 });
    assert_eq!(parse(&keys[..64]).unwrap().len(), 64);
}

#[test]
fn what_is_no_set_of_keys_is_refused() {
    for text in ["", "[]", "{}", "{\"keys\":{}}", "\u{0}", "{\"keys\":[1"] {
        let error = KeySet::parse(text.as_bytes()).unwrap_err();
        assert!(matches!(error, KeySetError::Malformed(_)), "{text}: {error}");
    }
    assert_eq!(parse(&[json!(1), json!(null)]).unwrap_err(), KeySetError::NoneUsable { found: 2 });
}
