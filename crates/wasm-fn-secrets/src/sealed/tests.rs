//! Tests for `sealed`.

use proptest::{prelude::*, test_runner::RngSeed};

use super::*;

/// The parts of a place, owned.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    function: FunctionName,
    stage: StageName,
    name: SecretName,
    revision: SecretRevision,
}

impl Place {
    fn new(function: &str, stage: &str, name: &str, revision: u32) -> Self {
        Self {
            function: function.parse().unwrap(),
            stage: stage.parse().unwrap(),
            name: name.parse().unwrap(),
            revision: SecretRevision::new(revision).unwrap(),
        }
    }

    fn get(&self) -> SecretPlace<'_> {
        let Self { function, stage, name, revision } = self;
        SecretPlace { function, stage, name, revision: *revision }
    }
}

fn key(byte: u8) -> DataKey {
    DataKey::new(Zeroizing::new([byte; 32]))
}

fn value(text: &str) -> SecretValue {
    SecretValue::new(Zeroizing::new(text.as_bytes().to_vec())).unwrap()
}

#[test]
fn a_sealed_value_is_text_without_the_value() {
    let place = Place::new("hello", "live", "API_KEY", 3);
    let sealed = SealedValue::seal(&value("hunter2-hunter2"), place.get(), &key(1), [9; 24]);
    let text = sealed.to_string();
    assert!(text.starts_with(&format!("v1:{}:CQkJ", key(1).id())), "{text}");
    assert!(!text.contains("hunter2") && !format!("{sealed:?}").contains("hunter2"));
    let read: SealedValue = text.parse().unwrap();
    assert_eq!(read, sealed);
    assert_eq!(read.open(place.get(), &key(1)).unwrap(), value("hunter2-hunter2"));
}

#[test]
fn the_format_is_the_one_that_was_stored_before() {
    let place = Place::new("hello", "live", "API_KEY", 3);
    let stored = "v1:4d7ff3edc9fc3fcf:CQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJ:m5jR4ju0CkoLn7W2D4zhTG2d6pUkYsE";
    assert_eq!(SealedValue::seal(&value("hunter2"), place.get(), &key(1), [9; 24]).to_string(), stored);
}

#[test]
fn a_sealed_value_opens_in_its_place_only() {
    let place = Place::new("hello", "live", "API_KEY", 3);
    let sealed = SealedValue::seal(&value("hunter2"), place.get(), &key(1), [9; 24]);
    for other in [
        Place::new("hell", "live", "API_KEY", 3),
        Place::new("hello", "staging", "API_KEY", 3),
        Place::new("hello", "live", "API_KEY2", 3),
        Place::new("hello", "live", "API_KEY", 4),
        // The same letters, divided otherwise.
        Place::new("hellol", "ive", "API_KEY", 3),
    ] {
        assert_eq!(
            sealed.open(other.get(), &key(1)).unwrap_err().to_string(),
            format!(
                "secret {} cannot be opened: it was changed, or sealed for another secret, stage or revision",
                other.get()
            )
        );
    }
    assert_eq!(place.get().to_string(), "API_KEY of hello in live (revision 3)");
}

#[test]
fn another_key_is_named() {
    let place = Place::new("hello", "live", "API_KEY", 3);
    let sealed = SealedValue::seal(&value("hunter2"), place.get(), &key(1), [9; 24]);
    let error = sealed.open(place.get(), &key(2)).unwrap_err().to_string();
    let (found, expected) = (key(1).id(), key(2).id());
    assert!(
        error.ends_with(&format!("is sealed under the data key {found}, expected one of {expected}")),
        "{error}"
    );
}

#[test]
fn texts_that_are_not_sealed_values_are_refused() {
    let id = key(1).id();
    let (nonce, tag) = ("A".repeat(32), "A".repeat(22));
    let format = |found: &str| {
        format!(
            "a sealed text of the format {found:?}, expected \"v1\": a newer version of wasm-fn may have written it"
        )
    };
    for (text, message) in [
        (String::new(), format("")),
        ("hunter2hunter2".to_owned(), format("hunter2hun")),
        (format!("v2:{id}:{nonce}:{tag}"), format("v2")),
        ("v1".to_owned(), "a sealed text has 1 parts, expected 4: v1:KEY:NONCE:CIPHERTEXT".to_owned()),
        (
            format!("v1:{id}:{nonce}:{tag}:"),
            "a sealed text has 5 parts, expected 4: v1:KEY:NONCE:CIPHERTEXT".to_owned(),
        ),
        (
            format!("v1::{nonce}:{tag}"),
            "the key of a sealed text has 0 characters, expected 16 hexadecimal digits".to_owned(),
        ),
        (
            format!("v1:{id}:AAAA:{tag}"),
            "the nonce of a sealed text has 4 characters, expected 32 of base64url".to_owned(),
        ),
        (
            format!("v1:{id}:{nonce}:"),
            "the ciphertext of a sealed text has 0 characters, expected 22 to 87404 of base64url".to_owned(),
        ),
        (
            format!("v1:{id}:{nonce}:{}", "A".repeat(100_000)),
            "the ciphertext of a sealed text has 100000 characters, expected 22 to 87404 of base64url"
                .to_owned(),
        ),
    ] {
        assert_eq!(text.parse::<SealedValue>().unwrap_err().to_string(), message);
    }
}

#[test]
fn revisions_count_from_1() {
    assert_eq!(SecretRevision::new(0), None);
    assert_eq!(SecretRevision::FIRST.next(), SecretRevision::new(2));
    assert_eq!(SecretRevision::new(u32::MAX).unwrap().next(), None);
    assert_eq!(SecretRevision::FIRST.to_string(), "1");
}

proptest! {
    #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(1), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_value_opens_as_it_was_and_no_change_goes_unnoticed(
        text in "[^\0]{1,200}",
        key_byte in any::<u8>(),
        nonce in any::<[u8; 24]>(),
        revision in 1_u32..,
        at in any::<prop::sample::Index>(),
        bit in 0_u8..8,
    ) {
        let place = Place::new("hello", "live", "API_KEY", revision);
        let sealed = SealedValue::seal(&value(&text), place.get(), &key(key_byte), nonce);
        let read: SealedValue = sealed.to_string().parse().unwrap();
        prop_assert!(read.open(place.get(), &key(key_byte)).unwrap() == value(&text));

        let mut bytes = sealed.to_string().into_bytes();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        let changed = String::from_utf8(bytes).ok().and_then(|text| text.parse::<SealedValue>().ok());
        let opened = changed.map(|changed| changed.open(place.get(), &key(key_byte)));
        prop_assert!(!matches!(opened, Some(Ok(_))));
    }

    #[test]
    fn no_text_panics(text in ".*") {
        let _ = text.parse::<SealedValue>();
        let _ = text.parse::<crate::SealedDataKey>();
        let _ = crate::NodeKey::parse(&text);
    }
}
