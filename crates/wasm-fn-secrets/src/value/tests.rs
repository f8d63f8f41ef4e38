//! Tests for `value`.

use super::*;

fn value(bytes: &[u8]) -> Result<SecretValue, SecretValueError> {
    SecretValue::new(Zeroizing::new(bytes.to_vec()))
}

#[test]
fn values_are_text_of_up_to_64_kib() {
    for text in ["x", "correct horse\nbattery\tstaple\r\n", "größe", &"x".repeat(BYTES_MAX)] {
        assert_eq!(value(text.as_bytes()).unwrap().expose(), text);
    }
}

#[test]
fn other_bytes_are_refused_without_being_shown() {
    for (bytes, message) in [
        (&b""[..], "the value is empty, expected 1 byte to 64 KiB"),
        (&vec![b'x'; 1 << 20], "the value has 1048576 bytes, expected at most 64 KiB"),
        (&vec![b'x'; BYTES_MAX + 1], "the value has 65537 bytes, expected at most 64 KiB"),
        (
            b"hunter\0",
            "the value has a NUL at byte 6, expected text without NUL: encode binary values, as base64 does",
        ),
        (
            b"hunter\xff",
            "the value is not UTF-8 from byte 6 on, expected text: encode binary values, as base64 does",
        ),
    ] {
        let error = value(bytes).unwrap_err();
        assert_eq!(error.to_string(), message);
        assert!(!format!("{error:?} {error}").contains("hunter"));
    }
}

#[test]
fn values_are_equal_by_their_bytes_and_never_print() {
    assert_eq!(value(b"hunter2").unwrap(), value(b"hunter2").unwrap());
    for other in ["hunter3", "hunter22", "hunter"] {
        assert!(value(b"hunter2").unwrap() != value(other.as_bytes()).unwrap(), "{other}");
    }
    assert_eq!(format!("{:?} {0:#?}", value(b"hunter2").unwrap()), "SecretValue(…) SecretValue(…)");
}
