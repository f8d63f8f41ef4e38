//! Tests of the chain of hashes.

use wasm_fn_core::FunctionName;

use super::*;
use wasm_fn_access::{AccessRole, Rights, Roles, Scope, Token, TokenKey, TokenSecret};

use crate::state::{AccessChange, Action, FunctionChange, Refusals};

fn draft(revision: u64, previous_hash: Hash) -> Entry {
    let function: FunctionName = "hello".parse().unwrap();
    Entry {
        revision: Revision(revision),
        at_ms: 1_700_000_000_000 + revision,
        actor: "ann".to_owned(),
        token: Some("0a1b2c3d".to_owned()),
        origin: "127.0.0.1:1".to_owned(),
        node: None,
        message: Some("because \"é\"\n".to_owned()),
        change: FunctionChange { function, action: Action::Delete }.into(),
        previous_hash,
        hash: GENESIS,
    }
}

fn chain(length: u64) -> Vec<String> {
    let mut head = GENESIS;
    (1..=length)
        .map(|revision| {
            let entry = draft(revision, head).sealed();
            head = entry.hash;
            entry.to_json()
        })
        .collect()
}

fn walk(chain: &[String]) -> Result<Revision, ChainError> {
    let mut walk = Walk::new();
    for (at, json) in chain.iter().enumerate() {
        walk.step(at as u64 + 1, json)?;
    }
    Ok(walk.head().revision)
}

#[test]
fn untouched_chain_is_verified() {
    assert_eq!(walk(&chain(3)), Ok(Revision(3)));
    assert_eq!(walk(&[]), Ok(Revision(0)));
}

#[test]
fn entry_survives_its_json() {
    let entry = draft(1, GENESIS).sealed();
    assert_eq!(Entry::parse(&entry.to_json()).unwrap(), entry);
    let entry = Entry { node: Some("node-1".to_owned()), ..draft(1, GENESIS) }.sealed();
    assert_eq!(Entry::parse(&entry.to_json()).unwrap(), entry);
}

#[test]
fn hash_is_of_the_canonical_form() {
    let canonical = format!(
        r#"{{"actor":"ann","at_ms":1700000000001,"change":{{"action":"delete","function":"hello"}},"message":"because \"é\"\n","origin":"127.0.0.1:1","previous_hash":"{}","revision":1,"token":"0a1b2c3d"}}"#,
        "0".repeat(64)
    );
    let expected: Hash = Sha256::digest(canonical).into();
    assert_eq!(draft(1, GENESIS).sealed().hash, expected);
}

#[test]
fn order_of_fields_does_not_matter() {
    let value: Value = serde_json::from_str(&chain(1)[0]).unwrap();
    let fields = value.as_object().unwrap();
    let mut turned: Vec<_> = fields.iter().map(|(name, field)| format!("\"{name}\":{field}")).collect();
    turned.reverse();
    assert_eq!(walk(&[format!("{{ {} }}", turned.join(" , "))]), Ok(Revision(1)));
}

#[test]
fn every_changed_field_is_noticed() {
    for (from, to) in [
        ("ann", "bob"),
        ("because", "became"),
        ("127.0.0.1:1", "127.0.0.1:2"),
        ("1700000000002", "1700000000003"),
        ("delete", "deleted"),
        ("\"function\":\"hello\"", "\"function\":\"other\""),
    ] {
        let mut chain = chain(3);
        chain[1] = chain[1].replace(from, to);
        assert_eq!(walk(&chain), Err(ChainError::Changed { revision: 2 }), "{from}");
    }
}

#[test]
fn removed_swapped_and_resealed_entries_are_noticed() {
    let intact = chain(4);
    let removed = [intact[0].clone(), intact[2].clone(), intact[3].clone()];
    assert_eq!(walk(&removed), Err(ChainError::Gap { revision: 2 }));
    let swapped = [intact[0].clone(), intact[2].clone(), intact[1].clone()];
    assert_eq!(walk(&swapped), Err(ChainError::Gap { revision: 2 }));
    let mut resealed = intact.clone();
    let previous_hash = Entry::parse(&intact[0]).unwrap().hash;
    let other = Entry { actor: "bob".to_owned(), ..draft(2, previous_hash) };
    resealed[1] = other.sealed().to_json();
    assert_eq!(walk(&resealed), Err(ChainError::Gap { revision: 3 }));
    assert_eq!(walk(&intact[1..]), Err(ChainError::Gap { revision: 1 }));
}

#[test]
fn unreadable_entries_are_named() {
    for bad in ["", "{", "[]", "{}", "null", r#"{"hash":"xy"}"#] {
        let error = walk(&[bad.to_owned()]).unwrap_err();
        assert!(matches!(error, ChainError::Unreadable { revision: 1, .. }), "{bad}: {error}");
    }
}

#[test]
fn changes_of_access_are_read_as_they_were_written() {
    let hash = TokenKey::new([1; 32]).hash(&TokenSecret::new([2; 32]));
    let scope = Scope::new(["shop-*".parse().unwrap()], ["staging".parse().unwrap()]).unwrap();
    let token = Token {
        hash,
        rights: Rights { roles: Roles::of(&[AccessRole::Deployer, AccessRole::Releaser]), scope },
        created_ms: 5,
        created_by: "admin".to_owned(),
        expires_ms: Some(9),
    };
    let name = || "ci".parse().unwrap();
    let refusals = vec![
        Refusals { actor: None, address: "::1".to_owned(), reason: "wrong token".to_owned(), times: 3 },
        Refusals {
            actor: Some("ci".to_owned()),
            address: "192.0.2.1".to_owned(),
            reason: "delete on `hello`".to_owned(),
            times: 1,
        },
    ];
    for change in [
        AccessChange::CreateToken { name: name(), token },
        AccessChange::RotateToken { name: name(), hash },
        AccessChange::RevokeToken { name: name() },
        AccessChange::RotateAdminToken,
        AccessChange::RotatePreviewKey,
        AccessChange::Refuse { refusals, others: 7 },
    ] {
        let entry = Entry { change: change.into(), ..draft(1, GENESIS) }.sealed();
        let json = entry.to_json();
        assert_eq!(Entry::parse(&json), Ok(entry), "{json}");
        assert_eq!(Walk::new().step(1, &json), Ok(()));
    }
}

/// What programs wrote that knew no ids of tokens.
#[test]
fn entry_without_the_id_of_a_token_keeps_its_hash() {
    let entry = Entry { token: None, ..draft(1, GENESIS) }.sealed();
    assert!(!entry.to_json().contains("token"), "{}", entry.to_json());
    assert_eq!(Walk::new().step(1, &entry.to_json()), Ok(()));
}
