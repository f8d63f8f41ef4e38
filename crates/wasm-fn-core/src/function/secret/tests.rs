//! Tests for `secret`.

use super::*;

#[test]
fn names_are_those_of_environment_variables() {
    for name in ["A", "_", "API_KEY", "apiKey2", "__x", &"X".repeat(128)] {
        let parsed: SecretName = name.parse().unwrap();
        assert_eq!((parsed.as_str(), parsed.to_string().as_str()), (name, name));
    }
}

#[test]
fn other_texts_are_no_names() {
    for (text, message) in [
        ("", "secret name is empty, expected 1 to 128 characters"),
        (&"X".repeat(129), "secret name is 129 bytes long, expected at most 128"),
        ("2FA", r#"secret name "2FA" starts with '2', expected a letter or _"#),
        ("API-KEY", r#"secret name "API-KEY" has '-' at byte 3, expected A-Z, a-z, 0-9 or _"#),
        ("A=B", r#"secret name "A=B" has '=' at byte 1, expected A-Z, a-z, 0-9 or _"#),
        ("A\0", r#"secret name "A\0" has '\0' at byte 1, expected A-Z, a-z, 0-9 or _"#),
        ("A B", r#"secret name "A B" has ' ' at byte 1, expected A-Z, a-z, 0-9 or _"#),
        ("Ä", r#"secret name "Ä" has 'Ä' at byte 0, expected A-Z, a-z, 0-9 or _"#),
    ] {
        assert_eq!(text.parse::<SecretName>().unwrap_err().to_string(), message);
    }
}
