//! Limits of secrets.

use std::str::FromStr as _;

use wasm_fn_core::Revision;
use wasm_fn_secrets::{DataKey, SecretPlace, SecretValue};
use zeroize::Zeroizing;

use super::*;

fn hello() -> FunctionName {
    "hello".parse().unwrap()
}

fn sealed(stage: &StageName, name: &SecretName, revision: SecretRevision, bytes: usize) -> SealedValue {
    let value = SecretValue::new(Zeroizing::new(vec![b'x'; bytes])).unwrap();
    let place = SecretPlace { function: &hello(), stage, name, revision };
    SealedValue::seal(&value, place, &DataKey::new(Zeroizing::new([1; 32])), [2; 24])
}

fn set_all(state: &mut State, stage: &str, names: &[String], bytes: usize) -> Result<(), ChangeError> {
    let stage = StageName::from_str(stage).unwrap();
    let names: Vec<_> = names.iter().map(|name| SecretName::from_str(name).unwrap()).collect();
    let revisions = state.next_secret_revisions(&hello(), &stage, &names)?;
    let sealed = |(name, revision)| {
        let sealed = sealed(&stage, &name, revision, bytes);
        (name, sealed)
    };
    let change = state.plan_set_secrets(&hello(), &stage, revisions.into_iter().map(sealed).collect())?;
    let meta = Meta { revision: Revision(1), at_ms: 5, actor: "ann", message: None };
    state.apply(&change.into(), &meta);
    Ok(())
}

fn set(state: &mut State, stage: &str, name: &str, bytes: usize) -> Result<(), ChangeError> {
    set_all(state, stage, &[name.to_owned()], bytes)
}

#[test]
fn stages_secrets_and_bytes_are_bounded() {
    let mut state = State::default();
    for at in 0..32 {
        set(&mut state, &format!("s{at}"), "A", 1).unwrap();
    }
    let error = set(&mut state, "s32", "A", 1).unwrap_err();
    assert_eq!(error.to_string(), "`hello` has secrets in 32 stages, expected at most 32");

    let mut state = State::default();
    for at in 0..256 {
        set(&mut state, "live", &format!("S{at}"), 1).unwrap();
    }
    let error = set(&mut state, "live", "A", 1).unwrap_err();
    assert_eq!(error.to_string(), "stage `live` of `hello` would have 257 secrets, expected at most 256");
    set(&mut state, "live", "S0", 1).unwrap();

    let mut state = State::default();
    let full = (0..100).find_map(|at| set(&mut state, "live", &format!("S{at}"), 64 << 10).err());
    assert!(full.unwrap().to_string().ends_with("expected at most 4 MiB"));
    // A new value replaces the old one, which no version has.
    set(&mut state, "live", "S0", 64 << 10).unwrap();
}

#[test]
fn several_secrets_are_set_together_or_not_at_all() {
    let mut state = State::default();
    let names = |of: std::ops::Range<usize>| of.map(|at| format!("S{at}")).collect::<Vec<_>>();
    set_all(&mut state, "live", &names(0..200), 1).unwrap();
    let before = state.clone();
    let error = set_all(&mut state, "live", &names(100..300), 1).unwrap_err();
    assert_eq!(error.to_string(), "stage `live` of `hello` would have 300 secrets, expected at most 256");
    let error = set_all(&mut state, "live", &names(0..100), 64 << 10).unwrap_err();
    assert!(error.to_string().ends_with("expected at most 4 MiB"), "{error}");
    assert_eq!(state.stored_function(&hello()), before.stored_function(&hello()), "nothing was set");
    set_all(&mut state, "live", &names(199..256), 2).unwrap();
    let found = state.stored_function(&hello()).unwrap();
    let live: StageName = "live".parse().unwrap();
    let newest = |name: &str| found.secrets.get(&live, &name.parse().unwrap()).and_then(Secret::newest);
    let number = |name: &str| newest(name).map(SecretRevision::number);
    assert_eq!([number("S0"), number("S199"), number("S255")], [Some(1), Some(2), Some(1)]);
    assert_eq!(found.secrets.values().count(), 256, "the earlier value that nobody has is gone");
}
