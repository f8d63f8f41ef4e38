//! Tests for `keys`.

use super::*;

fn data_key(byte: u8) -> DataKey {
    DataKey::new(Zeroizing::new([byte; 32]))
}

fn node_key(byte: u8) -> NodeKey {
    NodeKey::new(Zeroizing::new([byte; 32]))
}

#[test]
fn a_node_key_is_read_as_it_is_written() {
    let text = format!("wfk_{}", "0aF3".repeat(16));
    let key = NodeKey::parse(&text).unwrap();
    assert_eq!(*key.expose(), text.to_lowercase());
    assert_eq!(NodeKey::parse(&key.expose()).unwrap().id(), key.id());
}

#[test]
fn other_texts_are_no_node_keys_and_are_not_shown() {
    let digits = "0123456789abcdef".repeat(4);
    for (text, message) in [
        (String::new(), "found 0 bytes that do not begin with wfk_, expected wfk_ and 64 hexadecimal digits"),
        (
            digits.clone(),
            "found 64 bytes that do not begin with wfk_, expected wfk_ and 64 hexadecimal digits",
        ),
        (
            format!("wfn_{digits}"),
            "found 68 bytes that do not begin with wfk_, expected wfk_ and 64 hexadecimal digits",
        ),
        ("wfk_".to_owned(), "found 0 characters behind wfk_, expected 64 hexadecimal digits"),
        (format!("wfk_{}", &digits[1..]), "found 63 characters behind wfk_, expected 64 hexadecimal digits"),
        (format!("wfk_{digits}0"), "found 65 characters behind wfk_, expected 64 hexadecimal digits"),
        (
            format!("wfk_g{}", &digits[1..]),
            "character 1 behind wfk_ is no hexadecimal digit, expected 64 of them",
        ),
        (
            format!("wfk_{}é", &digits[1..]),
            "character 64 behind wfk_ is no hexadecimal digit, expected 64 of them",
        ),
    ] {
        let error = NodeKey::parse(&text).unwrap_err().to_string();
        assert_eq!(error, message);
    }
}

#[test]
fn keys_do_not_print() {
    let digits = hex::encode([7; 32]);
    for text in [
        format!("{:?}", node_key(7)),
        format!("{:?}", data_key(7)),
        format!("{:?}", Keyring::new(data_key(7), [])),
    ] {
        assert!(!text.contains(&digits[..8]) && !text.contains("7, 7"), "{text}");
    }
    assert_ne!(node_key(7).id(), data_key(7).id(), "ids of the two kinds have nothing in common");
}

#[test]
fn a_data_key_is_opened_by_the_node_key_that_sealed_it() {
    let sealed = node_key(1).seal(&data_key(2), [3; 24]);
    let text = sealed.to_string();
    assert!(text.starts_with(&format!("{}@v1:{}:", data_key(2).id(), node_key(1).id())), "{text}");
    assert!(!text.contains(&hex::encode([2; 4])), "{text}");
    let read: SealedDataKey = text.parse().unwrap();
    assert_eq!(read, sealed);
    assert_eq!(node_key(1).open(&read).unwrap().bytes(), &[2; 32]);
    let (found, expected) = (node_key(1).id(), node_key(9).id());
    assert_eq!(
        node_key(9).open(&read).unwrap_err(),
        KeyError::Node { key: data_key(2).id(), found, expected }
    );
}

#[test]
fn a_changed_data_key_is_not_opened() {
    let text = node_key(1).seal(&data_key(2), [3; 24]).to_string();
    let other = data_key(4).id();
    let renamed: SealedDataKey = format!("{other}{}", &text[16..]).parse().unwrap();
    assert_eq!(node_key(1).open(&renamed).unwrap_err(), KeyError::Broken { key: other });
    // Behind the ids, the nonce and the ciphertext.
    for at in text.rmatch_indices(':').nth(1).unwrap().0 + 1..text.len() {
        let mut bytes = text.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(bytes).unwrap().parse::<SealedDataKey>();
        let opened = changed.map(|changed| node_key(1).open(&changed));
        assert!(!matches!(opened, Ok(Ok(_))), "character {at}");
    }
}

#[test]
fn texts_that_are_no_sealed_data_keys_are_refused() {
    let text = node_key(1).seal(&data_key(2), [3; 24]).to_string();
    for (text, message) in [
        (String::new(), "the data key of a sealed text has 0 characters, expected 16 hexadecimal digits"),
        (
            text[..16].to_owned(),
            "a sealed text of the format \"\", expected \"v1\": a newer version of wasm-fn may have written it",
        ),
        (
            format!("{}@", "A".repeat(16)),
            "the data key of a sealed text has 16 characters, expected 16 hexadecimal digits",
        ),
        (
            text.replace("@v1", "@v2"),
            "a sealed text of the format \"v2\", expected \"v1\": a newer version of wasm-fn may have written it",
        ),
    ] {
        assert_eq!(text.parse::<SealedDataKey>().unwrap_err().to_string(), message);
    }
}

#[test]
fn a_keyring_opens_what_older_keys_sealed_and_seals_it_again() {
    let (function, stage, name) =
        ("hello".parse().unwrap(), "live".parse().unwrap(), "API_KEY".parse().unwrap());
    let place = SecretPlace {
        function: &function,
        stage: &stage,
        name: &name,
        revision: crate::SecretRevision::FIRST,
    };
    let value = SecretValue::new(Zeroizing::new(b"hunter2".to_vec())).unwrap();
    let old = Keyring::new(data_key(1), []).seal(&value, place, [0; 24]);
    let rotating = Keyring::new(data_key(2), [data_key(1)]);
    assert_eq!(rotating.open(&old, place).unwrap(), value);
    let new = rotating.reseal(&old, place, [1; 24]).unwrap().unwrap();
    assert_eq!((new.key(), rotating.current()), (data_key(2).id(), data_key(2).id()));
    assert_eq!(rotating.reseal(&new, place, [2; 24]), Ok(None));
    let rotated = Keyring::new(data_key(2), []);
    assert_eq!(rotated.open(&new, place).unwrap(), value);
    let (found, expected) = (data_key(1).id(), data_key(2).id());
    assert_eq!(
        rotated.open(&old, place).unwrap_err().to_string(),
        format!(
            "secret API_KEY of hello in live (revision 1) is sealed under the data key {found}, expected one of {expected}"
        )
    );
}
