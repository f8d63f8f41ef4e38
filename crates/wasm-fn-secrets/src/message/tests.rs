//! Facts about sealed messages.

use super::*;

const NONCE: Nonce = [7; NONCE_BYTES];

#[test]
fn only_the_same_key_and_context_open_a_message() {
    let key = MessageKey::derive(&[b"a", b"bc"]);
    let sealed = key.seal(b"hello", &["question", "1"], NONCE);
    assert_eq!(&**key.open(&sealed, &["question", "1"]).unwrap(), b"hello");
    assert!(!sealed.windows(5).any(|window| window == b"hello"));
    assert!(key.open(&sealed, &["question", "2"]).is_none());
    assert!(key.open(&sealed, &["question1", ""]).is_none());
    // The same bytes in other parts are another key.
    assert!(MessageKey::derive(&[b"ab", b"c"]).open(&sealed, &["question", "1"]).is_none());
    for at in 0..sealed.len() {
        let mut changed = sealed.clone();
        changed[at] ^= 1;
        assert!(key.open(&changed, &["question", "1"]).is_none(), "byte {at}");
    }
    for length in 0..sealed.len() {
        assert!(key.open(&sealed[..length], &["question", "1"]).is_none(), "{length} bytes");
    }
}

#[test]
fn fingerprint_is_of_the_whole_key_and_no_message_key() {
    assert_eq!(fingerprint(&[b"a", b"b"]), fingerprint(&[b"a", b"b"]));
    assert_ne!(fingerprint(&[b"a", b"b"]), fingerprint(&[b"ab"]));
    assert_ne!(fingerprint(&[b"a"]), hex::encode(*MessageKey::derive(&[b"a"]).0));
    assert_eq!(format!("{:?}", MessageKey::derive(&[b"a"])), "MessageKey");
}
