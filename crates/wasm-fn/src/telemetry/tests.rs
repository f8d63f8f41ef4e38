//! Which log filters are taken.

use super::check;

#[test]
fn a_part_is_a_level_or_a_target_with_a_level() {
    for filter in ["info", "WARN", "off", "wasm_fn_server=debug,info", "a::b[span{x=1}]=trace, error"] {
        assert_eq!(check(filter), Ok(()), "{filter}");
    }
}

#[test]
fn a_part_without_a_level_is_named() {
    for (filter, part) in [
        ("inof", "inof"),
        ("info,wasm_fn_server", "wasm_fn_server"),
        ("wasm_fn_server=debgu", "wasm_fn_server=debgu"),
        ("=debug", "=debug"),
        ("info,,warn", ""),
        ("wasm_fn_server:debug", "wasm_fn_server:debug"),
        ("3", "3"),
    ] {
        let refused = check(filter).unwrap_err();
        assert!(refused.contains(&format!("found {part:?}")), "{filter}: {refused}");
    }
}
