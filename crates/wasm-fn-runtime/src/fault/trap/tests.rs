//! Facts about fingerprints, without a guest.

use super::*;

#[test]
fn hashes_of_builds_are_taken_off_names_and_nothing_else_is() {
    for (name, expected) in [
        ("core::panicking::panic_fmt::h0123456789abcdef", "core::panicking::panic_fmt"),
        ("core::panicking::panic_fmt::h0123", "core::panicking::panic_fmt::h0123"),
        ("a::height::hash", "a::height::hash"),
        ("core[1ac43e2]::panicking::panic", "core::panicking::panic"),
        ("<shop[9f]::Cart as core[1ac43e2]::Drop>::drop", "<shop::Cart as core::Drop>::drop"),
        ("<[f32]>::sort", "<[f32]>::sort"),
        ("take<[u8; 4]>", "take<[u8; 4]>"),
        ("operator[]", "operator[]"),
        ("open[", "open["),
        ("main", "main"),
    ] {
        assert_eq!(without_hashes(name), expected);
    }
}

#[test]
fn fingerprints_tell_kinds_and_places_apart() {
    let of = |kind, names: &[&str]| fingerprint(kind, names.to_vec(), false);
    let one = of("unreachable", &["a", "b"]);
    assert_eq!(one, of("unreachable", &["a", "a", "b", "b"]), "depth does not count");
    for other in [
        of("unreachable", &["b", "a"]),
        of("unreachable", &["ab"]),
        of("unreachable", &[]),
        of("unreachablea", &["b"]),
        of("out of bounds", &["a", "b"]),
    ] {
        assert_ne!(one, other);
    }
}

#[test]
fn fingerprints_are_the_same_in_every_build_of_the_node() {
    assert_eq!(fingerprint("unreachable", vec!["a", "b"], false), 5_570_379_279_670_728_574);
}

#[test]
fn where_a_recursion_met_the_end_of_the_stack_is_chance() {
    let of = |names: &[&str]| fingerprint("call stack exhausted", names.to_vec(), true);
    assert_eq!(of(&["even", "odd", "even", "odd"]), of(&["odd", "even", "odd", "even"]));
    assert_ne!(of(&["even", "odd"]), of(&["even"]));
}

#[test]
fn text_is_bounded_and_shows_no_control_characters() {
    let frames = vec![Ok("a\u{1b}[2J\nb".to_owned()), Err("function 3 at 0x10".to_owned())];
    assert_eq!(text("why", &frames), "why\n  0: a?[2J?b\n  1: function 3 at 0x10");
    let long = vec![Ok("ü".repeat(5000))];
    assert_eq!(text("why", &long).len(), TEXT_BYTES_MAX - 1, "cut between characters");
}

#[test]
fn numbers_in_errors_of_the_host_do_not_count() {
    let of = |text: &'static str| trap(&wasmtime::Error::msg(text), false, text);
    assert_eq!(of("unknown handle 5").fingerprint, of("unknown handle 17").fingerprint);
    assert_ne!(of("unknown handle 5").fingerprint, of("table is full").fingerprint);
    assert_eq!(&*of("unknown handle 5").backtrace, "unknown handle 5");
    let exit = |status| {
        let error = wasmtime::Error::from(I32Exit(status));
        trap(&error, false, &reason(&error, false)).fingerprint
    };
    assert_eq!(exit(1), exit(1));
    assert_ne!(exit(1), exit(2));
}
