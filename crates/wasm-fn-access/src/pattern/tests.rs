//! Patterns match what they say, and nothing else is one.

use super::*;

#[track_caller]
fn matching(pattern: &str) -> Vec<&'static str> {
    let pattern: FunctionPattern = pattern.parse().unwrap();
    let names = ["hello", "hello2", "shop", "shop-cart", "shop-pay"];
    names.into_iter().filter(|name| pattern.matches(&name.parse().unwrap())).collect()
}

#[test]
fn pattern_matches_one_name_or_a_beginning_or_all() {
    assert_eq!(matching("hello"), ["hello"]);
    assert_eq!(matching("hello*"), ["hello", "hello2"]);
    assert_eq!(matching("shop-*"), ["shop-cart", "shop-pay"]);
    assert_eq!(matching("*").len(), 5);
    assert_eq!(matching("nobody"), [""; 0]);
}

#[test]
fn only_a_lone_star_is_all() {
    for (pattern, all) in [("*", true), ("s*", false), ("s", false)] {
        assert_eq!(pattern.parse::<FunctionPattern>().unwrap().is_all(), all, "{pattern}");
        assert_eq!(pattern.parse::<FunctionPattern>().unwrap().to_string(), pattern);
    }
}

#[test]
fn what_is_no_pattern_is_refused_with_the_place() {
    for (text, expected) in [
        ("*-shop", "pattern \"*-shop\" has `*` at byte 0, expected it at the end only, as in `shop-*`"),
        ("a*b*", "pattern \"a*b*\" has `*` at byte 1, expected it at the end only, as in `shop-*`"),
        ("", "pattern \"\": function name is empty, expected 1 to 63 characters"),
        ("-x*", "pattern \"-x*\": function name \"-x\" starts with '-', expected a letter or digit"),
        ("Shop*", "pattern \"Shop*\": function name \"Shop\" has 'S' at byte 0, expected a-z, 0-9, - or _"),
    ] {
        assert_eq!(text.parse::<FunctionPattern>().unwrap_err().to_string(), expected);
    }
}
