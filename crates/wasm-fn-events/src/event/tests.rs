//! Tests for `event`.

use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::{prelude::*, test_runner::RngSeed};

use super::*;

fn trigger() -> TriggerId {
    TriggerId {
        function: "hello".parse().unwrap(),
        stage: "live".parse().unwrap(),
        name: "nightly".parse().unwrap(),
    }
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn text(headers: &HeaderMap) -> Vec<String> {
    let mut lines: Vec<_> =
        headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
    lines.sort();
    lines
}

fn headers(lines: &[&str]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines.iter().map(|line| line.split_once(": ").unwrap()) {
        headers
            .append(name.parse::<HeaderName>().unwrap(), HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    headers
}

/// A request with what an event must have, and `more`.
fn read(more: &[&str]) -> Result<Option<CloudEvent>, EventError> {
    let lines = [&["ce-specversion: 1.0", "ce-id: 1", "ce-source: /s", "ce-type: t"], more].concat();
    CloudEvent::from_request(&headers(&lines), Bytes::from_static(b"data"), at("2026-11-30T12:00:00Z"))
}

#[track_caller]
fn check_error(more: &[&str], text: &str) {
    assert_eq!(read(more).unwrap_err().to_string(), text);
}

#[test]
fn tick_is_a_request_with_the_headers_of_a_cloudevent() {
    let tick = Tick { at: at("2026-11-30T03:00:00Z"), run_at: at("2026-11-30T03:00:07Z") };
    let event = CloudEvent::tick(&trigger(), tick);
    assert_eq!(
        text(&event.headers(&trigger().name, 2)),
        [
            "ce-id: 2026-11-30T03:00:00Z",
            "ce-source: /functions/hello/stages/live/triggers/nightly",
            "ce-specversion: 1.0",
            "ce-time: 2026-11-30T03:00:00Z",
            "ce-type: wasm-fn.schedule.tick",
            "wasm-fn-attempt: 2",
            "wasm-fn-trigger: nightly",
        ]
    );
}

#[test]
fn webhook_has_the_providers_id_and_type() {
    let id: Attribute = "made-by-the-node".parse().unwrap();
    let event = |provider, delivery_id: Option<&str>, event_type: Option<&str>| {
        let verified = Verified {
            delivery_id: delivery_id.map(str::to_owned),
            event_type: event_type.map(str::to_owned),
            time: at("2026-11-30T12:00:00Z"),
        };
        let json = Some("application/json".parse().unwrap());
        let event =
            CloudEvent::webhook(&trigger(), provider, &verified, &id, json, Bytes::from_static(b"{}"));
        (event.id.to_string(), event.event_type.to_string())
    };
    let expected = |id: &str, event_type: &str| (id.to_owned(), event_type.to_owned());
    assert_eq!(event(Provider::GitHub, Some("72d3"), Some("push")), expected("72d3", "com.github.push"));
    assert_eq!(
        event(Provider::GitLab, None, Some("Push Hook")),
        expected("made-by-the-node", "com.gitlab.push_hook")
    );
    assert_eq!(event(Provider::Slack, None, None), expected("made-by-the-node", "com.slack.event"));
    assert_eq!(
        event(Provider::Standard, Some("msg_1"), Some("contact.created")),
        expected("msg_1", "webhook.contact.created")
    );
}

#[test]
fn a_webhook_keeps_its_content_type_and_body() {
    let body = Bytes::from_static(b"{}");
    let json: ContentType = "application/json; charset=utf-8".parse().unwrap();
    let verified = Verified { delivery_id: None, event_type: None, time: Timestamp::MIN };
    let id = "1".parse().unwrap();
    let event = CloudEvent::webhook(&trigger(), Provider::Standard, &verified, &id, Some(json), body.clone());
    assert_eq!(event.data, body);
    let headers = event.headers(&trigger().name, 1);
    assert_eq!(headers["content-type"], "application/json; charset=utf-8");
    // Section 3.1.1: it must not be there twice.
    assert!(!headers.contains_key("ce-datacontenttype"));
}

#[test]
fn values_are_percent_encoded_as_in_the_binding() {
    // The example of section 3.1.3.2, and the characters that it names.
    for (subject, header) in [
        ("Euro € 😀", "Euro%20%E2%82%AC%20%F0%9F%98%80"),
        ("100%\"", "100%25%22"),
        ("!#$&'()*+,-./:;<=>?@[\\]^_`{|}~", "!#$&'()*+,-./:;<=>?@[\\]^_`{|}~"),
    ] {
        let event = read(&[]).unwrap().unwrap();
        let event = CloudEvent { subject: Some(subject.parse().unwrap()), ..event };
        assert_eq!(event.headers(&trigger().name, 1)["ce-subject"], header);
        assert_eq!(read(&[&format!("ce-subject: {header}")]).unwrap().unwrap().subject, event.subject);
    }
}

#[test]
fn values_of_other_senders_are_read() {
    for (header, subject) in [
        ("plain text", "plain text"),
        ("%c3%a4%41", "äA"),
        ("ä", "ä"),
        (r#""quoted \"text\"" and"#, r#"quoted "text" and"#),
        ("50%", "50%"),
        ("a\\b", "a\\b"),
    ] {
        let event = read(&[&format!("ce-subject: {header}")]).unwrap().unwrap();
        assert_eq!(event.subject.unwrap().as_str(), subject);
    }
}

#[test]
fn request_in_binary_mode_is_an_event() {
    let event = read(&[
        "content-type: text/plain",
        "ce-time: 2018-04-05T05:56:24+02:00",
        "ce-traceid: a%20b",
        "x-other: 1",
    ]);
    let event = event.unwrap().unwrap();
    assert_eq!((event.id.as_str(), event.source.as_str(), event.event_type.as_str()), ("1", "/s", "t"));
    assert_eq!((event.time, event.data.as_ref()), (at("2018-04-05T03:56:24Z"), &b"data"[..]));
    assert_eq!(event.content_type.as_ref().unwrap().as_str(), "text/plain");
    let extensions: Vec<_> = event.extensions.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(extensions, ["traceid=a b"]);
    assert_eq!(event.headers(&trigger().name, 1)["ce-traceid"], "a%20b");
    // Without a time it happened now.
    assert_eq!(read(&[]).unwrap().unwrap().time, at("2026-11-30T12:00:00Z"));
}

#[test]
fn other_requests_are_no_events() {
    let now = Timestamp::MIN;
    for lines in [&[][..], &["content-type: application/json"], &["ce-id: 1"]] {
        assert_eq!(CloudEvent::from_request(&headers(lines), Bytes::new(), now), Ok(None));
    }
}

#[test]
fn events_that_are_not_valid_are_refused() {
    let now = Timestamp::MIN;
    for missing in ["ce-id", "ce-source", "ce-type"] {
        let lines = ["ce-specversion: 1.0", "ce-id: 1", "ce-source: /s", "ce-type: t"];
        let lines: Vec<_> = lines.into_iter().filter(|line| !line.starts_with(missing)).collect();
        let found = CloudEvent::from_request(&headers(&lines), Bytes::new(), now);
        assert_eq!(found, Err(EventError::Missing { header: missing }));
    }
    let found = CloudEvent::from_request(&headers(&["ce-specversion: 0.3"]), Bytes::new(), now);
    assert_eq!(found, Err(EventError::Version));
    check_error(&["ce-id: 2"], "header ce-id is there more than once");
    check_error(&["ce-subject: "], "header ce-subject is not valid: it is empty");
    check_error(
        &["ce-subject: %0a"],
        "header ce-subject is not valid: it has the character U+000A at byte 0, expected no control characters",
    );
    check_error(
        &["ce-subject: %C0%A0"],
        "header ce-subject is not valid: it is not UTF-8 after percent-decoding",
    );
    check_error(
        &["ce-subject: \"open"],
        "header ce-subject is not valid: it has a double quote that is not closed",
    );
    check_error(
        &["ce-subject: %EF%BF%BE"],
        "header ce-subject is not valid: it has the character U+FFFE at byte 0, expected no control characters",
    );
    check_error(
        &["ce-time: noon"],
        "header ce-time is not valid: \"noon\" is no time, expected one like 2026-11-30T12:00:00Z, from 1970 to 9999",
    );
    check_error(
        &["ce-a_b: 1"],
        "header ce-a_b is not valid: it is no name of an extension, expected 1 to 64 of a-z and 0-9",
    );
    let long = format!("ce-subject: {}", "x".repeat(1025));
    check_error(&[&long], "header ce-subject is not valid: it is 1025 bytes long, expected at most 1024");
    let structured = "content type \"application/CloudEvents+json\" is not supported, expected binary content mode, with ce- headers";
    check_error(&["content-type: application/CloudEvents+json"], structured);
    let many: Vec<_> = (0..33).map(|number| format!("ce-x{number}: 1")).collect();
    check_error(
        &many.iter().map(String::as_str).collect::<Vec<_>>(),
        "there are more than 32 extension attributes",
    );
}

#[test]
fn sources_are_uri_references() {
    assert!("https://example.com/a?b#c".parse::<UriReference>().is_ok());
    assert_eq!("/a b".parse::<UriReference>(), Err(AttributeError::Uri { found: ' ' }));
    assert_eq!("text/plain\u{e4}".parse::<ContentType>(), Err(AttributeError::ContentType { found: 'ä' }));
}

#[test]
fn only_headers_that_say_how_a_request_came_are_reserved() {
    let reserved = |name: &'static str| is_reserved(&HeaderName::from_static(name));
    assert!(reserved("wasm-fn-trigger") && reserved("wasm-fn-attempt"));
    for name in ["ce-id", "ce-type", "wasm-fn-key", "wasm-fn-version", "content-type"] {
        assert!(!reserved(name), "{name}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(1), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_event_survives_its_request(id in any::<String>(), subject in "\\PC{0,40}", ms in 0..=Timestamp::MAX.unix_ms()) {
        let Ok(id) = id.parse() else { return Ok(()) };
        let event = CloudEvent {
            id,
            subject: subject.parse().ok(),
            time: Timestamp::from_unix_ms(ms),
            ..read(&["ce-x: 1", "content-type: text/plain"]).unwrap().unwrap()
        };
        let headers = event.headers(&trigger().name, 1);
        prop_assert_eq!(CloudEvent::from_request(&headers, event.data.clone(), Timestamp::MIN), Ok(Some(event)));
    }

    #[test]
    fn no_header_makes_reading_panic(value in prop::collection::vec(prop::num::u8::ANY, 0..60)) {
        if let Ok(value) = HeaderValue::from_bytes(&value) {
            let mut headers = headers(&["ce-specversion: 1.0", "ce-id: 1", "ce-source: /s", "ce-type: t"]);
            headers.insert("ce-subject", value);
            let found = CloudEvent::from_request(&headers, Bytes::new(), Timestamp::MIN);
            prop_assert!(!matches!(found, Ok(None)));
        }
    }
}
