//! Tests of the chain of hashes.

use wasm_fn_core::FunctionName;

use super::*;
use crate::state::Action;

fn draft(revision: u64, previous_hash: Hash) -> Entry {
    let function: FunctionName = "hello".parse().unwrap();
    Entry {
        revision: Revision(revision),
        at_ms: 1_700_000_000_000 + revision,
        actor: "ann".to_owned(),
        origin: "127.0.0.1:1".to_owned(),
        message: Some("because \"é\"\n".to_owned()),
        change: Change { function, action: Action::Delete },
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
    Ok(walk.revision())
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
}

#[test]
fn hash_is_of_the_canonical_form() {
    let canonical = format!(
        r#"{{"actor":"ann","at_ms":1700000000001,"change":{{"action":"delete","function":"hello"}},"message":"because \"é\"\n","origin":"127.0.0.1:1","previous_hash":"{}","revision":1}}"#,
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
