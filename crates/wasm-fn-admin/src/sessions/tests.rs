//! Facts about sessions.

use super::*;
use wasm_fn_access::{AccessRole, Rights, Roles, Scope};
use wasm_fn_control::Proof;

fn actor(name: &str) -> Actor {
    let rights = Rights { roles: Roles::of(&[AccessRole::Viewer]), scope: Scope::everything() };
    Actor { name: name.to_owned(), token: None, rights, proof: Proof::Token }
}

fn begin(sessions: &Sessions, name: &str, now_ms: u64) -> Option<Begun> {
    sessions.begin(actor(name), now_ms, |_| true)
}

#[test]
fn session_needs_both_halves_and_ends_after_twelve_hours() {
    let sessions = Sessions::default();
    let (one, two) = (begin(&sessions, "a", 0).unwrap(), begin(&sessions, "b", 0).unwrap());
    let name = |cookie, key, now_ms| sessions.actor(cookie, key, now_ms).map(|actor| actor.name);
    assert_eq!(name(&one.cookie, &one.key, 0).as_deref(), Some("a"));
    assert_eq!(name(&one.cookie, &two.key, 0), None);
    assert_eq!(name(&one.key, &one.cookie, 0), None);
    assert_eq!(name(&one.cookie, "", 0), None);
    let life_ms = 12 * 3600 * 1000;
    assert!(name(&one.cookie, &one.key, life_ms - 1).is_some());
    assert_eq!(name(&one.cookie, &one.key, life_ms), None);
    sessions.end(&two.cookie, &one.key);
    assert!(name(&two.cookie, &two.key, 0).is_some(), "half of it does not end it");
    sessions.end(&two.cookie, &two.key);
    assert_eq!(name(&two.cookie, &two.key, 0), None);
}

#[test]
fn sessions_of_a_token_are_bounded_and_take_nobody_elses_place() {
    let sessions = Sessions::default();
    let other = begin(&sessions, "other", 0).unwrap();
    let all: Vec<_> = (0..100).map(|at| begin(&sessions, "ci", at).unwrap()).collect();
    let lives = |begun: &Begun| sessions.actor(&begun.cookie, &begun.key, 100).is_some();
    assert_eq!(all.iter().filter(|begun| lives(begun)).count(), OF_TOKEN_MAX);
    assert!(all[100 - OF_TOKEN_MAX..].iter().all(lives), "the oldest went first");
    assert!(lives(&other));
}

#[test]
fn sessions_are_bounded_and_those_of_gone_tokens_make_room() {
    let sessions = Sessions::default();
    let begun = (0..2 * SESSIONS_MAX).filter_map(|at| begin(&sessions, &format!("t{at}"), 0));
    assert_eq!(begun.count(), SESSIONS_MAX);
    assert!(sessions.begin(actor("new"), 0, |_| false).is_some());
    assert_eq!(sessions.lock().len(), 1);
}
