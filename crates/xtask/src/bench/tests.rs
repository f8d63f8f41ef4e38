//! Pages are written of whole comparisons only, and say a command that works elsewhere.

use super::{Bench, shown};

fn bench(compare: bool, args: &[&str]) -> Bench {
    Bench { compare, wasm_fn: None, args: args.iter().map(Into::into).collect() }
}

#[test]
fn only_a_whole_comparison_is_written_down() {
    assert!(bench(true, &["--rounds", "7"]).whole());
    assert!(!bench(false, &[]).whole());
    assert!(!bench(true, &["--only", "workerd"]).whole());
    assert!(!bench(true, &["--only=workerd"]).whole());
}

#[test]
fn command_is_shown_without_paths() {
    let args = ["--rounds", "7", "--workerd", "/somewhere/workerd", "--seconds=5"];
    assert_eq!(shown(&bench(true, &args)), "cargo xtask bench --compare --rounds 7 --seconds=5");
    assert_eq!(shown(&bench(false, &[])), "cargo xtask bench");
}
