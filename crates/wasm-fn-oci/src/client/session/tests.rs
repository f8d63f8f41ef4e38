//! What registries ask for, and what they say.

use super::{Challenge, challenge, said};

#[test]
fn a_token_is_preferred_to_a_password() {
    let bearer = |realm: &str, service: Option<&str>| {
        let (realm, service) = (realm.to_owned(), service.map(str::to_owned));
        Some(Challenge::Bearer { realm, service })
    };
    for (headers, expected) in [
        (&[][..], None),
        (&["Basic realm=\"x\""], Some(Challenge::Basic)),
        (&["basic realm=x"], Some(Challenge::Basic)),
        (&["Bearer realm=\"https://a/token\",service=\"a\""], bearer("https://a/token", Some("a"))),
        (&["Bearer realm=\"https://a/token\""], bearer("https://a/token", None)),
        (&["Basic realm=\"x\", Bearer realm=\"https://a\""], bearer("https://a", None)),
        (&["Basic realm=\"x\"", "BEARER Realm=\"https://a\""], bearer("https://a", None)),
        // Without a realm, there is nobody to ask.
        (&["Bearer service=\"a\""], None),
        (&["Negotiate"], None),
        (&["\"", "=,=", ",,,,"], None),
    ] {
        assert_eq!(challenge(headers), expected, "{headers:?}");
    }
}

#[test]
fn refusals_are_shown_in_one_line() {
    let long = "x".repeat(1000);
    for (body, expected) in [
        (r#"{"errors":[{"code":"DENIED","message":"not you"},{"code":"X"}]}"#, "not you"),
        (r#"{"errors":[{"code":"DENIED"}]}"#, "DENIED"),
        (r#"{"errors":[]}"#, ""),
        ("<html>\n\x1b[31mno", "<html>  [31mno"),
        ("", ""),
        (&long, &format!("{}…", "x".repeat(200))),
    ] {
        assert_eq!(said(body.as_bytes()), expected);
    }
}
