//! Tests of authorities.

use super::*;

#[test]
fn hosts_with_and_without_port_are_valid() {
    for text in [
        "a",
        "example.com",
        "EXAMPLE.com.",
        "my_host-1",
        "a:1",
        "a:",
        "a:65535",
        "a:00080",
        "192.0.2.1",
        "192.0.2.1:80",
        "[::1]",
        "[::1]:80",
        "[2001:DB8::1]",
        "a%2Db",
        "a~!$&'()*+,;=b",
    ] {
        assert!(is_valid(text), "{text:?}");
    }
}

#[test]
fn everything_else_is_invalid() {
    for text in [
        "",
        ":",
        ":80",
        "a b",
        " a",
        "a ",
        "<script>",
        "[::1",
        "::1",
        "[::1]x",
        "[]",
        "[a]",
        "[::1%25eth0]",
        "user@host",
        "user:word@host",
        "@host",
        "a/b",
        "a?b",
        "a#b",
        "a\\b",
        "a:b",
        "a:-1",
        "a:+1",
        "a:65536",
        "a:1:2",
        "a%",
        "a%2",
        "a%zz",
        "a\"b",
        "a|b",
        "a^b",
        "a`b",
        "{a}",
        "a\u{e4}",
        "a\0",
        "a\tb",
        "a,b c",
    ] {
        assert!(!is_valid(text), "{text:?}");
    }
}

#[test]
fn authorities_of_one_origin_are_the_same() {
    let same = |first, second| is_same(first, second, Some(&Scheme::HTTP));
    assert!(
        same("a", "A") && same("a:80", "a") && same("a", "a:80") && same("a:", "a") && same("a:1", "A:1")
    );
    assert!(!same("a", "b") && !same("a:1", "a") && !same("a:443", "a") && !same("a", "a."));
    assert!(is_same("a:443", "a", Some(&Scheme::HTTPS)) && !is_same("a:80", "a", Some(&Scheme::HTTPS)));
    assert!(is_same("[::1]:80", "[::1]", None) && !is_same("[::1]", "[::2]", None));
}

#[test]
fn what_is_shown_is_short() {
    assert_eq!(shown(b"a b"), "\"a b\"");
    assert_eq!(shown(b"\xff\n"), "\"\u{fffd}\\n\"");
    assert!(shown(&[b'a'; 1000]).len() < 100);
}
