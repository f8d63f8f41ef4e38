//! Tokens found by their secret.

use super::*;

fn name(text: &str) -> TokenName {
    text.parse().unwrap()
}

fn key() -> TokenKey {
    TokenKey::new([1; 32])
}

fn secret(byte: u8) -> TokenSecret {
    TokenSecret::new([byte; 32])
}

fn token(byte: u8, expires_ms: Option<u64>) -> Token {
    Token {
        hash: key().hash(&secret(byte)),
        rights: Rights::all(),
        created_ms: 5,
        created_by: "admin".to_owned(),
        expires_ms,
    }
}

#[test]
fn a_token_is_found_by_its_secret_until_it_is_removed() {
    let mut tokens = Tokens::default();
    tokens.insert(name("ci"), token(1, None));
    tokens.insert(name("ann"), token(2, None));
    let found = |tokens: &Tokens, byte| {
        tokens
            .find(&secret(byte), &key(), 9)
            .map(|(name, _)| name.to_string())
            .map_err(|error| error.to_string())
    };
    assert_eq!(found(&tokens, 1).unwrap(), "ci");
    assert_eq!(found(&tokens, 2).unwrap(), "ann");
    assert!(found(&tokens, 3).is_err());
    assert!(tokens.remove(&name("ci")).is_some());
    assert!(tokens.remove(&name("ci")).is_none());
    assert!(found(&tokens, 1).is_err());
    assert_eq!(found(&tokens, 2).unwrap(), "ann");
}

#[test]
fn a_replaced_token_loses_its_old_secret() {
    let mut tokens = Tokens::default();
    tokens.insert(name("ci"), token(1, None));
    tokens.insert(name("ci"), token(2, None));
    assert_eq!(tokens.find(&secret(1), &key(), 9), Err(Denied::Unknown));
    assert!(tokens.find(&secret(2), &key(), 9).is_ok());
    assert_eq!(tokens.iter().len(), 1);
    let mut other = Tokens::default();
    other.insert(name("ci"), token(2, None));
    assert_eq!(tokens, other, "nothing is left of the old one");
}

#[test]
fn a_token_expires_at_its_time() {
    let mut tokens = Tokens::default();
    tokens.insert(name("ci"), token(1, Some(100)));
    assert!(tokens.find(&secret(1), &key(), 99).is_ok());
    let expired = Denied::Expired { name: name("ci"), expired_ms: 100 };
    assert_eq!(tokens.find(&secret(1), &key(), 100), Err(expired));
}

#[test]
fn a_token_of_another_node_is_unknown() {
    let mut tokens = Tokens::default();
    tokens.insert(name("ci"), token(1, None));
    assert_eq!(tokens.find(&secret(1), &TokenKey::new([2; 32]), 0), Err(Denied::Unknown));
}
