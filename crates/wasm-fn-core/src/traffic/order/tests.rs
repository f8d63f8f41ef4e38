//! Tests for `order`.

use super::*;

#[test]
fn headers_to_be_in_order_by_are_valid_and_no_credentials() {
    assert_eq!("CE-Subject".parse::<OrderedBy>().unwrap().to_string(), "ce-subject");
    let error = |text: &str| text.parse::<OrderedBy>().unwrap_err().to_string();
    for text in ["", "a b", "a:", &"x".repeat(129)] {
        assert!(error(text).contains("is no name of a header of 1 to 128 bytes"), "{text}");
    }
    for text in ["Authorization", "cookie", "proxy-authorization"] {
        assert!(error(text).contains("is a credential"), "{text}");
    }
}
