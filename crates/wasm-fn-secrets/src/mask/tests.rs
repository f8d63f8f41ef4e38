//! Tests for `mask`.

use base64::{Engine as _, engine::general_purpose};
use proptest::{prelude::*, test_runner::RngSeed};

use super::*;

/// `line` with `values` masked.
fn masked(values: &[&str], line: &str) -> String {
    let masker = Masker::new(values.iter().copied());
    let masked = masker.and_then(|masker| masker.mask(line.as_bytes(), usize::MAX));
    masked.map_or_else(|| line.to_owned(), |masked| String::from_utf8(masked).unwrap())
}

#[track_caller]
fn check(values: &[&str], line: &str, expected: &str) {
    assert_eq!(masked(values, line), expected, "{values:?} in {line:?}");
}

#[test]
fn values_are_masked_wherever_they_are() {
    check(&["hunter2"], "password=hunter2!", "password=***!");
    check(&["hunter2"], "hunter2 and hunter2hunter2", "*** and ***");
    check(&["hunter2", "swordfish"], "swordfish, hunter2", "***, ***");
    check(&["hunter2"], "hunter and 2", "hunter and 2");
    check(&["größe!"], "die größe!", "die ***");
    // The end of a file is no part of what programs print.
    check(&["hunter2\n"], "got hunter2.", "got ***.");
}

#[test]
fn values_that_overlap_are_masked_together() {
    check(&["abcdef", "defghi"], "-abcdefghi-", "-***-");
    check(&["abcdef", "bcde"], "-abcdef- -bcdef-", "-***- -***f-");
    check(&["abab"], "abababab", "***");
}

#[test]
fn values_of_fewer_than_4_bytes_are_left() {
    check(&["abc"], "abc YWJj", "abc YWJj");
    check(&["abc", "abcd"], "abc abcd", "abc ***");
}

#[test]
fn values_are_found_in_their_usual_encodings() {
    let value = "pa ss/w+rd?~'ä\"";
    for (line, expected) in [
        ("?token=pa%20ss%2Fw%2Brd%3F~%27%C3%A4%22&x=1", "?token=***&x=1"),
        ("?token=pa%20ss%2fw%2brd%3f~%27%c3%a4%22&x=1", "?token=***&x=1"),
        ("encodeURIComponent: pa%20ss%2Fw%2Brd%3F~'%C3%A4%22.", "encodeURIComponent: ***."),
        ("form: pa+ss%2Fw%2Brd%3F%7E%27%C3%A4%22&x=1", "form: ***&x=1"),
        ("{\"key\":\"pa ss/w+rd?~'ä\\\"\"}", "{\"key\":\"***\"}"),
        ("{\"key\":\"pa ss\\/w+rd?~'ä\\\"\"}", "{\"key\":\"***\"}"),
        ("{\"key\":\"pa ss/w+rd?~'\\u00e4\\\"\"}", "{\"key\":\"***\"}"),
        ("70612073732f772b72643f7e27c3a422", "***"),
        ("hex 70612073732F772B72643F7E27C3A422.", "hex ***."),
    ] {
        check(&[value], line, expected);
    }
}

#[test]
fn base64_is_found_at_every_place_and_in_both_alphabets() {
    let value = "s3cr3t>>>???v4lue";
    for engine in [general_purpose::STANDARD, general_purpose::URL_SAFE] {
        for before in ["", "u", "us", "use", "user:"] {
            for after in ["", "@", "@h", "@ho"] {
                let encoded = engine.encode(format!("{before}{value}{after}"));
                let masked = masked(&[value], &encoded);
                // A digit on either side has bits of others.
                let kept = masked.replace("***", "").len();
                let others = engine.encode(format!("{before}{after}")).len();
                assert!(masked.contains("***") && kept <= others + 2, "{before}|{after}: {encoded} {masked}");
            }
        }
        let whole = engine.encode(value);
        check(&[value], &format!("<{}>", whole.trim_end_matches('=')), "<***>");
    }
}

#[test]
fn values_of_several_lines_are_found_by_any_of_them() {
    let pem = "-----BEGIN KEY-----\nMIIEvQIBADANBgkq\nhkiG9w0BAQ==\n}\n-----END KEY-----\n";
    check(&[pem], "MIIEvQIBADANBgkq", "***");
    check(&[pem], "  hkiG9w0BAQ==\r", "  ***\r");
    check(&[pem], "}", "}");
    let json = pem.trim().replace('\n', "\\n");
    check(&[pem], &format!("{{\"pem\":\"{json}\"}}"), "{\"pem\":\"***\"}");
}

#[test]
fn long_values_are_masked_to_the_end_of_the_line() {
    let long: String = (0..400).map(|i| format!("{i:03}-")).collect();
    check(&[&long], &format!("got {long} and more"), "got ***");
    check(&[&long], &format!("got {}", &long[..256]), "got ***");
    check(&[&long], &format!("got {} only", &long[..255]), &format!("got {} only", &long[..255]));
    let encoded = general_purpose::STANDARD.encode(&long);
    check(&[&long], &format!("got {encoded}"), "got ***");
}

#[test]
fn nothing_of_a_value_that_crosses_the_limit_is_kept() {
    let masker = Masker::new(["hunter2-hunter2"].into_iter()).unwrap();
    let line = b"0123456789hunter2-hunter2";
    assert!(masker.lookahead() >= 15);
    for (bytes_max, expected) in
        [(10, None), (11, Some("0123456789***")), (20, Some("0123456789***")), (25, Some("0123456789***"))]
    {
        let masked = masker.mask(line, bytes_max).map(|masked| String::from_utf8(masked).unwrap());
        assert_eq!(masked.as_deref(), expected, "{bytes_max}");
    }
    // What is behind the limit does not move in front of it.
    let twice = b"hunter2-hunter2 tail of the line";
    assert_eq!(masker.mask(twice, 20).unwrap(), b"*** tail");
}

#[test]
fn the_most_secrets_that_a_version_can_have_are_masked() {
    let value = |i: usize| format!("{i:04}{}", "secret\n0123456789".repeat(240));
    let values: Vec<_> = (0..64).map(value).collect();
    let masker = Masker::new(values.iter().map(String::as_str)).unwrap();
    assert!(masker.automaton.memory_usage() < 16 << 20, "{} bytes", masker.automaton.memory_usage());
    let line = values.concat().replace('\n', " ");
    let masked = masker.mask(&line.as_bytes()[..16 << 10], 8 << 10).unwrap();
    assert!(!String::from_utf8(masked).unwrap().contains("0123456789"));
}

proptest! {
    #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(1), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_line_keeps_a_value(
        // Without what a mask is made of.
        values in proptest::collection::vec("[ -)+-~äß]{4,40}", 1..5),
        before in "[ -~]{0,20}",
        after in "[ -~]{0,20}",
        pick in any::<prop::sample::Index>(),
        bytes_max in 0_usize..120,
    ) {
        let value = pick.get(&values).trim();
        prop_assume!(value.len() >= 4);
        let line = format!("{before}{value}{after}");
        let masker = Masker::new(values.iter().map(String::as_str)).unwrap();
        let masked = masker.mask(line.as_bytes(), bytes_max);
        let masked = masked.unwrap_or_else(|| line.as_bytes()[..line.len().min(bytes_max)].to_vec());
        let has = masked.windows(value.len()).any(|window| window == value.as_bytes());
        prop_assert!(!has, "{value:?} in {:?}", String::from_utf8_lossy(&masked));
    }
}
