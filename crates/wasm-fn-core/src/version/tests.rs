//! Tests for `version`.

use proptest::{prelude::*, test_runner::RngSeed};

use super::*;

fn v(number: u32) -> VersionNo {
    VersionNo::new(number).unwrap()
}

#[test]
fn version_numbers_are_a_v_and_a_number() {
    for (text, number) in [("v1", 1), ("v42", 42), ("v4294967295", u32::MAX)] {
        assert_eq!(text.parse(), Ok(v(number)));
        assert_eq!(v(number).to_string(), text);
    }
}

#[test]
fn other_texts_are_no_version_numbers() {
    let texts = [
        "",
        "v",
        "1",
        "V1",
        "v0",
        "v01",
        "v-1",
        "v+1",
        "v 1",
        "v1 ",
        " v1",
        "v1.0",
        "vv1",
        "v1v",
        "v4294967296",
        "v99999999999999999999",
        "v١",
        "latest",
        "v1\n",
    ];
    for text in texts {
        assert_eq!(text.parse::<VersionNo>(), Err(VersionNoError(text.to_owned())), "{text:?}");
    }
}

#[test]
fn numbers_start_at_one_and_end() {
    assert_eq!(VersionNo::new(0), None);
    assert_eq!(VersionNo::FIRST, v(1));
    assert_eq!(VersionNo::FIRST.next(), Some(v(2)));
    assert_eq!(v(u32::MAX).next(), None);
}

#[test]
fn versions_are_named_by_number_or_role() {
    let names = [
        ("v7", VersionRef::No(v(7))),
        ("stable", VersionRef::Stable),
        ("canary", VersionRef::Canary),
        ("previous", VersionRef::Previous),
        ("latest", VersionRef::Latest),
    ];
    for (text, version) in names {
        assert_eq!(text.parse(), Ok(version));
        assert_eq!(version.to_string(), text);
    }
}

#[test]
fn other_texts_name_no_version() {
    for text in ["", "Stable", "stable ", "newest", "v0", "7", "v7,v8", "canary\0"] {
        assert_eq!(text.parse::<VersionRef>(), Err(VersionRefError(text.to_owned())), "{text:?}");
    }
}

#[test]
fn messages_name_what_is_accepted() {
    assert_eq!(
        "newest".parse::<VersionRef>().unwrap_err().to_string(),
        r#""newest" does not name a version, expected v1, v2, …, stable, canary, previous or latest"#
    );
}

proptest! {
    #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(1), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_number_round_trips(number in 1u32..) {
        prop_assert_eq!(v(number).to_string().parse(), Ok(v(number)));
        prop_assert_eq!(format!("v{number}").parse(), Ok(VersionRef::No(v(number))));
    }

    #[test]
    fn no_text_panics(text in ".*") {
        let _ = text.parse::<VersionRef>();
    }
}
