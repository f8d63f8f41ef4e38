//! How tokens and the audit log look.

use serde_json::{Value, json};

use super::*;

fn token(changes: Value) -> api::TokenView {
    let mut token = json!({
        "name": "ci",
        "id": "0a1b2c3d",
        "rights": { "roles": ["deployer"], "functions": ["shop-*"], "stages": ["staging"] },
        "created_ms": 0,
        "created_by": "admin",
    });
    token.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    serde_json::from_value(token).unwrap()
}

#[test]
fn rights_are_told_in_a_sentence() {
    assert_eq!(rights(&token(json!({}))), "ci has the role deployer for shop-* in staging");
    let all = json!({ "rights": { "roles": ["viewer", "releaser"], "functions": ["*"] }, "expires_ms": 86_400_000 });
    assert_eq!(
        rights(&token(all)),
        "ci has the role viewer, releaser for everything, until 1970-01-02T00:00:00Z"
    );
}

#[test]
fn tokens_are_listed_without_secrets() {
    let list = api::TokenList { tokens: vec![token(json!({ "used_ms": 60_000 }))] };
    let shown = tokens(&list);
    let lines: Vec<Vec<_>> = shown.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["TOKEN", "ID", "ROLES", "FOR", "CREATED", "BY", "EXPIRES", "LAST", "USE"]);
    assert_eq!(
        lines[1],
        [
            "ci",
            "0a1b2c3d",
            "deployer",
            "shop-*",
            "in",
            "staging",
            "1970-01-01T00:00:00Z",
            "admin",
            "never",
            "1970-01-01T00:01:00Z"
        ]
    );
}

#[test]
fn refusals_name_who_was_refused_and_from_where() {
    let entry: api::AuditEntry = serde_json::from_value(json!({
        "revision": 7,
        "at_ms": 0,
        "actor": "node",
        "origin": "node",
        "action": "refuse",
        "refusals": [
            { "address": "192.0.2.1", "reason": "wrong token", "times": 9 },
            { "actor": "ci", "address": "192.0.2.2", "reason": "delete on `hello`", "times": 1 },
        ],
        "other_refusals": 3,
        "hash": "0".repeat(64),
    }))
    .unwrap();
    let rows = cells(&entry);
    assert_eq!(rows[0][2..], ["nobody known", "192.0.2.1", "refuse", "-", "wrong token (9 x)"]);
    assert_eq!(rows[1][2..], ["ci", "192.0.2.2", "refuse", "-", "delete on `hello` (1 x)"]);
    assert_eq!(rows[2][6], "3 more");
}
