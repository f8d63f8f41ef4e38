//! Facts about telling guests apart.

use super::*;

#[test]
fn offered_interfaces_are_recognised() {
    for (name, offered) in [
        ("wasi:http/types@0.2.0", true),
        ("wasi:http/types@0.2.12", true),
        ("wasi:cli/environment@0.3.0", true),
        ("wasi:http/types@0.1.0", false),
        ("wasi:http/types@0.3.0-rc-2025-09-16", false),
        ("wasi:keyvalue/store@0.2.0", false),
        ("acme:secrets/vault@1.0.0", false),
    ] {
        assert_eq!(offered_to_component(name), offered, "{name}");
    }
}

#[test]
fn long_lists_are_cut() {
    let names: Vec<_> = (0..20).map(|n| format!("n{n}")).collect();
    assert!(list(&names).ends_with("n11 and 8 more"));
    assert_eq!(list(&[]), "none");
}
