//! Tokens as text, and what is kept of them.

use proptest::prelude::*;

use super::*;

#[test]
fn a_token_is_read_as_it_was_shown() {
    let shown = TokenSecret::new([7; 32]).reveal();
    assert_eq!(shown.len(), 76);
    assert!(shown.starts_with("wfn_0707"), "{shown}");
    let read: TokenSecret = shown.parse().unwrap();
    assert_eq!(read.reveal(), shown);
}

#[test]
fn what_is_no_token_says_what_is_wrong() {
    let shown = TokenSecret::new([7; 32]).reveal();
    let error = |text: &str| text.parse::<TokenSecret>().unwrap_err();
    assert_eq!(error(""), TokenTextError::Prefix);
    assert_eq!(error(&shown.replace("wfn_", "wfp_")), TokenTextError::Prefix);
    assert_eq!(error(&shown[..75]), TokenTextError::Length { found: 71 });
    assert_eq!(error(&format!("{shown}0")), TokenTextError::Length { found: 73 });
    assert_eq!(error(&shown.replace("wfn_07", "wfn_0x")), TokenTextError::Digit);
    assert_eq!(error(&shown.replace("wfn_07", "wfn_08")), TokenTextError::Checksum);
    assert_eq!(error(&format!("wfn_{}", "é".repeat(36))), TokenTextError::Digit);
}

#[test]
fn hashes_differ_by_token_and_by_key() {
    let (key, other) = (TokenKey::new([1; 32]), TokenKey::new([2; 32]));
    let token = TokenSecret::new([7; 32]);
    assert_eq!(key.hash(&token), key.hash(&token.clone()));
    assert_ne!(key.hash(&token), key.hash(&TokenSecret::new([8; 32])));
    assert_ne!(key.hash(&token), other.hash(&token));
    assert_eq!(TokenHash::from_hex(&key.hash(&token).to_hex()), Some(key.hash(&token)));
    assert_eq!(TokenHash::from_hex("07"), None);
}

#[test]
fn nothing_secret_is_printed() {
    let token = TokenSecret::new([7; 32]);
    let key = TokenKey::new([9; 32]);
    let printed = format!("{token:?} {key:?} {:?}", key.hash(&token));
    assert!(!printed.contains("0707") && !printed.contains("0909"), "{printed}");
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in "(wfn_)?.{0,80}") {
        let _ = text.parse::<TokenSecret>();
    }
}
