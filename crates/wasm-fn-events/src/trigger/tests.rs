//! Tests for `trigger`.

use super::*;

fn id(function: &str, stage: &str, name: &str) -> TriggerId {
    TriggerId {
        function: function.parse().unwrap(),
        stage: stage.parse().unwrap(),
        name: name.parse().unwrap(),
    }
}

#[test]
fn triggers_are_written_with_function_and_stage() {
    assert_eq!(id("hello", "live", "nightly").to_string(), "hello/live/nightly");
}

#[test]
fn default_path_has_the_name_of_the_trigger() {
    let path = EventPath::of(&"nightly".parse().unwrap());
    assert_eq!(path.as_str(), "/_events/nightly");
    assert_eq!(path.as_str().parse(), Ok(path));
}

#[test]
fn paths_are_those_of_events_and_normal() {
    let error = |text: &str| text.parse::<EventPath>().unwrap_err().to_string();
    assert_eq!("/_events/a/b".parse::<EventPath>().unwrap().as_str(), "/_events/a/b");
    assert_eq!(error("jobs"), r#"path "jobs" does not begin with /_events/"#);
    assert_eq!(error("/hello"), r#"path "/hello" does not begin with /_events/"#);
    assert_eq!(error("/_events/../b"), r#"path "/_events/../b" is not in its normal form, expected "/b""#);
    assert_eq!(
        error("/_events/a?b"),
        r#"path "/_events/a?b" is not in its normal form, expected "/_events/a%3Fb""#
    );
    assert_eq!(
        error("/_events/a b\r\nx: y"),
        r#"path "/_events/a b\r\nx: y" is not in its normal form, expected "/_events/a%20b%0D%0Ax:%20y""#
    );
    let long = format!("/_events/{}", "a".repeat(1024));
    assert_eq!(error(&long), "path is 1033 bytes long, expected at most 1024");
}

#[test]
fn hashes_are_the_same_for_good_and_differ_by_trigger_and_time() {
    let time = Timestamp::from_unix_seconds(1_790_769_600);
    let hash = id("hello", "live", "nightly").hash_of(time);
    // Another value would move the jitter of every schedule when a node is upgraded.
    assert_eq!(hash, 18_363_458_272_873_853_280);
    assert_ne!(hash, id("hell", "olive", "nightly").hash_of(time));
    assert_ne!(hash, id("hello", "live", "nightly").hash_of(Timestamp::from_unix_seconds(1_790_769_601)));
}

#[test]
fn webhooks_have_one_to_four_secrets() {
    let secrets = |count| vec!["KEY".parse::<SecretName>().unwrap(); count];
    let source = |count| WebhookSource::new(Provider::GitHub, secrets(count));
    assert_eq!(source(4).unwrap().secrets(), secrets(4));
    assert_eq!(source(0).unwrap_err().to_string(), "webhook has 0 secrets, expected 1 to 4");
    assert_eq!(source(5), Err(SecretsCountError { found: 5 }));
}

#[test]
fn notes_are_text_of_bounded_length() {
    assert_eq!("until Monday ☂".parse::<PauseNote>().unwrap().to_string(), "until Monday ☂");
    let error = |text: &str| text.parse::<PauseNote>().unwrap_err().to_string();
    assert_eq!(error(""), "note is 0 bytes long, expected 1 to 1024");
    assert_eq!(error(&"x".repeat(1025)), "note is 1025 bytes long, expected 1 to 1024");
    assert_eq!(error("a\u{1b}[31m"), r"note has '\u{1b}' at byte 1, expected no control characters");
}

#[test]
fn redelivery_has_two_words() {
    for word in ["always", "effect-free"] {
        assert_eq!(word.parse::<Redeliver>().unwrap().as_str(), word);
    }
    let error = "never".parse::<Redeliver>().unwrap_err();
    assert_eq!(error.to_string(), "\"never\" is not known, expected always or effect-free");
}
