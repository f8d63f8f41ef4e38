//! Claims at the edges of what is accepted.

use serde_json::json;

use super::*;

const NOW: u64 = 1_800_000_000;

fn usual() -> Value {
    json!({ "sub": "ann", "aud": "node", "iat": NOW - 10, "nbf": NOW - 10, "exp": NOW + 300 })
}

/// The usual claims with one that is other; `null` takes it away.
fn but(name: &str, value: Value) -> Map<String, Value> {
    let Value::Object(mut claims) = usual() else { panic!("it is an object") };
    match value {
        Value::Null => claims.remove(name),
        value => claims.insert(name.to_owned(), value),
    };
    claims
}

fn checked(claims: &Map<String, Value>) -> Result<Checked, String> {
    check(claims, "node", 30, NOW).map_err(|error| error.to_string())
}

#[test]
fn token_is_accepted_within_its_time_and_the_skew() {
    let accepted = [
        but("x", json!(1)),
        but("aud", json!(["other", "node"])),
        but("exp", json!(NOW - 29)),
        but("exp", json!(NOW as f64 + 0.5)),
        but("nbf", json!(NOW + 30)),
        but("iat", json!(NOW + 30)),
        but("nbf", Value::Null),
        but("iat", Value::Null),
        but("exp", json!(NOW - 10 + LIFE_S_MAX)),
    ];
    for claims in accepted {
        assert!(checked(&claims).is_ok(), "{claims:?}: {:?}", checked(&claims));
    }
    let until = checked(&but("x", json!(1))).unwrap();
    assert_eq!(until, Checked { subject: "ann".to_owned(), until_ms: (NOW + 330) * 1000 });
}

#[test]
fn refusals_say_what_was_found_and_what_was_expected() {
    let long = json!(NOW - 10 + LIFE_S_MAX + 1);
    let table = [
        ("aud", json!("other"), "the token is for the audience \"other\", expected \"node\""),
        ("aud", json!([]), "the token is for the audience \"\", expected \"node\""),
        ("aud", json!("nod"), "expected \"node\""),
        ("aud", json!(["node", 1]), "claim `aud` is a list, expected a text or a list of texts"),
        ("aud", Value::Null, "claim `aud` is absent"),
        ("exp", json!(NOW - 30), "the token expired 30 s ago"),
        ("exp", json!(0), "the token expired 1800000000 s ago"),
        ("exp", Value::Null, "claim `exp` is absent, expected a number of seconds since 1970"),
        ("exp", json!("9999999999"), "claim `exp` is another text"),
        ("exp", json!(-1), "claim `exp` is another number"),
        ("exp", json!(1e300), "claim `exp` is another number"),
        ("exp", long, "the token is valid for 86401 s, expected at most 86400"),
        ("exp", json!(u64::MAX), "expected at most 86400"),
        ("nbf", json!(NOW + 31), "the token is valid only in 31 s by its claim `nbf`"),
        ("iat", json!(NOW + 31), "the token is valid only in 31 s by its claim `iat`"),
        ("nbf", json!(true), "claim `nbf` is a truth value"),
        ("iat", json!({}), "claim `iat` is an object"),
        ("sub", Value::Null, "claim `sub` is absent"),
        ("sub", json!(""), "claim `sub` is another text, expected a text of 1 to 1024 bytes"),
        ("sub", json!("x".repeat(1025)), "claim `sub` is another text"),
        ("sub", json!(7), "claim `sub` is another number"),
    ];
    for (name, value, expected) in table {
        let error = checked(&but(name, value.clone())).unwrap_err();
        assert!(error.contains(expected), "{name} = {value}: {error}");
    }
}

#[test]
fn token_without_a_beginning_is_measured_from_now() {
    let mut claims = but("iat", Value::Null);
    claims.remove("nbf");
    claims.insert("exp".to_owned(), json!(NOW + LIFE_S_MAX + 1));
    assert!(checked(&claims).unwrap_err().contains("86401"));
}

#[test]
fn rules_see_texts_and_lists_of_texts() {
    let claims = json!({
        "id": 123, "yes": true, "name": "ann", "groups": ["a", 7, null, ["x"]], "none": null, "deep": {}
    });
    let Value::Object(claims) = claims else { panic!("it is an object") };
    let seen = for_rules(&claims);
    let text = |text: &str| ClaimValue::Text(text.to_owned());
    assert_eq!(seen.get("id"), Some(&text("123")));
    assert_eq!(seen.get("yes"), Some(&text("true")));
    assert_eq!(seen.get("name"), Some(&text("ann")));
    assert_eq!(seen.get("groups"), Some(&ClaimValue::List(vec!["a".to_owned(), "7".to_owned()])));
    assert_eq!(seen.len(), 4);
}

#[test]
fn texts_of_strangers_are_shown_short_and_escaped() {
    assert_eq!(shown("a\n\u{1b}[2J"), "\"a\\n\\u{1b}[2J\"");
    assert!(shown(&"x".repeat(1 << 20)).len() < 200);
}
