//! Facts about the command that is proposed.

use super::*;

#[track_caller]
fn check(typed: &[&str], expected: &str) {
    assert_eq!(accepting(typed.iter().map(|&arg| arg.to_owned())), expected);
}

#[test]
fn the_command_is_what_was_typed_and_one_option() {
    check(&["deploy"], "wasm-fn deploy --allow-new");
    check(
        &["deploy", "a.wasm", "-f", "deploy", "--canary=1%,10%", "-m", "it's new"],
        r"wasm-fn deploy --allow-new a.wasm -f deploy --canary=1%,10% -m 'it'\''s new'",
    );
    check(&["deploy", "", "a b.wasm", "$HOME"], "wasm-fn deploy --allow-new '' 'a b.wasm' '$HOME'");
}

#[test]
fn no_token_is_repeated() {
    check(
        &["deploy", "--token", "wfn_secret", "a.wasm", "--token=wfn_secret", "--server", "a.test:1"],
        "wasm-fn deploy --allow-new a.wasm --server a.test:1",
    );
}

#[test]
fn a_version_gets_traffic_by_the_same_command_without_the_option() {
    let releasing = |typed: &[&str]| releasing(typed.iter().map(|&arg| arg.to_owned()));
    assert_eq!(
        releasing(&["deploy", "--no-traffic", "a.wasm", "--token", "wfn_secret"]),
        "wasm-fn deploy a.wasm"
    );
    // The configuration says it.
    assert_eq!(releasing(&["deploy", "a.wasm"]), "wasm-fn deploy --all-at-once a.wasm");
}
