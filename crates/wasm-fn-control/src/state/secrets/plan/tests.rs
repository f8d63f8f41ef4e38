//! Limits of secrets.

use std::str::FromStr as _;

use wasm_fn_core::Revision;
use wasm_fn_secrets::{DataKey, SecretPlace, SecretValue};
use zeroize::Zeroizing;

use super::*;

fn hello() -> FunctionName {
    "hello".parse().unwrap()
}

fn set(state: &mut State, stage: &str, name: &str, bytes: usize) -> Result<(), ChangeError> {
    let (stage, name) = (StageName::from_str(stage).unwrap(), SecretName::from_str(name).unwrap());
    let revision = state.next_secret_revision(&hello(), &stage, &name)?;
    let value = SecretValue::new(Zeroizing::new(vec![b'x'; bytes])).unwrap();
    let place = SecretPlace { function: &hello(), stage: &stage, name: &name, revision };
    let sealed = SealedValue::seal(&value, place, &DataKey::new(Zeroizing::new([1; 32])), [2; 24]);
    let change = state.plan_set_secret(&hello(), &stage, &name, sealed)?;
    let meta = Meta { revision: Revision(1), at_ms: 5, actor: "ann", message: None };
    state.apply(&change.into(), &meta);
    Ok(())
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
    assert_eq!(error.to_string(), "stage `live` of `hello` has 256 secrets, expected at most 256");
    set(&mut state, "live", "S0", 1).unwrap();

    let mut state = State::default();
    let full = (0..100).find_map(|at| set(&mut state, "live", &format!("S{at}"), 64 << 10).err());
    assert!(full.unwrap().to_string().ends_with("expected at most 4 MiB"));
    // A new value replaces the old one, which no version has.
    set(&mut state, "live", "S0", 64 << 10).unwrap();
}
