//! Tests for `cohort`.

mod fuzzing;

use proptest::{prelude::*, test_runner::RngSeed};

use super::*;

#[track_caller]
fn check(text: &str, expected: Sticky) {
    assert_eq!(text.parse(), Ok(expected), "{text:?}");
}

#[test]
fn stickiness_is_a_header_a_cookie_the_address_or_none() {
    check("header:X-User", Sticky::Key(Source::Header("x-user".to_owned())));
    check("cookie:SID", Sticky::Key(Source::Cookie("SID".to_owned())));
    check("ip", Sticky::ClientAddress);
    check("none", Sticky::None);
    check(&format!("cookie:{}", "x".repeat(256)), Sticky::Key(Source::Cookie("x".repeat(256))));
}

#[test]
fn other_texts_are_no_stickiness() {
    let texts = [
        "",
        "header",
        "header:",
        "cookie:",
        "header: x",
        "header:x y",
        "header:x:y",
        "cookie:a=b",
        "cookie:a;b",
        "cookie:ä",
        "cookie:a\n",
        "cookie:\0",
        "IP",
        "ip:1",
        "none:",
        "query:q",
        "Header:x",
        &format!("cookie:{}", "x".repeat(257)),
    ];
    for text in texts {
        assert_eq!(text.parse::<Sticky>(), Err(StickyError(text.to_owned())), "{text:?}");
    }
}

#[test]
fn sources_are_named_by_tokens() {
    for name in ["", "a b", "a:b", "a=b", "a;b", "a,b", "a\"", "ä", "a\r\n", "\0", &"x".repeat(257)] {
        let error = CohortError::Name(name.to_owned());
        assert_eq!(Source::header(name), Err(error.clone()), "{name:?}");
        assert_eq!(Source::cookie(name), Err(error.clone()), "{name:?}");
        assert_eq!(Source::query(name), Err(error), "{name:?}");
    }
    assert_eq!(Source::header("X-Beta").unwrap().name(), "x-beta");
    assert_eq!(Source::cookie("Beta").unwrap().name(), "Beta");
    assert_eq!(Source::query("utm_Beta").unwrap().name(), "utm_Beta");
}

#[test]
fn conditions_have_a_bounded_list_of_values() {
    let condition = |values| Condition::new(Source::cookie("beta").unwrap(), values);
    let refused = |found| Err(CohortError::Values { name: "beta".to_owned(), found });
    assert!(condition(vec![String::new()]).is_ok());
    assert!(condition(vec!["x".repeat(256); 1024]).is_ok());
    assert_eq!(condition(vec![]), refused(0));
    assert_eq!(condition(vec![String::new(); 1025]), refused(1025));
    assert_eq!(condition(vec!["x".repeat(257)]), refused(1));
}

#[test]
fn roles_have_one_word_each() {
    assert_eq!([Role::Stable, Role::Canary].map(Role::as_str), ["stable", "canary"]);
}

proptest! {
    #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(1), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_stickiness_round_trips(text in "header:[a-z0-9!#$%&'*+.^_`|~-]{1,40}|cookie:[A-Za-z0-9_-]{1,40}|ip|none") {
        prop_assert_eq!(text.parse::<Sticky>().unwrap().to_string(), text);
    }

    #[test]
    fn no_text_panics(text in ".*") {
        let _ = text.parse::<Sticky>();
    }
}
