//! What is chosen is measured, and nothing else.

use std::path::Path;

use super::Choice;
use crate::{
    guests::Guest,
    programs::{self, Program, Programs},
    systems::Places,
};

fn names(choice: &Choice) -> Vec<String> {
    choice.systems.iter().map(ToString::to_string).collect()
}

fn choice(peers: bool, only: &[&str]) -> Choice {
    let only: Vec<_> = only.iter().map(|&only| only.to_owned()).collect();
    Choice::of(peers, &only).unwrap()
}

#[test]
fn everything_is_measured_unless_something_is_named() {
    let all = names(&choice(true, &[]));
    for name in
        ["wasm-fn, hello 0.2", "hyper alone", "workerd", "node http", "wasm-fn reuse 128, hello Python"]
    {
        assert!(all.iter().any(|system| system == name), "{name} in {all:?}");
    }
    assert_eq!(choice(true, &[]).bounds.len(), 3);
}

#[test]
fn ours_and_the_limit_are_measured_without_peers() {
    let ours = names(&choice(false, &[]));
    assert!(ours.iter().all(|name| name.starts_with("wasm-fn") || name == "hyper alone"), "{ours:?}");
}

#[test]
fn name_chooses_systems_or_both_sides_of_a_budget() {
    assert_eq!(names(&choice(true, &["node"])), ["node http"]);
    assert_eq!(names(&choice(true, &["workerd"])), ["wasm-fn, hello 0.2", "workerd"]);
    assert!(choice(true, &["workerd"]).bounds.is_empty());
    let pair = choice(true, &["by hand"]);
    assert_eq!((pair.bounds.len(), pair.systems.len()), (1, 0));
    let added = choice(true, &["p99 over"]);
    assert!(added.limit && added.bounds.is_empty() && added.systems.is_empty());
    assert!(!choice(true, &["by hand", "hello 0.2"]).limit);
    let tls = choice(true, &["TLS"]);
    assert!(tls.tls && !tls.limit && tls.bounds.is_empty() && tls.systems.is_empty());
    assert!(!choice(true, &["p99 over"]).tls);
}

#[test]
fn name_of_nothing_is_refused_with_what_there_is() {
    let refused = Choice::of(true, &["spin".to_owned()]).err().unwrap().to_string();
    assert!(refused.starts_with("no system is named like `spin`, expected a part of: wasm-fn, hello 0.2; "));
}

#[test]
fn missing_peer_is_skipped_by_name_and_the_others_stay() {
    let here = Ok(Program { path: "/bin/true".into(), version: String::new() });
    let programs = Programs {
        wasm_fn: here.clone().unwrap(),
        wasmtime: here.clone(),
        workerd: programs::peer(Path::new("/nowhere/workerd"), "--version", &[]),
        nginx: here.clone(),
        node: here,
    };
    let places = Places { root: "/nowhere".into(), target: "/nowhere".into() };
    let mut choice = choice(true, &["workerd"]);
    let skipped = choice.skip_missing(&programs, &places);
    assert_eq!(names(&choice), ["wasm-fn, hello 0.2"]);
    assert_eq!(skipped.len(), 1);
    assert!(skipped[0].starts_with("workerd: `/nowhere/workerd` cannot be found: "), "{skipped:?}");
}

#[test]
fn guest_that_cannot_be_built_is_skipped_with_its_systems() {
    let here = Ok(Program { path: "/bin/true".into(), version: String::new() });
    let programs = Programs {
        wasm_fn: here.clone().unwrap(),
        wasmtime: here.clone(),
        workerd: here.clone(),
        nginx: here.clone(),
        node: here,
    };
    let target = tempfile::tempdir().unwrap();
    let places = Places { root: "/nowhere".into(), target: target.path().into() };
    let mut choice = choice(true, &["hello Python"]);
    let all = choice.systems.len();
    let skipped = choice.skip_missing(&programs, &places);
    assert_eq!((skipped.len(), choice.systems.len()), (all, 0));
    assert!(skipped[0].contains(&Guest::Python.to_string()), "{skipped:?}");
    assert!(skipped[0].contains("/nowhere/guest-examples/python cannot be read"), "{skipped:?}");
}
