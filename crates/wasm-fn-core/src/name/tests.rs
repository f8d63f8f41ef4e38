//! Tests for `name`.

use proptest::{prelude::*, test_runner::RngSeed};

use super::*;

fn character(name: &str, found: char, at: usize) -> NameError {
    NameError::Character { what: "function", name: name.to_owned(), found, at }
}

fn start(name: &str, found: char) -> NameError {
    NameError::Start { what: "function", name: name.to_owned(), found }
}

#[track_caller]
fn check(text: &str, expected: Result<(), NameError>) {
    let found = text.parse::<FunctionName>();
    assert_eq!(found.clone().map(|_| ()), expected, "{text:?}");
    if let Ok(name) = found {
        assert_eq!(name.as_str(), text);
        assert_eq!(name.to_string(), text);
    }
}

#[test]
fn names_are_lower_case_letters_digits_dashes_and_underscores() {
    for name in ["a", "0", "hello", "hello-2", "a_b", "9lives", "a-", "a_", &"x".repeat(63)] {
        check(name, Ok(()));
    }
}

#[test]
fn other_texts_are_no_names() {
    check("", Err(NameError::Empty { what: "function" }));
    check(&"x".repeat(64), Err(NameError::TooLong { what: "function", bytes: 64 }));
    check(&"ä".repeat(32), Err(NameError::TooLong { what: "function", bytes: 64 }));
    check("-a", Err(start("-a", '-')));
    check("_", Err(start("_", '_')));
    check("Hello", Err(character("Hello", 'H', 0)));
    check("a/b", Err(character("a/b", '/', 1)));
    check("a@b", Err(character("a@b", '@', 1)));
    check("a.b", Err(character("a.b", '.', 1)));
    check("..", Err(character("..", '.', 0)));
    check("a b", Err(character("a b", ' ', 1)));
    check("a\n", Err(character("a\n", '\n', 1)));
    check("a\0", Err(character("a\0", '\0', 1)));
    check("a\u{7f}", Err(character("a\u{7f}", '\u{7f}', 1)));
    check("äb", Err(character("äb", 'ä', 0)));
    check("a\u{202e}b", Err(character("a\u{202e}b", '\u{202e}', 1)));
}

#[test]
fn messages_name_the_kind_of_name() {
    let error = "Live".parse::<StageName>().unwrap_err();
    assert_eq!(error.to_string(), r#"stage name "Live" has 'L' at byte 0, expected a-z, 0-9, - or _"#);
    assert_eq!("".parse::<StageName>(), Err(NameError::Empty { what: "stage" }));
    assert_eq!("".parse::<TriggerName>(), Err(NameError::Empty { what: "trigger" }));
    assert_eq!("".parse::<BucketName>(), Err(NameError::Empty { what: "bucket" }));
}

#[test]
fn cohorts_start_with_a_letter_so_that_no_share_is_one() {
    for name in ["beta", "of", "b-2_x"] {
        assert_eq!(name.parse::<CohortName>().unwrap().as_str(), name);
    }
    for (text, message) in [
        ("10", r#"cohort name "10" starts with '1', expected a letter"#),
        ("10%", r#"cohort name "10%" has '%' at byte 2, expected a-z, 0-9, - or _"#),
        ("Beta", r#"cohort name "Beta" has 'B' at byte 0, expected a-z, 0-9, - or _"#),
        ("be ta", r#"cohort name "be ta" has ' ' at byte 2, expected a-z, 0-9, - or _"#),
        ("-beta", r#"cohort name "-beta" starts with '-', expected a letter or digit"#),
        ("", "cohort name is empty, expected 1 to 63 characters"),
    ] {
        assert_eq!(text.parse::<CohortName>().unwrap_err().to_string(), message);
    }
}

#[test]
fn live_is_the_live_stage() {
    assert!(StageName::live().is_live());
    assert_eq!("live".parse(), Ok(StageName::live()));
    assert!(!"staging".parse::<StageName>().unwrap().is_live());
}

#[test]
fn names_pad_in_columns() {
    assert_eq!(format!("{:6}|", "ab".parse::<FunctionName>().unwrap()), "ab    |");
}

proptest! {
    #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(1), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_name_of_the_alphabet_round_trips(text in "[a-z0-9][a-z0-9_-]{0,62}") {
        prop_assert_eq!(text.parse::<FunctionName>().unwrap().to_string(), text);
    }

    #[test]
    fn no_text_panics(text in ".*") {
        let _ = text.parse::<FunctionName>();
    }
}
