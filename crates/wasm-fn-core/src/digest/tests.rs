//! Tests for `digest`.

use proptest::{prelude::*, test_runner::RngSeed};

use super::*;

#[test]
fn digests_are_64_lower_case_hexadecimal_digits() {
    let text = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let digest: Digest = text.parse().unwrap();
    assert_eq!(digest.0[..4], [0xe3, 0xb0, 0xc4, 0x42]);
    assert_eq!(digest.to_string(), text);
    assert_eq!(format!("{digest:?}"), text);
}

#[test]
fn other_texts_are_no_digests() {
    let texts =
        ["", "e3", &"0".repeat(63), &"0".repeat(65), &"A".repeat(64), &"g".repeat(64), &"ä".repeat(32)];
    for text in texts {
        assert_eq!(text.parse::<Digest>(), Err(DigestError(text.to_owned())), "{text:?}");
    }
}

#[test]
fn messages_stay_short() {
    let error = "ä".repeat(100_000).parse::<Digest>().unwrap_err();
    assert!(error.to_string().len() < 300);
}

proptest! {
    #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(1), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_digest_round_trips(bytes: [u8; 32]) {
        prop_assert_eq!(Digest(bytes).to_string().parse(), Ok(Digest(bytes)));
    }

    #[test]
    fn no_text_panics(text in ".*") {
        let _ = text.parse::<Digest>();
    }
}
