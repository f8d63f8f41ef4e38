//! Tests for `set`.

use zeroize::Zeroizing;

use super::*;

fn set(values: &[(&str, String)], are_variables: bool) -> Result<SecretSet, SecretSetError> {
    let value = |text: &String| SecretValue::new(Zeroizing::new(text.clone().into_bytes())).unwrap();
    let values = values.iter().map(|(name, text)| (name.parse().unwrap(), value(text))).collect();
    SecretSet::new(values, are_variables)
}

#[test]
fn a_set_has_what_was_put_into_it_and_shows_names_only() {
    let set = set(&[("B", "second".to_owned()), ("A", "first".to_owned())], true).unwrap();
    assert_eq!(set.get("A").unwrap().expose(), "first");
    assert_eq!(set.get("C"), None);
    let all: Vec<_> = set.iter().map(|(name, value)| (name.as_str(), value.expose())).collect();
    assert_eq!(all, [("A", "first"), ("B", "second")]);
    assert_eq!(format!("{set:?}"), r#"SecretSet(["A", "B"])"#);
}

#[test]
fn values_that_are_too_long_for_variables_are_refused_by_name() {
    let fits = "x".repeat((32 << 10) - 1);
    assert!(set(&[("A", fits.clone())], true).is_ok());
    let error = set(&[("B", "short".to_owned()), ("A", format!("{fits}x"))], true).unwrap_err();
    assert!(error.to_string().starts_with("secret A has 32769 bytes with its name"), "{error}");
    assert!(set(&[("A", format!("{fits}x"))], false).is_ok(), "only variables have that limit");
}

#[test]
fn values_are_bounded_together() {
    let long = |count: usize| -> Vec<_> {
        ["A", "B", "C", "D", "E"][..count].iter().map(|name| (*name, "x".repeat(64 << 10))).collect()
    };
    assert!(set(&long(4), false).is_ok());
    assert_eq!(set(&long(5), false).unwrap_err(), SecretSetError::TooLarge { bytes: 5 << 16 });
}

#[test]
fn no_secrets_mask_nothing() {
    let none = SecretSet::none();
    assert!(none.is_empty());
    assert_eq!((none.mask(b"anything", 100), none.lookahead()), (None, 0));
    assert!(none.masker.get().is_none(), "nothing is made");
}
